"""Whether a segment that is read piece by piece ends where its own sizes say.

A server that names no length, and breaks off, seems to have sent all of it.
"""

from __future__ import annotations

from collections.abc import Callable

_TS_PACKET = 188
_TS_SYNC = b"G"
_BOXES = frozenset(
    {
        *(b"styp", b"sidx", b"ssix", b"moof", b"mdat", b"emsg", b"prft", b"ftyp", b"moov", b"free"),
        *(b"skip", b"uuid", b"mfra", b"udta", b"meta", b"imda"),
    }
)
_HEADER = 8
_LONG_HEADER = 16
_EBML, _SEGMENT, _CLUSTER, _CUES = (
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"),
    *(b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"),
)
_LONGEST_ID = 4
_NOTHING = 0  # known of what is here: it is no box, or has no size


def is_webm(start: bytes) -> bool:
    """Whether a segment begins as those of WebM do."""
    return start.startswith((_EBML, _SEGMENT, _CLUSTER, _CUES))


class End:
    """Follows a transport stream's packets, MP4's boxes or WebM's elements.

    Of others nothing is known. ``start`` is what the segment begins with.
    """

    def __init__(self, start: bytes) -> None:
        self._is_ts = start[:1] == start[_TS_PACKET : _TS_PACKET + 1] == _TS_SYNC
        self._measure: Callable[[bytes], int | None] | None = None
        if is_webm(start):
            self._measure = _element
        elif start[4:8] in _BOXES:
            self._measure = _box
        self._size = 0
        self._next = 0  # where the next box begins
        self._header = b""  # what came of that

    @property
    def is_missing(self) -> bool:
        """Whether more ought to come."""
        if self._measure is not None:
            return self._next > self._size
        return self._is_ts and self._size % _TS_PACKET != 0

    def take(self, data: bytes) -> None:
        """``data`` comes next."""
        start, self._size = self._size, self._size + len(data)
        while self._measure is not None and self._next < self._size:
            at = self._next + len(self._header) - start
            self._header += data[at : at + _LONG_HEADER - len(self._header)]
            length = self._measure(self._header)
            if length is None:
                return
            if length == _NOTHING:  # what follows is judged when all is together
                self._measure = None
            self._next, self._header = self._next + length, b""


def _box(header: bytes) -> int | None:
    """The size of the box that begins so; None if more has to be known."""
    if len(header) < _HEADER:
        return None
    length = int.from_bytes(header[:4], "big")
    if length == 1:
        if len(header) < _LONG_HEADER:
            return None
        length = int.from_bytes(header[8:], "big")
    return length if length >= _HEADER and header[4:8] in _BOXES else _NOTHING


def _element(header: bytes) -> int | None:
    """The same for an element; of those that hold all others only what comes before these."""
    id_length = _vint_length(header[:1])
    if id_length > _LONGEST_ID:
        return _NOTHING
    size_length = _vint_length(header[id_length : id_length + 1])
    if size_length > _HEADER:
        return None if len(header) <= id_length else _NOTHING
    before = id_length + size_length
    if len(header) < before:
        return None
    mask = (1 << 7 * size_length) - 1
    size = int.from_bytes(header[id_length:before], "big") & mask
    return before if size == mask or header.startswith(_SEGMENT) else before + size


def _vint_length(first: bytes) -> int:
    """In how many bytes a number is that begins with this one; beyond 8: in none."""
    return 9 - int.from_bytes(first, "big").bit_length()
