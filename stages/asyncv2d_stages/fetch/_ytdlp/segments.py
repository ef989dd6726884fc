"""Whether what a server sends as a segment can be one: yt-dlp puts together whatever comes."""

from __future__ import annotations

import codecs
import re
from typing import Any

from msgspec import Struct, field

from asyncv2d.types import Cause
from asyncv2d_stages.fetch._http.body import is_textual, looks_like_media
from asyncv2d_stages.fetch._ytdlp.packed_audio import behind_tag
from asyncv2d_stages.fetch._ytdlp.segment_end import WHOLE, End, is_webm
from asyncv2d_stages.fetch._ytdlp.segment_kind import Alike, Alone, is_no_media, kind_of

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.IGNORECASE)
_REST = re.compile(r"bytes=(\d+)-$")
_BEGIN = re.compile(r"bytes (\d+)-", re.IGNORECASE)
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\f\r")
_WEBM = "webm"


class BadSegmentError(Exception):
    """Behind an error of yt-dlp's, which then asks for the segment again."""

    # An expired token or a server's bad moment, as a rule: the next time it may be another.
    cause_of_row = Cause.TRUNCATED


class Expected(Struct, frozen=True):
    """What is known of segments beforehand: the file's extension, and whether they are ciphers.

    The first ones tell of what ``kind`` the others are, and what is in them (``content``); one may
    be a ``whole`` file.
    """

    extension: str
    is_encrypted: bool = False
    kind: Alike = field(default_factory=Alike)
    content: Alike = field(default_factory=Alike)
    whole: Alone = field(default_factory=Alone)

    def check(self) -> None:
        """Raise ItemError (truncated) where not all that came belongs together."""
        self.kind.check()
        self.content.check()


class Segment:
    """An answer while it is read; ``url`` is what was asked for."""

    def __init__(self, request: Any, answer: Any, expected: Expected) -> None:
        """Refuse a part of what was asked for whole, and another rest than the one asked for."""
        self.url: str = request.url
        self._expected = expected
        is_asked_for_part = "Range" in request.headers
        if _is_part(answer) and not is_asked_for_part:
            answer.close()
            raise _bad("the server sent only a part of a segment, and was asked for all of it")
        begin = rest_asked_for(request)
        if answer.status == 206 and begin and _begin(answer) != begin:
            answer.close()
            raise _bad("the server sent something else than the rest of a segment")
        self._kind = (answer.headers.get("Content-Type") or "").partition(";")[0].strip()
        # Else it may begin with anything, and is the rest of one that broke off.
        self._is_whole = not (is_asked_for_part and answer.status == 206)
        self._end: End | None = None

    @property
    def size(self) -> int:
        """How much of it came, if that is known to be its beginning."""
        return 0 if self._end is None else self._end.size

    def take(self, data: bytes, *, is_last: bool) -> None:
        """Refuse what cannot be media, encrypted or not, or ends too early; ``data`` comes next."""
        if not self._is_whole:
            return
        if self._end is None:
            _check_start(data, self._kind, self._expected)
            self._end = End(data)
        self._end.take(data)
        if is_last and not self._expected.is_encrypted:  # a cipher may look like anything
            self._check_end(self._end)

    def _check_end(self, end: End) -> None:
        if end.is_missing:
            raise _bad("a segment ends before its own sizes say it does")
        if end.is_lost:
            raise _bad("a segment goes on with something else than the media it began with")
        if end.content and (expected := self._expected.content.expected(end.content)):
            raise _bad(f"a segment is {end.content}, and others are {expected}")
        if end.content == WHOLE and self._expected.whole.is_another(self):
            raise _bad(f"a segment is {WHOLE}, and so is another: all but one would be left out")


def rest_asked_for(request: Any) -> int:
    """Where the rest begins that is asked for behind what came; 0 where all is, or a stretch."""
    asked = _REST.match(request.headers.get("Range") or "")
    return 0 if asked is None else int(asked[1])


def _begin(answer: Any) -> int | None:
    """Where a part begins, as its server says."""
    given = _BEGIN.match(answer.headers.get("Content-Range") or "")
    return None if given is None else int(given[1])


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
    if is_no_media(data) or (is_textual(kind) and not looks_like_media(data)):
        raise _bad(f"a segment is {kind or 'of no type'}, and looks like no media")
    if (start := behind_tag(data)) and (other := expected.kind.expected(kind_of(start))):
        raise _bad(f"a segment is none of {other}, as others are")


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
