"""The types of values that carry none: what the first ones have, the later ones must fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asyncv2d.types import Record

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_AT = 1000
_BATCH = 500


def infer(objects: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pa.Schema:
    """The columns' types; text where values have no type in common, or none that can be stored."""
    import pyarrow as pa

    kinds = {name: _kind([item.get(name) for item in objects]) for name in names}
    return pa.schema(
        [
            (name, kind if kind is not None and _is_known(kind) else pa.string())
            for name, kind in kinds.items()
        ]
    )


def fitted(records: Iterator[Record], schema: pa.Schema) -> Iterator[Record]:
    """The records; one with a value that does not fit its column's type says so.

    Everything fits text. The types of many values are looked at together, so that this is cheap.
    """
    import pyarrow as pa

    fields = [field for field in schema if not pa.types.is_string(field.type)]
    if not fields:
        yield from records
    while batch := list(islice(records, _BATCH)):
        for field in fields:
            values = [record.columns.get(field.name) for record in batch]
            if not _all_fit(values, field.type):
                batch = [_checked(record, field) for record in batch]
        yield from batch


def _checked(record: Record, field: pa.Field) -> Record:
    value = record.columns.get(field.name)
    if record.problem is not None or _all_fit([value], field.type):
        return record
    problem = f"column {field.name!r} holds {value!r:.60}, where the first rows have {field.type}"
    return replace(record, problem=problem)


def _all_fit(values: Sequence[Any], wanted: pa.DataType) -> bool:
    kind = _kind(values)
    return kind is not None and _fits(kind, wanted)


def _kind(values: Sequence[Any]) -> pa.DataType | None:
    """The type that all values have; None if there is no such type."""
    import pyarrow as pa

    try:
        return pa.array(values).type
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None


def _fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether nothing is lost when a value of one type is stored as the other."""
    import pyarrow as pa

    if pa.types.is_null(kind) or pa.types.is_string(wanted) or kind == wanted:
        return True
    if pa.types.is_list(kind) and pa.types.is_list(wanted):
        return _fits(kind.value_type, wanted.value_type)
    if pa.types.is_struct(kind) and pa.types.is_struct(wanted):
        known = {field.name: field.type for field in wanted}
        return all(field.name in known and _fits(field.type, known[field.name]) for field in kind)
    return bool(pa.types.is_int64(kind) and pa.types.is_float64(wanted))


def _is_known(kind: pa.DataType) -> bool:
    """No empty struct and nothing of which only missing values were seen, at any depth."""
    import pyarrow as pa

    inner = [kind.field(number).type for number in range(kind.num_fields)]
    is_empty = pa.types.is_struct(kind) and not inner
    return not is_empty and not pa.types.is_null(kind) and all(map(_is_known, inner))
