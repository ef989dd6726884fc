"""Reads plain lists of URLs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncv2d_stages.read._table import Columns, TableReader
from asyncv2d_stages.read._text import Bad, Text


class TxtReader(TableReader):
    """One URL a line, no header; blank lines are passed over.

    The lines are the last of ``columns``, whatever it is called.
    """

    def _header(self, text: Text) -> Sequence[str]:
        return self.columns[-1:]

    def _parse(self, text: Text, header: Sequence[str]) -> Iterator[Columns | Bad]:
        for line in text.lines():
            yield line if isinstance(line, Bad) else {header[0]: line.strip()}
