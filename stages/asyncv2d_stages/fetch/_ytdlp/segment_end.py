"""Whether a segment that is read piece by piece ends where its own sizes say.

A server that names no length, and breaks off, seems to have sent all of it.
"""

from __future__ import annotations

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


class End:
    """Follows a transport stream's packets, or an MP4's boxes; of others nothing is known.

    ``start`` is what the segment begins with.
    """

    def __init__(self, start: bytes) -> None:
        self._is_ts = start[:1] == start[_TS_PACKET : _TS_PACKET + 1] == _TS_SYNC
        self._is_mp4 = start[4:8] in _BOXES
        self._size = 0
        self._next = 0  # where the next box begins
        self._header = b""  # what came of that

    @property
    def is_missing(self) -> bool:
        """Whether more ought to come."""
        if self._is_mp4:
            return self._next > self._size
        return self._is_ts and self._size % _TS_PACKET != 0

    def take(self, data: bytes) -> None:
        """``data`` comes next."""
        start, self._size = self._size, self._size + len(data)
        while self._is_mp4 and self._next < self._size:
            at = self._next + len(self._header) - start
            self._header += data[at : at + _LONG_HEADER - len(self._header)]
            length = _length(self._header)
            if length is None:
                return
            # Behind what is no box may follow anything, which is judged when all is together.
            self._is_mp4 = length >= _HEADER and self._header[4:8] in _BOXES
            self._next, self._header = self._next + length, b""


def _length(header: bytes) -> int | None:
    """The size of the box that begins so; None if more has to be known."""
    length = int.from_bytes(header[:4], "big")
    if len(header) < _HEADER:
        return None
    if length != 1:
        return length
    return int.from_bytes(header[8:], "big") if len(header) == _LONG_HEADER else None
