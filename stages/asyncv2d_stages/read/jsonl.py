"""Reads JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from asyncv2d.types import UserError
from asyncv2d_stages.read._lines import (
    Columns,
    CountedLines,
    LineReader,
    check_columns,
    open_text,
)

_LOOK_AT = 1000


class JsonlReader(LineReader):
    """One JSON object a line; values keep their types, absent keys are missing values.

    A column that none of the first 1000 objects has is taken for a mistake.
    """

    def _cut(self, path: str, size: int) -> Iterator[tuple[int, int, int]]:
        with open_text(path) as file:
            records = self._parse(path, CountedLines(file, path), ())
            names = list(dict.fromkeys(chain.from_iterable(islice(records, _LOOK_AT))))
        if names:
            check_columns(path, names, self.columns)
        yield from super()._cut(path, size)

    def _header(self, path: str, lines: CountedLines) -> Sequence[str]:
        return self.columns

    def _parse(
        self,
        path: str,
        lines: CountedLines,
        header: Sequence[str],
    ) -> Iterator[Columns]:
        for line in lines:
            if line.strip():
                yield _object(path, line, lines.position)


def _object(path: str, line: str, position: int) -> Columns:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: no valid JSON in the line ending at byte {position}: {error}"
        ) from None
    if not isinstance(record, dict):
        raise UserError(
            f"{path}: the line ending at byte {position} is no JSON object: {line.strip():.60}"
        )
    return record
