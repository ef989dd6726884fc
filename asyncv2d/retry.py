"""Failed rows of a dataset, gathered to be tried again as new shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asyncv2d.job import RETRY_OF, RETRY_TABLE, Job
from asyncv2d.published import LEDGER, note_retried, published
from asyncv2d.record import ledger_names
from asyncv2d.store import Store
from asyncv2d.types import Cause

_READ_ROWS = 10_000


class Retry(NamedTuple):
    """The rows of a dataset that are tried again, as a table with the input's column names.

    They become shards from number ``first`` on; ``digest`` says which rows they are.
    """

    table: Path
    first: int
    digest: str


def gather(job: Job, store: Store, folder: Path, first: int) -> Retry | None:
    """Failed rows to try again; None where there are none.

    Those that a killed run was at come first, by the same numbers, so that it is gone on with. A
    row that was tried again already stands in the ledger of its last try.
    """
    for left in sorted(folder.glob(f"{RETRY_TABLE}-*")):
        return _retry(left, int(left.name.rpartition("-")[2]))
    aside = folder / "rows-to-retry"
    if not _write(job, store, aside):
        return None
    size = job.built.storage.number_sample_per_shard
    shards = -(-pq.read_metadata(aside).num_rows // size)
    note_retried(store, range(first, first + shards))
    return _retry(aside.replace(folder / f"{RETRY_TABLE}-{first}"), first)


def _retry(table: Path, first: int) -> Retry:
    return Retry(table, first, hashlib.sha256(table.read_bytes()).hexdigest())


def _write(job: Job, store: Store, target: Path) -> bool:
    """Write the table; whether it has any rows."""
    wanted = [cause.value for cause in job.retry_causes or Cause if _is_wanted(job, cause)]
    keys = job.built.storage.key_format
    ledgers = [f"{keys.shard_name(shard)}{LEDGER}" for shard in sorted(published(store, keys))]
    names = _ledger_columns(job)
    tried, writer = _tried_again(store, ledgers), None
    try:
        for table in _failed(store, ledgers, wanted, [*names.values()]):
            again = table.filter(pc.invert(pc.is_in(table["key"], tried)))
            chosen = again.select([*names.values()]).rename_columns([*names])
            chosen = chosen.append_column(RETRY_OF, again["key"])
            if chosen.num_rows:
                writer = writer or pq.ParquetWriter(target, chosen.schema)
                writer.write_table(chosen)
    finally:
        if writer is not None:
            writer.close()
    return writer is not None


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


def _failed(
    store: Store, ledgers: Sequence[str], causes: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    for name in ledgers:
        for batch in _batches(store, name, ["key", "cause", *columns]):
            table = pa.Table.from_batches([batch])
            failed = table.filter(pc.is_in(table["cause"], pa.array(causes, pa.string())))
            if failed.num_rows:
                yield failed


def _batches(store: Store, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with store.open(name) as file:
        ledger = pq.ParquetFile(file)
        there = [column for column in columns if column in ledger.schema_arrow.names]
        if there:
            yield from ledger.iter_batches(_READ_ROWS, columns=there)


def _ledger_columns(job: Job) -> dict[str, str]:
    """For each column that the job reads, what the ledger calls it."""
    renamed = job.renamed_columns()
    stored = ledger_names([*renamed.values()])
    return {old: stored[new] for old, new in renamed.items()}
