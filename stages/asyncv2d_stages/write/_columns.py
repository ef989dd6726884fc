"""The columns of a Parquet shard: which there are, and how they are filled."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct

from asyncv2d_stages.write._staging import Piece, Staged, Staging

_OTHER = "other_facts"
# A sample's own span stands where the ledger has the row's list of spans.
_CLIPS = "clips"
_BATCH = 1  # values after which a page may end
_SPANS = pa.list_(pa.list_(pa.float64()))
_FEATURES = {"mp4": "Video", "jpg": "Image", "png": "Image", "webp": "Image"}


class PartColumns(Struct, frozen=True):
    """Which parts there are, and whether media are structs of bytes and path."""

    extensions: Sequence[str]
    captions: bool
    as_structs: bool

    @property
    def fields(self) -> list[pa.Field]:
        """The columns of all parts."""
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        media = kind if self.as_structs else pa.binary()
        text = [pa.field("txt", pa.string())] if self.captions else []
        return [*text, *(pa.field(extension, media) for extension in self.extensions)]

    @property
    def metadata(self) -> dict[str, str] | None:
        """What tells ``datasets`` which media the structs are."""
        if not self.as_structs:
            return None
        features = {name: {"_type": _FEATURES.get(name, "Audio")} for name in self.extensions}
        return {"huggingface": json.dumps({"info": {"features": features}})}

    def array(
        self, field: pa.Field, rows: Sequence[Staged | None], staging: Staging
    ) -> pa.Array | pa.ChunkedArray:
        """One of the columns, for some samples."""
        pieces = [None if row is None else row.parts.get(field.name) for row in rows]
        data = _binary(pieces, staging)
        if not pa.types.is_struct(field.type):
            return data.cast(field.type)
        paths = [
            row and piece and f"{row.key}.{field.name}"
            for row, piece in zip(rows, pieces, strict=True)
        ]
        missing = pa.array([piece is None for piece in pieces], pa.bool_())
        inside = [data, pa.array(paths, pa.string())]
        return pa.StructArray.from_arrays(inside, fields=[*field.type], mask=missing)


class Columns:
    """The columns of all shards of a dataset, whatever is in them."""

    def __init__(self, ledger: pa.Schema, facts: pa.Schema, parts: PartColumns) -> None:
        self._ledger = ledger
        self._facts = [
            field for field in facts if field.name != _CLIPS or _CLIPS not in ledger.names
        ]
        self._parts = parts
        mine = [*self._facts, pa.field(_OTHER, pa.string()), *parts.fields]
        names = _apart(ledger.names, [field.name for field in mine])
        lines = [pa.field(name, _kind(field)) for name, field in zip(names, ledger, strict=True)]
        self.schema = pa.schema([*lines, *mine], parts.metadata)
        self._known = {*ledger.names, *self.schema.names}

    def encoding(self) -> dict[str, Any]:
        """How columns are stored: media as they are, the rest compressed."""
        media = self._parts.extensions
        rest = [path for path in _leaves(self.schema) if path.partition(".")[0] not in media]
        return {
            "compression": dict.fromkeys(rest, "zstd"),
            "use_dictionary": rest,
            "write_statistics": rest,
            "write_batch_size": _BATCH,
        }

    def table(self, ledger: pa.Table, rows: Sequence[Staged | None], staging: Staging) -> pa.Table:
        """The columns for some lines of the ledger and their samples."""
        records = [{} if row is None else staging.record(row) for row in rows]
        facts = [
            _array([record.get(field.name) for record in records], field.type)
            for field in self._facts
        ]
        lines = [
            _clips(column, records, _kind(field)) if field.name == _CLIPS else column
            for field, column in zip(self._ledger, ledger.columns, strict=True)
        ]
        others = _array([self._others(record) for record in records], pa.string())
        parts = [self._parts.array(field, rows, staging) for field in self._parts.fields]
        return pa.table([*lines, *facts, others, *parts], self.schema)

    def _others(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What a record says besides: a subsampler may be anybody's plug-in."""
        return {name: record[name] for name in record if name not in self._known} or None


def _apart(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names of the ledger's columns; those that are ``taken`` become ``input_NAME``."""
    return [_free(name, {*names, *taken}) if name in taken else name for name in names]


def _free(name: str, used: Container[str]) -> str:
    while name in used:
        name = f"input_{name}"
    return name


def _kind(field: pa.Field) -> pa.DataType:
    """The type of a column of the ledger.

    A sample's span is written as the table writes times, so it may be clock times where the table
    has text.
    """
    if field.name != _CLIPS:
        return field.type
    return _SPANS if _is_spans(field.type) else pa.string()


def _is_spans(kind: pa.DataType) -> bool:
    """Whether it is lists of lists of numbers, of whatever kinds."""
    for _ in range(2):
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed(kind)):
            return False
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _clips(
    given: pa.ChunkedArray, records: Sequence[Mapping[str, Any]], kind: pa.DataType
) -> pa.Array:
    """The span of each sample; for a failed row the spans that the table has."""
    pairs = zip(given.to_pylist(), records, strict=True)
    return _array([record.get(_CLIPS, value) for value, record in pairs], kind)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column; a value that does not fit its type is missing there."""
    if pa.types.is_string(kind):
        return pa.array([_text(value) for value in values], kind)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        if len(values) == 1:
            return pa.nulls(1, kind)
    return pa.concat_arrays([_array([value], kind) for value in values])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _binary(pieces: Sequence[Piece | None], staging: Staging) -> pa.Array:
    """Pieces of the staging file, read to where Arrow has them."""
    ends = np.cumsum([0, *(piece.size if piece else 0 for piece in pieces)]).astype(np.int32)
    data = pa.allocate_buffer(int(ends[-1]))
    view = memoryview(data)
    for piece, start in zip(pieces, ends, strict=False):
        if piece:
            staging.read_into(piece, view[start : start + piece.size])
    there = pa.array([piece is not None for piece in pieces], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), len(pieces), [there, pa.py_buffer(ends), data])


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of all columns as Parquet has them, those inside of lists and structs."""
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    stored = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [stored.column(number).path for number in range(len(stored))]
