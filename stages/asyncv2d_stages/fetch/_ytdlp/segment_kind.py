"""Of what kind segments are: those of a row are all of one, and at most one is a whole file."""

from __future__ import annotations

from threading import Lock

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._ytdlp import packed_audio
from asyncv2d_stages.fetch._ytdlp.segment_end import is_box, is_ts, is_webm

_AC3 = b"\x0b\x77"
# Pictures and pages, which servers send in the place of what they do not have, in any encoding.
_NO_MEDIA = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"PK\3\4", b"<", b"{")


def kind_of(start: bytes) -> str | None:
    """The kind of a segment that begins so; None for an unknown one."""
    if is_webm(start):
        return "WebM"
    if is_box(start):
        return "MP4"
    if is_ts(start):
        return "MPEG-TS"
    return "sound" if start.startswith(_AC3) or packed_audio.begins(start) else None


def is_no_media(start: bytes) -> bool:
    """Whether it is plainly something else."""
    return kind_of(start) is None and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_NO_MEDIA)


class Alike:
    """What all segments of a row have in common, as the first tells of which it is known."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._common: str | None = None
        self._has_unknown = False

    def expected(self, found: str | None) -> str | None:
        """What a segment ought to have been that is ``found`` to be another; None if it may be."""
        with self._lock:
            if self._common is None:
                self._has_unknown |= found is None
                self._common = found
            return None if found == self._common else self._common

    def check(self) -> None:
        """Raise ItemError (truncated) where segments that came first turn out to be others."""
        if self._has_unknown and self._common is not None:
            detail = f"a segment is none of {self._common}, as others are"
            raise ItemError(Cause.TRUNCATED, detail)


class Alone:
    """The one segment of a row that may be a whole file: behind it, nothing more is read."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: object = None

    def is_another(self, segment: object) -> bool:
        """Whether a segment that is a whole file is not the first one that is."""
        with self._lock:
            if self._found is None:
                self._found = segment
            return self._found is not segment
