"""Reads comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from asyncv2d.types import UserError
from asyncv2d_stages.read._lines import Columns, CountedLines, LineReader

_LONGEST_FIELD = 1 << 30


class CsvReader(LineReader):
    """CSV with a header line, in UTF-8; quoted fields may hold line breaks.

    Values stay text; an empty field is a missing value.
    """

    delimiter: str = ","
    """What stands between two fields."""

    def _header(self, path: str, lines: CountedLines) -> Sequence[str]:
        header = next(self._rows(path, lines), None)
        if header is None:
            raise UserError(f"{path}: the file is empty; expected a header line with column names")
        return [name.strip() for name in header]

    def _parse(self, path: str, lines: CountedLines, header: Sequence[str]) -> Iterator[Columns]:
        for row in self._rows(path, lines):
            if len(row) > len(header):
                raise UserError(
                    f"{path}: a row ending at byte {lines.position} has {len(row)} fields, the"
                    f" header {len(header)}: {row[0]!r:.60} …; quote fields that hold commas"
                )
            yield {name: value or None for name, value in zip(header, row, strict=False)}

    def _rows(self, path: str, lines: CountedLines) -> Iterator[list[str]]:
        csv.field_size_limit(_LONGEST_FIELD)
        try:
            yield from filter(None, csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}: no valid CSV at byte {lines.position}: {error}") from None
