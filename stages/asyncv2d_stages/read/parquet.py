"""Reads Parquet tables, one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asyncv2d.ports import Settings
from asyncv2d.types import Record, ShardSpec, UserError
from asyncv2d_stages.read._lines import check_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH = 1000


class ParquetReader(Settings):
    """Parquet files; values keep their types, nested ones included."""

    paths: tuple[str, ...]
    """Input files, in order."""
    columns: tuple[str, ...]
    """Columns to read; each must be there."""

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """Cut every file into shards; the last one of a file may be short."""
        shard = 0
        for path in self.paths:
            with _open(path) as file:
                check_columns(path, file.schema_arrow.names, self.columns)
                rows = file.metadata.num_rows
            for start in range(0, rows, samples_per_shard):
                yield ShardSpec(shard, path, start, min(start + samples_per_shard, rows))
                shard += 1

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The records of one shard; only the row groups that hold them are read."""
        import pyarrow as pa

        try:
            yield from self._records(shard)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{shard.source}: damaged Parquet file: {error}") from None

    def column_types(self) -> pa.Schema:
        """The first file's types."""
        import pyarrow as pa

        with _open(self.paths[0]) as file:
            return pa.schema([file.schema_arrow.field(name) for name in self.columns])

    def _records(self, shard: ShardSpec) -> Iterator[Record]:
        with _open(shard.source) as file:
            groups, first = _row_groups(file, shard.start, shard.stop)
            skip, left = shard.start - first, shard.stop - shard.start
            batches = file.iter_batches(_BATCH, row_groups=groups, columns=list(self.columns))
            for batch in batches:
                part: list[dict[str, Any]] = batch.slice(min(skip, len(batch)), left).to_pylist()
                skip = max(0, skip - len(batch))
                left -= len(part)
                yield from map(Record, part)


def _open(path: str) -> pq.ParquetFile:
    # Imported here: only the format's users pay the 0.3 s.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot read the input file: {reason}") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: this is no Parquet file ({error}); see --input_format") from None


def _row_groups(file: pq.ParquetFile, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows ``start`` to ``stop``, and the first of their rows."""
    chosen: list[int] = []
    first, row = start, 0
    for group in range(file.num_row_groups):
        following = row + file.metadata.row_group(group).num_rows
        if row < stop and following > start:
            if not chosen:
                first = row
            chosen.append(group)
        row = following
    return chosen, first
