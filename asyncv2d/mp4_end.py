"""Whether an MP4 file holds all that its outermost boxes announce.

FFmpeg goes from box to box, and where it comes upon what is none it takes the file for finished. In
a file of many fragments all further ones are then lost without a word: so such a place is told from
padding by what comes behind it.
"""

from __future__ import annotations

import re
import sys
from typing import BinaryIO

from msgspec import Struct

BOXES = frozenset(
    {
        *(b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp", b"sidx"),
        *(b"ssix", b"mfra", b"uuid", b"udta", b"meta", b"prft", b"emsg", b"pdin", b"imda"),
    }
)
_HEADER = 8
_DATA = (b"mdat", b"imda")
_RUN_HAS_OFFSET = 1
_FRAGMENT = re.compile(rb"moof.{4}mfhd", re.DOTALL)  # each description begins so
_LARGEST_DESCRIPTION = 1 << 24
_PIECE = 1 << 20


class _Box(Struct, frozen=True):
    name: bytes
    start: int
    end: int


class _Walk:
    """What was seen on the way from box to box; ``position`` is where the last one ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        self._last_known = 0
        self._description: _Box | None = None
        self._fragment: _Box | None = None  # whose data did not come yet
        self._has_fragments = False

    def take(self, box: _Box) -> bool:
        """Go on behind ``box``; False if it stands where a fragment's data ought to be."""
        self.position = box.end
        if box.name in BOXES:
            self._last_known = box.start
        if box.name == b"moov":
            self._description = box
        elif box.name in _DATA:
            self._fragment = None
        elif box.name == b"moof":
            if self.misses_data(box.end):
                return False
            self._fragment, self._has_fragments = box, True
        return True

    def misses_data(self, end: int = sys.maxsize) -> bool:
        """Whether the last fragment's data should have begun since, and before ``end``."""
        last = self._fragment
        return last is not None and last.end <= _data_begins(self._file, last) < end

    def loses_fragments(self) -> bool:
        """Whether there are fragments behind the end of what could be read.

        Maybe it is the length of the last known box that is wrong, and they lie in it.
        """
        has_fragments = self._has_fragments or _announces_fragments(self._file, self._description)
        return has_fragments and _has_fragment(self._file, self._last_known + _HEADER)


def is_cut(file: BinaryIO, size: int) -> bool:
    """Whether a box reaches past the end, or a fragment lacks its data or cannot be found.

    Boxes of other names are passed over, as FFmpeg does, if they end within the file.
    """
    walk = _Walk(file)
    while (box := _box_at(file, walk.position, size)) is not None:
        if not walk.take(box):
            return True
    if walk.position > size or walk.misses_data():
        return True
    return walk.position < size and walk.loses_fragments()


def _box_at(file: BinaryIO, position: int, size: int) -> _Box | None:
    """The box that begins there; None at the end, and where there is none."""
    if position + _HEADER > size:
        return None
    file.seek(position)
    header = file.read(16)
    length, name = int.from_bytes(header[:4], "big"), header[4:8]
    if length == 1 and len(header) == 16:
        length = int.from_bytes(header[8:16], "big")
    if length == 0 and name in BOXES:  # "to the end of the file"
        length = size - position
    if length < _HEADER or (name not in BOXES and position + length > size):
        return None
    return _Box(name, position, position + length)


def _data_begins(file: BinaryIO, fragment: _Box) -> int:
    """Where the data of a fragment begins, by its description; 0 if it has none."""
    content = _content(file, fragment)
    at = content.find(b"trun")
    flags, samples = content[at + 5 : at + 8], content[at + 8 : at + 12]
    if at < 0 or not any(samples):
        return 0
    if not int.from_bytes(flags, "big") & _RUN_HAS_OFFSET:
        return fragment.end
    return fragment.start + int.from_bytes(content[at + 12 : at + 16], "big", signed=True)


def _announces_fragments(file: BinaryIO, description: _Box | None) -> bool:
    return description is not None and b"mvex" in _content(file, description)


def _content(file: BinaryIO, box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(min(box.end - box.start, _LARGEST_DESCRIPTION))


def _has_fragment(file: BinaryIO, start: int) -> bool:
    """Whether a fragment's description begins anywhere behind ``start``."""
    file.seek(start)
    before = b""
    while piece := file.read(_PIECE):
        if _FRAGMENT.search(found := before + piece):
            return True
        before = found[-11:]
    return False
