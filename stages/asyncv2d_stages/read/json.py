"""Reads a JSON array of objects, as it comes: the file may be larger than the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from asyncv2d.types import UserError
from asyncv2d_stages.read._json_window import Window
from asyncv2d_stages.read._objects import ObjectReader
from asyncv2d_stages.read._table import Columns
from asyncv2d_stages.read._text import Bad, Text

_EXPECTED = "expected an array of objects: [{…}, …]"


class JsonReader(ObjectReader):
    """One array of JSON objects.

    After a bad object reading goes on where the next one seems to begin; commas between objects
    are not checked.
    """

    def _header(self, text: Text) -> Sequence[str]:
        """Take the bracket that opens the array."""
        window = Window(text)
        if not (char := window.next_char()):
            raise UserError(f"{text.path}: the file is empty; {_EXPECTED}")
        if char != "[":
            raise UserError(f"{text.path}: {_EXPECTED}; {_what_it_is(window.rest_of_line())}")
        window.take(1)
        window.leave()
        return self.columns

    def _parse(self, text: Text, header: Sequence[str]) -> Iterator[Columns | Bad]:
        window = Window(text)
        while (char := window.next_char()) not in ("", "]"):
            text.begin()
            yield window.take_object()
        window.take(1)
        text.begin()
        if not char and not text.damage:
            yield Bad(text.began, "the file is cut off: its array does not end")
        if window.next_char():
            text.begin()
            window.take_all()
            yield Bad(text.began, "the file goes on after the end of its array")


def _what_it_is(line: str) -> str:
    try:
        if isinstance(json.loads(line), dict):
            return "these are JSON lines: use --input_format jsonl"
    except (ValueError, RecursionError):
        pass
    return f"the file begins with {line.strip()!r:.30}"
