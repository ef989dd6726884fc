"""Stretches of files: what is sent as one has to be the one asked for, and all of it."""

from __future__ import annotations

import re
from http.client import HTTPResponse
from typing import Any

from asyncv2d.types import Cause, ItemError

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)", re.IGNORECASE)


class Stretch:
    """Counts what comes of one whose server says how long it is nowhere else.

    Where it does, Python counts; of other answers nothing is known.
    """

    def __init__(self, answer: Any) -> None:
        self._missing = 0
        has_no_length = isinstance(answer.fp, HTTPResponse) and answer.fp.length is None
        if has_no_length and (ends := _said(answer)) is not None:
            self._missing = int(ends[1]) - int(ends[0]) + 1

    def take(self, size: int, *, is_last: bool) -> None:
        """So many bytes came. Raises IncompleteRead where they are the last, and too few."""
        from yt_dlp.networking.exceptions import IncompleteRead

        self._missing -= size
        if is_last and self._missing > 0:
            raise IncompleteRead(partial=size, expected=self._missing)


def check_stretch(request: Any, answer: Any) -> None:
    """Refuse another stretch of a file than the one that was asked for."""
    wanted = _RANGE.match(request.headers.get("Range") or "")
    if wanted is not None and _stretch(answer) != (wanted[1], wanted[2]):
        answer.close()
        raise ItemError(Cause.NO_FORMAT, "the server does not send the parts of files it lists")


def _stretch(answer: Any) -> tuple[str, str] | None:
    """The first and the last byte that an answer says it has, if it has as many."""
    if (ends := _said(answer)) is None:
        return None
    length = answer.headers.get("Content-Length")
    return ends if length is None or length == str(int(ends[1]) - int(ends[0]) + 1) else None


def _said(answer: Any) -> tuple[str, str] | None:
    """The same, if it is one of a part."""
    given = _CONTENT_RANGE.match(answer.headers.get("Content-Range") or "")
    return None if answer.status != 206 or given is None else (given[1], given[2])
