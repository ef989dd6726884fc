"""Reads plain lists of URLs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncv2d_stages.read._lines import Columns, CountedLines, LineReader


class TxtReader(LineReader):
    """One URL a line, no header; blank lines are passed over.

    The lines are the last of ``columns``, whatever it is called.
    """

    def _header(self, path: str, lines: CountedLines) -> Sequence[str]:
        return self.columns[-1:]

    def _parse(
        self,
        path: str,
        lines: CountedLines,
        header: Sequence[str],
    ) -> Iterator[Columns]:
        for line in lines:
            if url := line.strip():
                yield {header[0]: url}
