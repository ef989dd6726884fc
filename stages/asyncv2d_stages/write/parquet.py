"""Writes Parquet shards."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import InstanceOf

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample
from asyncv2d_stages.write._columns import Columns, PartColumns
from asyncv2d_stages.write._staging import Staged, Staging

_GROUP_BYTES = 64 << 20
_GROUP_ROWS = 100_000
_PARSED = 8  # times the size of its JSON is what a record takes in memory, about
# A value of Parquet has to fit into a page, whose size is a signed number of 32 bits.
_LARGEST = (1 << 31) - (1 << 20)


class ParquetWriter(Settings):
    """One Parquet file a shard, which is the ledger too: a line for each sample and failed row.

    Its columns are those of the ledger, the facts of the sample's JSON, ``txt``, and one of bytes
    for each extension of a part; they are the same in all shards. A column of the table that is
    called like a fact or a part becomes ``input_NAME``; facts that have no column of their own are
    JSON in ``other_facts``.
    """

    extensions: tuple[str, ...] = ()
    """Extensions of the parts that samples may have, but for ``txt`` and ``json``."""
    captions: bool = False
    """Whether samples may have a ``txt`` part."""
    facts: InstanceOf[pa.Schema] = pa.schema([])
    """The columns of the sample's own facts; those that are text take other values as JSON."""
    parquet_media: Literal["binary", "struct"] = "binary"
    """``struct``: parts are columns of bytes and path, which ``datasets`` opens as Video, Audio and
    Image."""

    @property
    def parts(self) -> PartColumns:
        """The columns of all parts."""
        return PartColumns(self.extensions, self.captions, self.parquet_media == "struct")

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _TableShard:
        """Begin the shard in ``folder``, or go on with it."""
        return _TableShard(self, folder, shard_name, position)


class _TableShard:
    """Samples come in any order, so they are kept aside until the ledger gives their order."""

    def __init__(self, settings: ParquetWriter, folder: Path, name: str, position: int) -> None:
        self._settings = settings
        self._path = folder / f"{name}.parquet"
        self._staging = Staging(folder / f"{name}.samples", position)
        self._kept = frozenset(field.name for field in settings.parts.fields)

    def write(self, sample: Sample) -> int:
        """Keep one sample."""
        if unknown := sample.parts.keys() - self._kept - {"txt", "json"}:
            raise ValueError(f"{sample.key} has parts that have no column: {sorted(unknown)}")
        for extension, body in sample.parts.items():
            if body.size > _LARGEST:
                raise OSError(
                    f"{sample.key}.{extension} has {body.size} bytes, and a Parquet value at most"
                    f" {_LARGEST}; cut the videos into clips, or use output_format webdataset"
                )
        return self._staging.append(sample, self._kept)

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Write the table: a line of the ledger each, with its sample where it has one."""
        import pyarrow.parquet as pq

        columns = Columns(ledger.schema, self._settings.facts, self._settings.parts)
        samples = self._in_order_of(ledger)
        with pq.ParquetWriter(self._path, columns.schema, **columns.encoding()) as file:
            for start, stop in _groups(samples):
                rows = ledger.slice(start, stop - start)
                table = columns.table(rows, samples[start:stop], self._staging)
                file.write_table(table, row_group_size=max(1, table.num_rows))
        self._staging.close()
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the samples that were kept."""
        self._staging.close()

    def _in_order_of(self, ledger: pa.Table) -> Sequence[Staged | None]:
        """The sample of each line; None for a failed row."""
        found = defaultdict[str, deque[Staged]](deque)
        for staged in self._staging.samples():
            found[staged.key].append(staged)
        keys = ledger["key"].to_pylist()
        samples = [found[key].popleft() if found[key] else None for key in keys]
        if lost := [key for key, left in found.items() if left]:
            raise OSError(f"{self._path}: samples without a line in the ledger: {lost[:3]}")
        return samples


def _groups(samples: Sequence[Staged | None]) -> Iterator[tuple[int, int]]:
    """Which lines become one row group: as many as give its size, but at least one."""
    start = size = 0
    for number, staged in enumerate(samples):
        more = staged.size + _PARSED * staged.record.size if staged else 0
        if number > start and (size + more > _GROUP_BYTES or number - start >= _GROUP_ROWS):
            yield start, number
            start, size = number, 0
        size += more
    yield start, len(samples)
