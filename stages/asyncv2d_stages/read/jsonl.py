"""Reads JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from asyncv2d_stages.read._objects import ObjectReader, as_object
from asyncv2d_stages.read._table import Columns
from asyncv2d_stages.read._text import Bad, Text


class JsonlReader(ObjectReader):
    """One JSON object a line."""

    def _parse(self, text: Text, header: Sequence[str]) -> Iterator[Columns | Bad]:
        for line in text.lines():
            yield line if isinstance(line, Bad) else _object(line, text.began)


def _object(line: str, number: int) -> Columns | Bad:
    try:
        return as_object(json.loads(line), number)
    except (ValueError, RecursionError) as error:
        return Bad(number, f"no valid JSON: {error}")
