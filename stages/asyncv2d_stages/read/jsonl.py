"""Reads JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from asyncv2d.types import UserError
from asyncv2d_stages.read._lines import CountedLines, LineReader, Record


class JsonlReader(LineReader):
    """One JSON object a line; values keep their types, absent keys are missing values."""

    def _header(self, path: str, lines: CountedLines) -> Sequence[str]:
        return self.columns

    def _parse(
        self,
        path: str,
        lines: CountedLines,
        header: Sequence[str],
    ) -> Iterator[Record]:
        for line in lines:
            if line.strip():
                yield _object(path, line, lines.position)


def _object(path: str, line: str, position: int) -> Record:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: no valid JSON in the line ending at byte {position}: {error}"
        ) from None
    if not isinstance(record, dict):
        raise UserError(
            f"{path}: the line ending at byte {position} is no JSON object: {line.strip():.60}"
        )
    return record
