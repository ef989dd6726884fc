"""Whether a segment that is read piece by piece ends where its own sizes say.

A server that names no length, and breaks off, seems to have sent all of it.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncv2d_stages.fetch._ytdlp import packed_audio

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
_LARGEST_TAG = 2048
_FRAGMENTS, WHOLE = "fragments of MP4", "a whole MP4"


def is_webm(start: bytes) -> bool:
    """Whether a segment begins as those of WebM do."""
    return start.startswith((_EBML, _SEGMENT, _CLUSTER, _CUES))


def is_ts(start: bytes) -> bool:
    """Whether it begins with a packet of a transport stream, and another one if it is longer."""
    has_packet = start[:1] == _TS_SYNC and len(start) >= _TS_PACKET
    return has_packet and start[_TS_PACKET:][:1] in (_TS_SYNC, b"")


def is_box(start: bytes) -> bool:
    """Whether it begins with a box of MP4, maybe a short one of a name of its own."""
    return start[4:8] in _BOXES or (start[:1] == b"\0" and start[4:8].isalnum())


class End:
    """Follows a transport stream's packets, MP4's boxes, WebM's elements or frames of sound.

    Of others nothing is known. ``start`` is what the segment begins with.
    """

    def __init__(self, start: bytes) -> None:
        self._packets = _Packets() if is_ts(start) else None
        self._measure: Callable[[bytes], int | None] | None = None
        if is_webm(start):
            self._measure = _element
        elif start[4:8] in _BOXES:
            self._measure = _box
        elif packed_audio.begins(start):
            self._measure = _frame
        self._boxes = set[bytes]()
        self._last_frame: int | None = None  # where those of sound end
        self._next = 0  # where the next box begins
        self._header = b""  # what came of that
        self.size = 0

    @property
    def is_missing(self) -> bool:
        """Whether more ought to come."""
        if self._packets is not None:
            return self._packets.is_cut
        if self._measure is _frame and packed_audio.may_begin(self._header):
            return True
        return self._measure is not None and self._next > self.size

    @property
    def is_lost(self) -> bool:
        """Whether something else came behind the start, and is more than a tag."""
        if self._packets is not None:
            return self._packets.is_lost
        return self._last_frame is not None and self.size - self._last_frame > _LARGEST_TAG

    @property
    def content(self) -> str | None:
        """What boxes there were: those of a fragment, or of a whole file; None if of neither."""
        if b"moof" in self._boxes:
            return _FRAGMENTS
        return WHOLE if self._boxes >= {b"moov", b"mdat"} else None

    def take(self, data: bytes) -> None:
        """``data`` comes next."""
        start, self.size = self.size, self.size + len(data)
        if self._packets is not None:
            self._packets.take(data)
        while self._measure is not None and self._next < self.size:
            at = self._next + len(self._header) - start
            self._header += data[at : at + _LONG_HEADER - len(self._header)]
            length = self._measure(self._header)
            if length is None:
                return
            if self._measure is _box and length > _LONG_HEADER:  # else it is empty
                self._boxes.add(self._header[4:8])
            if length == _NOTHING:  # what follows is judged when all is together
                self._last_frame = self._next if self._measure is _frame else None
                self._measure = None
            self._next, self._header = self._next + length, b""


class _Packets:
    """Those of a transport stream; something shorter than one may follow."""

    def __init__(self) -> None:
        self._size = 0
        self._end: int | None = None  # where something else begins

    def take(self, data: bytes) -> None:
        first = -self._size % _TS_PACKET
        if self._end is None and (starts := data[first::_TS_PACKET]).strip(_TS_SYNC):
            good = len(starts) - len(starts.lstrip(_TS_SYNC))
            self._end = self._size + first + good * _TS_PACKET
        self._size += len(data)

    @property
    def is_cut(self) -> bool:
        return self._end is None and self._size % _TS_PACKET != 0

    @property
    def is_lost(self) -> bool:
        return self._end is not None and self._size - self._end >= _TS_PACKET


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


def _frame(header: bytes) -> int | None:
    """The same for a frame of sound."""
    return packed_audio.length(header) if len(header) >= packed_audio.ENOUGH else None


def _vint_length(first: bytes) -> int:
    """In how many bytes a number is that begins with this one; beyond 8: in none."""
    return 9 - int.from_bytes(first, "big").bit_length()
