"""What is written down of a row: the JSON of its samples, and its lines in the ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
from msgspec import Struct

from asyncv2d.job import RETRY_OF
from asyncv2d.redact import printable, redacted
from asyncv2d.types import Blob, Failed, Fetched, Json, Ok, Processed, Row, Sample

_RECEIPT = pa.struct(
    [
        ("asked", pa.list_(pa.float64())),
        ("real", pa.list_(pa.float64())),
        ("frames", pa.int64()),
        ("duration", pa.float64()),
        ("precision", pa.string()),
        ("audio", pa.string()),
    ]
)
_OWN_COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("cause", pa.string()),
        ("stage", pa.string()),
        ("attempts", pa.int32()),
        ("http_status", pa.int32()),
        ("bytes_downloaded", pa.int64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("frames", pa.int64()),
        ("duration", pa.float64()),
        ("seconds", pa.float64()),
        (RETRY_OF, pa.string()),
    ]
)
# The facts of samples, for formats that have a column for each. They are named as in the sample's
# JSON, and what has no fixed shape is JSON text in them.
_FACT_COLUMNS = pa.schema(
    [
        ("yt_meta_dict", pa.string()),  # JSON
        ("clips", pa.list_(pa.list_(pa.float64()))),  # of a clip: its own span
        ("receipt", _RECEIPT),
        ("damage", pa.string()),
        ("cuts", pa.string()),  # JSON: a list for each frame rate
        ("cuts_seconds", pa.list_(pa.list_(pa.float64()))),
        ("video_metadata", pa.string()),  # JSON: ffprobe's, and the keyframes
        ("clip_subtitles", pa.string()),  # JSON: start, end, and the lines by language
        ("frame_time", pa.float64()),
        ("frame_subtitle", pa.string()),  # JSON: the lines by language
    ]
)


_ENCODE = json.JSONEncoder(ensure_ascii=False).encode

# A clip's own span stands where the table's list of spans stood, as in video2dataset.
_MERGED = ("clips",)


def complete(fetched: Fetched, processed: Processed, *, save_caption: bool) -> Processed:
    """Give each sample its caption and its JSON with the row's columns and all facts."""
    samples = [
        _with_record(fetched.row, sample, fetched.info, save_caption=save_caption)
        for sample in processed.samples
    ]
    attempts = fetched.attempts + processed.attempts - 1
    return Processed(samples, processed.facts, attempts)


def _with_record(
    row: Row, sample: Sample, info: Mapping[str, Any], *, save_caption: bool
) -> Sample:
    earlier = row.columns if row.parts is not None else {}
    own = {
        "key": sample.key,
        "status": "success",
        "error_message": None,
        "yt_meta_dict": info.get("yt_meta_dict") or earlier.get("yt_meta_dict"),
        **_json_ready(sample.meta),
    }
    record = {**_json_ready(_columns_beside(row, own)), **own}
    parts = dict(sample.parts)
    if save_caption:
        caption = row.caption if sample.caption is None else sample.caption
        parts["txt"] = Blob.of(_json_scalar(caption or "").encode())
    parts["json"] = Blob.of(_indented(record).encode())
    return Sample(sample.key, parts, record)


