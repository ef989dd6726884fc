"""What is written down of a row: the JSON of its samples, and its lines in the ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from asyncv2d.types import Blob, Failed, Fetched, Json, Ok, Processed, Row, Sample

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
    ]
)


def complete(fetched: Fetched, processed: Processed, *, save_caption: bool) -> Processed:
    """Give each sample its caption and its JSON with the row's columns and all facts."""
    samples = [
        _with_record(fetched.row, sample, fetched.info, save_caption=save_caption)
        for sample in processed.samples
    ]
    attempts = fetched.attempts + processed.attempts - 1
    return replace(processed, samples=samples, attempts=attempts)


def _with_record(
    row: Row, sample: Sample, info: Mapping[str, Any], *, save_caption: bool
) -> Sample:
    record = {
        **_json_ready(row.columns),
        "key": sample.key,
        "status": "success",
        "error_message": None,
        "yt_meta_dict": info.get("yt_meta_dict"),
        **_json_ready(sample.meta),
    }
    parts = dict(sample.parts)
    if save_caption:
        parts["txt"] = Blob.of((row.caption or "").encode())
    parts["json"] = Blob.of(json.dumps(record, indent=4, ensure_ascii=False).encode())
    return Sample(sample.key, parts, record)


def _json_ready(value: Any) -> Any:
    """The value in JSON's types: bytes and dates become text, no NaN, arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(inner) for key, inner in value.items()}
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
    return value if value is None or isinstance(value, str | bool | int) else str(value)


@dataclass(frozen=True, slots=True)
class Lines:
    """The ledger lines of one row: one for each sample, or one for the failure."""

    row: Row
    own: Sequence[Mapping[str, Any]]


def ledger_lines(outcome: Ok[Processed] | Failed) -> Lines:
    """What the ledger says of one row."""
    if isinstance(outcome, Failed):
        line = {
            "key": outcome.row.key,
            "status": outcome.status,
            "error_message": outcome.detail,
            "cause": outcome.cause.value,
            "stage": outcome.stage,
            "attempts": outcome.attempts,
            **_row_facts(outcome.facts),
        }
        return Lines(outcome.row, [line])
    value = outcome.value
    of_row = {"status": "success", "attempts": value.attempts, **_row_facts(value.facts)}
    return Lines(outcome.row, [{**of_row, **_of_sample(sample)} for sample in value.samples])


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


def ledger_table(rows: Sequence[Lines], columns: Sequence[str]) -> pa.Table:
    """The ledger: the row's ``columns``, then our own, ordered by key."""
    lines = [(own, rows_.row) for rows_ in rows for own in rows_.own]
    lines.sort(key=lambda line: line[0]["key"])
    arrays = {name: _input_column([row.columns.get(name) for _, row in lines]) for name in columns}
    for field in _OWN_COLUMNS:
        arrays[field.name] = pa.array([own.get(field.name) for own, _ in lines], field.type)
    return pa.table(arrays)


def _input_column(values: Sequence[Any]) -> pa.Array:
    """A column of the input in its own type; as JSON text where the values have no common one."""
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([json.dumps(_json_ready(value)) for value in values], pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array
