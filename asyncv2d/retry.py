"""Failed rows of a dataset, gathered to be tried again as new shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asyncv2d.job import RETRY_OF, Job
from asyncv2d.published import LEDGER, published
from asyncv2d.store import Store
from asyncv2d.types import Cause

_READ_ROWS = 10_000


def write_retry_table(job: Job, store: Store, target: Path) -> str | None:
    """Write the rows to try again as a table with the input's column names.

    Gives a digest of which rows they are; None where there are none. A row that was tried again
    already stands in the ledger of its last try.
    """
    wanted = [cause.value for cause in job.retry_causes or Cause if _is_wanted(job, cause)]
    keys = job.built.storage.key_format
    ledgers = [f"{keys.shard_name(shard)}{LEDGER}" for shard in sorted(published(store, keys))]
    tried = _tried_again(store, ledgers)
    digest, writer = hashlib.sha256(), None
    try:
        for table in _failed(store, ledgers, wanted):
            again = table.filter(pc.invert(pc.is_in(table["key"], tried)))
            chosen = again.select(_input_columns(job, again.column_names).values())
            chosen = chosen.rename_columns([*_input_columns(job, again.column_names)])
            chosen = chosen.append_column(RETRY_OF, again["key"])
            for key in again["key"].to_pylist():
                digest.update(f"{key}\n".encode())
            if chosen.num_rows:
                writer = writer or pq.ParquetWriter(target, chosen.schema)
                writer.write_table(chosen)
    finally:
        if writer is not None:
            writer.close()
    return digest.hexdigest() if writer is not None else None


def _is_wanted(job: Job, cause: Cause) -> bool:
    return job.retry_causes is not None or cause.worth_retrying


def _tried_again(store: Store, ledgers: Sequence[str]) -> pa.Array:
    """The keys of all rows that have been tried again."""
    found = [
        batch.column(0).drop_null()
        for name in ledgers
        for batch in _batches(store, name, [RETRY_OF])
    ]
    return pa.concat_arrays(found) if found else pa.array([], pa.string())


def _failed(store: Store, ledgers: Sequence[str], causes: Sequence[str]) -> Iterator[pa.Table]:
    for name in ledgers:
        for batch in _batches(store, name, None):
            table = pa.Table.from_batches([batch])
            failed = table.filter(pc.is_in(table["cause"], pa.array(causes, pa.string())))
            if failed.num_rows:
                yield failed


def _batches(store: Store, name: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with store.open(name) as file:
        ledger = pq.ParquetFile(file)
        names = ledger.schema_arrow.names
        chosen = [column for column in columns or _plain(ledger.schema_arrow) if column in names]
        if chosen:
            yield from ledger.iter_batches(_READ_ROWS, columns=chosen)


def _plain(schema: pa.Schema) -> list[str]:
    """All columns but media."""
    return [
        field.name
        for field in schema
        if not pa.types.is_binary(field.type) and not _is_file(field.type)
    ]


def _is_file(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _input_columns(job: Job, names: Sequence[str]) -> Mapping[str, str]:
    """For each column that the job reads, what the ledger calls it."""
    renamed: Mapping[str, Any] = job.renamed_columns()
    return {old: f"input_{new}" if f"input_{new}" in names else new for old, new in renamed.items()}