def _indented(record: Mapping[str, Any]) -> str:
    """As ``json.dumps`` with an indent of 4, which takes longer for the usual plain values."""
    if any(isinstance(value, dict | list) for value in record.values()):
        return json.dumps(record, indent=4, ensure_ascii=False)
    lines = [f"    {_ENCODE(name)}: {_ENCODE(value)}" for name, value in record.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _columns_beside(row: Row, own: Collection[str]) -> dict[str, Any]:
    """The row's columns: what an earlier job found gives way to what this one has found.

    A receipt of an earlier job says nothing of this sample, also where it has none of its own.
    """
    if row.parts is None:
        stored = stored_names([*row.columns], {*own, "receipt"} - {*_MERGED})
        return {stored[name]: value for name, value in row.columns.items()}
    return {name: value for name, value in row.columns.items() if name != "receipt"}


def stored_names(columns: Sequence[str], own: Collection[str]) -> dict[str, str]:
    """What each column of the input is called beside our ``own`` ones: by its name, if it is free.

    Else it is ``input_NAME``. Names that differ in case alone are not told apart by all readers.
    """
    taken = {name.casefold() for name in own}
    free = [name for name in columns if name.casefold() not in taken]
    stored: dict[str, str] = {}
    for name in [*free, *columns]:
        if name in stored:
            continue
        candidate = name
        while candidate.casefold() in taken:
            candidate = f"input_{candidate}"
        stored[name] = candidate
        taken.add(candidate.casefold())
    return {name: stored[name] for name in columns}


def _json_ready(value: Any) -> Any:
    """The value in JSON's types: bytes and dates become text, no NaN, arrays become lists."""
    if isinstance(value, Mapping):
        return {_json_scalar(str(key)): _json_ready(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        return _json_ready(value.tolist())
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [_json_ready(inner) for inner in value]
    return _json_scalar(value)


def _json_scalar(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, bool | int):
        return value
    # A lone surrogate, which JSON can hold in the input, cannot be written.
    return str(value).encode("utf-8", "backslashreplace").decode()


class Lines(Struct, frozen=True):
    """The ledger lines of one row: one for each sample, or one for the failure."""

    row: Row
    own: Sequence[Mapping[str, Any]]


def ledger_lines(outcome: Ok[Processed] | Failed, seconds: float | None = None) -> Lines:
    """What the ledger says of one row, which took so many seconds."""
    row = outcome.row
    of_row: dict[str, Any] = {"seconds": seconds, RETRY_OF: row.retry_of}
    if isinstance(outcome, Failed):
        line = {
            "key": row.key,
            "status": outcome.status,
            "error_message": _json_scalar(printable(redacted(outcome.detail))),
            "cause": outcome.cause.value,
            "stage": outcome.stage,
            "attempts": outcome.attempts,
            **_row_facts(outcome.facts),
        }
        return Lines(row, [{**of_row, **line}])
    value = outcome.value
    of_row |= {"status": "success", "attempts": value.attempts, **_row_facts(value.facts)}
    return Lines(row, [{**of_row, **_of_sample(sample)} for sample in value.samples])


def outcome_line(outcome: Ok[Processed] | Failed) -> dict[str, Any]:
    """An outcome as JSON: the row's key and URL, what became of it, and the keys of its samples."""
    lines = ledger_lines(outcome).own
    first = lines[0] if lines else {}
    samples = [] if isinstance(outcome, Failed) else [line["key"] for line in lines]
    about = {
        name: first.get(name)
        for name in ("status", "cause", "error_message", "attempts", "bytes_downloaded")
    }
    return {
        "key": outcome.row.key,
        "url": _json_scalar(redacted(outcome.row.url)),
        **about,
        "samples": samples,
    }


def _row_facts(facts: Json) -> dict[str, Any]:
    return {name: facts.get(name) for name in ("http_status", "bytes_downloaded")}


def _of_sample(sample: Sample) -> dict[str, Any]:
    receipt = sample.meta.get("receipt") or {}
    start, end = receipt.get("real", (None, None))
    return {
        "key": sample.key,
        "start": start,
        "end": end,
        "frames": receipt.get("frames"),
        "duration": receipt.get("duration"),
    }


def input_schema(schema: pa.Schema, renamed: Mapping[str, str]) -> pa.Schema:
    """The input's columns as they are stored: by their ``renamed`` names, of types that can be.

    What Parquet cannot store is kept as JSON text.
    """
    known = {field.name: field.type for field in schema}
    kinds = {new: known.get(old, pa.string()) for old, new in renamed.items()}
    return pa.schema([(name, _storable(kind)) for name, kind in kinds.items()])


def without_facts(schema: pa.Schema) -> pa.Schema:
    """The columns of an earlier dataset without what its job found: that has columns of its own."""
    found = {*_FACT_COLUMNS.names} - {*_MERGED}
    return pa.schema([field for field in schema if field.name not in found])


def _storable(kind: pa.DataType) -> pa.DataType:
    return kind if _can_be_stored(kind) else pa.string()


def _can_be_stored(kind: pa.DataType) -> bool:
    """Parquet has no structs without fields, at any depth; and a column of nulls has no type."""
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    is_empty = pa.types.is_struct(kind) and not inner
    return not is_empty and not pa.types.is_null(kind) and all(map(_can_be_stored, inner))


def fact_schema(*, times_as_given: bool = False) -> pa.Schema:
    """The columns of the facts; ``times_as_given``: images are taken at times that may be text."""
    number = _FACT_COLUMNS.get_field_index("frame_time")
    kind = pa.string() if times_as_given else pa.float64()
    return _FACT_COLUMNS.set(number, pa.field("frame_time", kind))


def ledger_schema(columns: pa.Schema) -> pa.Schema:
    """The ledger's columns: those of the input, then our own."""
    stored = stored_names(columns.names, _OWN_COLUMNS.names)
    mine = [pa.field(stored[field.name], field.type) for field in columns]
    return pa.schema([*mine, *_OWN_COLUMNS])


def ledger_names(columns: Sequence[str]) -> dict[str, str]:
    """What the ledger calls each column of the input."""
    return stored_names(columns, _OWN_COLUMNS.names)


def ledger_table(rows: Sequence[Lines], columns: pa.Schema) -> pa.Table:
    """The ledger: the row's ``columns``, then our own, ordered by key."""
    lines = [(own, rows_.row) for rows_ in rows for own in rows_.own]
    lines.sort(key=lambda line: line[0]["key"])
    arrays = [
        _input_column([row.columns.get(field.name) for _, row in lines], field.type)
        for field in columns
    ]
    arrays += [
        pa.array([own.get(field.name) for own, _ in lines], field.type) for field in _OWN_COLUMNS
    ]
    return pa.table(arrays, ledger_schema(columns))


def _input_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """A column of the input; a value that does not fit its type is missing there."""
    if pa.types.is_string(kind):
        return pa.array([_as_text(value) for value in values], kind)
    try:
        array = pa.array(values, kind)
        array.validate(full=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        array = None
    if array is None and len(values) > 1:
        return pa.concat_arrays([_input_column([value], kind) for value in values])
    return pa.nulls(len(values), kind) if array is None else array


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(_json_scalar(value))
    return json.dumps(_json_ready(value), ensure_ascii=False)
