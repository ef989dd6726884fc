"""Reads Parquet tables, a few thousand rows at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PrivateAttr

from asyncv2d.ports import Settings
from asyncv2d.types import Record, ShardSpec, UserError
from asyncv2d_stages.read._keep import Keep
from asyncv2d_stages.read._open import cannot_read, open_file, refuse_stdin
from asyncv2d_stages.read._table import check_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH = 2000
_BUFFER = 1 << 20  # of each column: so a row group may be larger than the memory
_BLOCK = 1 << 20  # what is fetched of a remote file at a time


class ParquetReader(Settings):
    """Parquet files; values keep their types, nested ones included."""

    paths: tuple[str, ...]
    """Input files, in order."""
    columns: tuple[str, ...]
    """Columns to read; each must be there, in all files of one type."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    """What to do with a row whose text is not UTF-8: stop, or go on and say so in its place."""
    _keep: Keep[_Cursor] = PrivateAttr(default_factory=Keep)

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """Cut every file into shards; the last one of a file may be short."""
        shard = 0
        types: pa.Schema | None = None
        for path in self.paths:
            with _open(path) as file:
                check_columns(path, file.schema_arrow.names, self.columns)
                rows = file.metadata.num_rows
                mine = self._types(file)
            types = types or mine
            _check_types(path, mine, types)
            for start in range(0, rows, samples_per_shard):
                yield ShardSpec(shard, path, start, min(start + samples_per_shard, rows))
                shard += 1

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The records of one shard; only the row groups that hold them are read."""
        import pyarrow as pa

        cursor = self._keep.take()
        if cursor is None or cursor.path != shard.source:
            if cursor is not None:
                cursor.close()
            cursor = _Cursor(shard.source, self.columns)
        try:
            for row, batch in cursor.read(shard.start, shard.stop):
                yield from self._records(cursor.path, row, batch)
        except (pa.ArrowException, OSError) as error:
            cursor.close()
            reason = " ".join(str(error).split())
            raise UserError(f"{shard.source}: damaged Parquet file: {reason}") from None
        except BaseException:
            cursor.close()
            raise
        self._keep.put(cursor)

    def column_types(self) -> pa.Schema:
        """The first file's types."""
        with _open(self.paths[0]) as file:
            check_columns(self.paths[0], file.schema_arrow.names, self.columns)
            return self._types(file)

    def _types(self, file: pq.ParquetFile) -> pa.Schema:
        import pyarrow as pa

        schema = file.schema_arrow
        return pa.schema([(name, _stored_once(schema.field(name).type)) for name in self.columns])

    def _records(self, path: str, row: int, batch: pa.RecordBatch) -> Iterator[Record]:
        try:
            yield from map(Record, _rows(batch))
        except UnicodeDecodeError:
            if len(batch) > 1:
                for number in range(len(batch)):
                    yield from self._records(path, row + number, batch.slice(number, 1))
            elif self.on_bad_row == "skip":
                yield Record({}, problem=f"row {row + 1}: not UTF-8 text")
            else:
                raise UserError(
                    f"{path}: row {row + 1}: not UTF-8 text"
                    " (reading.on_bad_row: skip goes on without it)"
                ) from None


class _Cursor:
    """An open file that goes forward as long as it is asked for later rows."""

    def __init__(self, path: str, columns: tuple[str, ...]) -> None:
        self.path = path
        self._columns = list(columns)
        self._file = _open(path)
        meta = self._file.metadata
        sizes = (meta.row_group(number).num_rows for number in range(meta.num_row_groups))
        self._begins = [0, *accumulate(sizes)]  # of each row group, and the end
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._row = self._begins[-1]  # number of the batch's first row

    def close(self) -> None:
        self._file.close(force=True)

    def read(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Rows ``start`` to ``stop`` in pieces, each with the number of its first row."""
        self._go_to(start)
        while start < stop and self._batch is not None:
            end = self._row + len(self._batch)
            if start < end:
                piece = self._batch.slice(start - self._row, stop - start)
                yield start, piece
                start += len(piece)
            if start >= end:
                self._row, self._batch = end, next(self._batches, None)

    def _go_to(self, row: int) -> None:
        """Open the row group of ``row``, unless it is open and has not come past it."""
        group = bisect_right(self._begins, row) - 1
        if self._batch is None or row < self._row or self._row < self._begins[group]:
            groups = range(group, len(self._begins) - 1)
            self._batches = self._file.iter_batches(
                _BATCH, row_groups=list(groups), columns=self._columns, use_threads=False
            )
            self._row, self._batch = self._begins[group], next(self._batches, None)


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    import pyarrow as pa

    fields = [field.with_type(_in_microseconds(field.type)) for field in batch.schema]
    schema = pa.schema(fields)
    if schema != batch.schema:
        batch = batch.cast(schema, safe=False)
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    """The type with times as Python has them, which knows no nanoseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_list(kind):
        return pa.list_(_in_microseconds(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(field.type)) for field in kind])
    return kind


def _open(path: str) -> pq.ParquetFile:
    # Imported here: only the format's users pay the 0.3 s.
    import pyarrow as pa
    import pyarrow.parquet as pq

    refuse_stdin(path)
    file = open_file(path, _BLOCK) if "://" in path else path
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: this is no Parquet file ({error}); see --input_format") from None
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from None


def _stored_once(kind: pa.DataType) -> pa.DataType:
    """The type of the values, where a dictionary stands between."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_types(path: str, mine: pa.Schema, first: pa.Schema) -> None:
    for name in first.names:
        have, wanted = mine.field(name).type, first.field(name).type
        if not _same(have, wanted):
            raise UserError(
                f"{path}: column {name!r} is {have}, in the first file {wanted}; give the files"
                " one type"
            )


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether the values can be the same: a column of nulls has any type."""
    import pyarrow as pa

    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return True
    texts = (pa.types.is_string, pa.types.is_large_string)
    return any(is_text(one) for is_text in texts) and any(is_text(other) for is_text in texts)
