"""What the readers of JSON share: columns whose types the first objects tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

from asyncv2d.types import Record, ShardSpec
from asyncv2d_stages.read._kinds import LOOK_AT, fitted, infer
from asyncv2d_stages.read._open import STDIN
from asyncv2d_stages.read._table import Columns, TableReader, check_columns
from asyncv2d_stages.read._text import Bad, Text

if TYPE_CHECKING:
    import pyarrow as pa


class ObjectReader(TableReader):
    """Base of the readers of JSON objects.

    Values keep their types, absent keys are missing values. A column that none of the first 1000
    objects of a file has is taken for a mistake.
    """

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The records of one shard; a value that does not fit its column is a problem."""
        yield from fitted(super().records(shard), self.inferred)

    def column_types(self) -> pa.Schema:
        """The types in the first objects of the first file."""
        return self.inferred

    @cached_property
    def inferred(self) -> pa.Schema:
        """The types in the first objects of the first file; text for those that are yet to come."""
        if self.paths[0] == STDIN:
            return super().column_types()
        return infer(self._first(self.paths[0]), self.columns)

    def _first(self, path: str) -> list[Columns]:
        """The first objects of a file, as far as they can be read."""
        with closing(Text(path)) as text:
            entries = islice(self._parse(text, self._header(text)), LOOK_AT)
            return [entry for entry in entries if not isinstance(entry, Bad)]

    def _cut(self, path: str, size: int) -> Iterator[tuple[int, int, int, int]]:
        names = list(dict.fromkeys(chain.from_iterable(self._first(path))))
        if names:
            check_columns(path, names, self.columns)
        yield from super()._cut(path, size)

    def _header(self, text: Text) -> Sequence[str]:
        return self.columns

    def _record(self, entry: Columns | Bad) -> Record:
        if isinstance(entry, Bad):
            return super()._record(entry)
        return Record({name: entry.get(name) for name in self.columns})


def as_object(value: Any, line: int) -> Columns | Bad:
    """A value that should be an object."""
    if isinstance(value, dict):
        return cast(Mapping[str, Any], value)
    return Bad(line, f"no JSON object: {value!r:.60}")
