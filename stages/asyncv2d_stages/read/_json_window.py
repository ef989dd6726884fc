"""The part of a JSON file that is being looked at."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from functools import partial

from asyncv2d_stages.read._objects import as_object
from asyncv2d_stages.read._table import Columns
from asyncv2d_stages.read._text import LONGEST, NOT_UTF8, Bad, Text

_BETWEEN = re.compile(r"[ \t\r\n,]*")
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*("|\\?\Z)|[{}\[\]]', re.DOTALL)
_NEAR = 16  # characters: where a cut-off value is noticed
_RAW_DECODE = json.JSONDecoder().raw_decode


class Window:
    """Text that was read and not yet taken; more is read when it is needed."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._ready = ""
        self._at = 0
        self._indent = ""

    def next_char(self) -> str:
        """The character that comes next, after blanks and commas are taken; "" at the end."""
        blanks = ""
        while True:
            match = _BETWEEN.match(self._ready, self._at)
            assert match is not None
            blanks += self.take(match.end() - self._at)
            if self._at < len(self._ready) or not self._more():
                self._indent = blanks[blanks.rindex("\n") :] if "\n" in blanks else ""
                return self._ready[self._at : self._at + 1]

    def take(self, length: int) -> str:
        """Take so many characters."""
        piece = self._ready[self._at : self._at + length]
        self._at += len(piece)
        self._text.took(piece.encode(errors="surrogateescape"))
        return piece

    def take_all(self) -> None:
        """Take everything up to the file's end."""
        while self.take(len(self._ready)) or self._more():
            pass

    def leave(self) -> None:
        """Hand back what was not taken."""
        self._text.jump(self._text.position, self._text.line)

    def rest_of_line(self) -> str:
        """What comes next, up to the line's end."""
        while "\n" not in self._ready[self._at :] and len(self._ready) < LONGEST and self._more():
            pass
        return self._ready[self._at :].partition("\n")[0]

    def take_object(self) -> Columns | Bad:
        """Take one value of the array, which should be an object."""
        began = self._text.began
        while True:
            try:
                value, end = _RAW_DECODE(self._ready, self._at)
            except json.JSONDecodeError as error:
                if self._may_go_on(error) and self._more():
                    continue
                why = f"no valid JSON: {error.msg}"
            except (ValueError, RecursionError) as error:
                why = f"no valid JSON: {error}"
            else:
                is_near_end = end > len(self._ready) - _NEAR
                if is_near_end and not isinstance(value, dict) and self._more():
                    continue  # a number may have further digits
                piece = self.take(end - self._at)
                return as_object(value, began) if _is_utf8(piece) else Bad(began, NOT_UTF8)
            self._skip()
            return Bad(began, why)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether it may be a mistake only because the rest was not read yet."""
        return error.msg.startswith("Unterminated") or error.pos > len(self._ready) - _NEAR

    def _skip(self) -> None:
        """Take what seems to be the bad object, at least one character."""
        ends: list[Callable[[], int | None]] = [self._end_of_object]
        if self._ready[self._at] not in "{[":
            ends = [partial(self._find, re.compile(r"(?=[,\]\n])"))]
        elif self._indent:  # the next line that begins as this one does
            ends.insert(0, partial(self._find, re.compile(re.escape(self._indent) + r"(?=\{)")))
        found = next((end for find in ends if (end := find()) is not None), None)
        end = len(self._ready) if found is None else found
        self.take(max(1, end - self._at))

    def _find(self, pattern: re.Pattern[str]) -> int | None:
        while not (match := pattern.search(self._ready, self._at + 1)):
            if not self._more():
                return None
        return match.end()

    def _end_of_object(self) -> int | None:
        """Where the brackets that open here are closed."""
        while True:
            depth = 0
            for mark in _MARKS.finditer(self._ready, self._at):
                if mark[1] in ("", "\\"):
                    break  # a string that is not whole yet
                depth += (mark[0] in "{[") - (mark[0] in "}]")
                if depth <= 0:
                    return mark.end()
            if not self._more():
                return None

    def _more(self) -> bool:
        """Read on, about twice as far; False at the end, or in an object too large."""
        rest = self._ready[self._at :]
        if len(rest) >= LONGEST or not (more := self._text.chunk()):
            return False
        self._ready, self._at = rest + self._decode(more), 0
        return True


def _is_utf8(piece: str) -> bool:
    if piece.isascii():
        return True
    try:
        piece.encode()
    except UnicodeEncodeError:
        return False
    return True
