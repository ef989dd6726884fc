"""Reads comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from asyncv2d.types import UserError
from asyncv2d_stages.read._table import Columns, TableReader
from asyncv2d_stages.read._text import NOT_UTF8, Bad, Text, TooLongError

_LONGEST_FIELD = 1 << 30


class CsvReader(TableReader):
    """CSV with a header line, in UTF-8; quoted fields may hold line breaks.

    Values stay text; an empty field is a missing value. A bad record is its first line alone:
    reading goes on at the second one, so that a quote that is never closed swallows nothing. A
    quote may be closed up to 10 000 lines or 64 MiB later.
    """

    delimiter: str = ","
    """What stands between two fields."""

    def _header(self, text: Text) -> Sequence[str]:
        header = next(self._rows(text), None)
        if header is None:
            raise UserError(
                f"{text.path}: the file is empty; expected a header line with column names"
            )
        if isinstance(header, Bad):
            raise UserError(f"{text.path}: line {header.line}: {header.why}")
        return [name.strip() for name in header]

    def _parse(self, text: Text, header: Sequence[str]) -> Iterator[Columns | Bad]:
        places = [(name, header.index(name)) for name in self.columns if name in header]
        width = len(header)
        for row in self._rows(text):
            if isinstance(row, Bad):
                yield row
            elif len(row) > width:
                yield Bad(
                    text.began,
                    f"{len(row)} fields, the header has {width}: {row[0]!r:.60} …; quote fields"
                    " that hold the delimiter",
                )
            else:
                row.extend([""] * (width - len(row)))
                yield {name: row[place] or None for name, place in places}

    def _rows(self, text: Text) -> Iterator[list[str] | Bad]:
        csv.field_size_limit(_LONGEST_FIELD)
        rows = csv.reader(text, delimiter=self.delimiter, strict=True)
        while True:
            text.begin()
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, TooLongError) as error:
                text.give_back()
                rows = csv.reader(text, delimiter=self.delimiter, strict=True)
                yield Bad(text.began, f"no valid CSV: {error}")
                continue
            if not text.is_utf8:
                yield Bad(text.began, NOT_UTF8)
            elif row:
                yield row
