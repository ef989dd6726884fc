"""Whether what a server sends as a segment can be one: yt-dlp puts together whatever comes."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Any

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.body import is_textual, looks_like_media
from asyncv2d_stages.fetch._ytdlp.segment_end import End, is_webm

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.IGNORECASE)
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\f\r")
_WEBM = "webm"
_ENCRYPTED = re.compile(r"#EXT-X-KEY:(?:[^\n]*,)?METHOD=(?!NONE|AES-128)([\w-]+)")


class BadSegmentError(Exception):
    """Behind an error of yt-dlp's, which then asks for the segment again."""

    # An expired token or a server's bad moment, as a rule: the next time it may be another.
    cause_of_row = Cause.TRUNCATED


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of segments beforehand: the file's extension, and whether they are ciphers."""

    extension: str
    is_encrypted: bool = False


class Segment:
    """An answer while it is read; ``url`` is what was asked for."""

    def __init__(self, request: Any, answer: Any, expected: Expected) -> None:
        """Refuse a part of what was asked for whole."""
        self.url: str = request.url
        self._expected = expected
        is_asked_for_part = "Range" in request.headers
        if _is_part(answer) and not is_asked_for_part:
            answer.close()
            raise _bad("the server sent only a part of a segment, and was asked for all of it")
        self._kind = (answer.headers.get("Content-Type") or "").partition(";")[0].strip()
        # Else it may begin with anything, and is the rest of one that broke off.
        self._is_whole = not (is_asked_for_part and answer.status == 206)
        self._end: End | None = None

    def take(self, data: bytes, *, is_last: bool) -> None:
        """Refuse what cannot be media, encrypted or not, or ends too early; ``data`` comes next."""
        if not self._is_whole:
            return
        if self._end is None:
            _check_start(data, self._kind, self._expected)
            self._end = End(data)
        self._end.take(data)
        if is_last and self._end.is_missing:
            raise _bad("a segment ends before its own sizes say it does")


def _check_start(data: bytes, kind: str, expected: Expected) -> None:
    if not data:
        raise _bad("a segment has no bytes")
    if not any(data):
        raise _bad("a segment holds zeros and no media")
    if _is_text(data):
        raise _bad(f"a segment is text or a web page ({kind or 'of no type'})")
    if expected.is_encrypted or is_webm(data):
        return
    if expected.extension == _WEBM:
        raise _bad("a segment is none of WebM, as the others are")
    if is_textual(kind) and not looks_like_media(data):
        raise _bad(f"a segment is {kind}, and looks like no media")


def is_encrypted(playlist: str) -> bool:
    """Whether an HLS playlist has segments that are to be decrypted."""
    return "METHOD=AES-128" in playlist


def check_encryption(playlist: str) -> None:
    """Raise ItemError for an HLS playlist whose segments yt-dlp cannot decrypt by itself."""
    if (method := _ENCRYPTED.search(playlist)) is not None:
        detail = f"the segments are encrypted in a way that cannot be undone here ({method[1]})"
        raise ItemError(Cause.NO_FORMAT, detail)


def _bad(detail: str) -> Exception:
    from yt_dlp.networking.exceptions import TransportError

    error: Exception = TransportError(detail, cause=BadSegmentError(detail))
    return error


def is_bad_segment(error: BaseException) -> bool:
    """Whether an error of yt-dlp's says that a segment is none."""
    return isinstance(getattr(error, "cause", None), BadSegmentError)


def _is_part(answer: Any) -> bool:
    given = _CONTENT_RANGE.match(answer.headers.get("Content-Range") or "")
    return (
        answer.status == 206
        and given is not None
        and (given[1] != "0" or int(given[2]) + 1 != int(given[3]))
    )


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8 without control characters, which media or their ciphers never are."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return _CONTROLS.isdisjoint(data)
