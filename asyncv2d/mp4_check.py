"""Whether an MP4 file is plainly whole and holds a video, by its headers alone.

A file that is kept as it came needs no more, and to ask FFmpeg, in a process of its own, costs more
than to download a small file. What is not plainly good here may still be so: FFmpeg decides.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import mul
from typing import BinaryIO

_TOP_LEVEL = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"udta"})
# Codecs, and the box with what their decoders have to know beforehand.
_SETUPS = {
    b"avc1": b"avcC",
    b"hvc1": b"hvcC",
    b"hev1": b"hvcC",
    b"av01": b"av1C",
    b"vp09": b"vpcC",
    b"mp4v": b"esds",
}
_ENTRY = 86  # bytes of a picture's description before its boxes
_MORE = 0xE0  # flags that say that a stream's head has more than three bytes
_DECODER = 13  # bytes of a decoder's description before its setup
_AAC = 0x40
_MPEG = frozenset({0x20, _AAC, 0x69, 0x6B})  # MPEG-4 pictures, AAC, MP3
_VP9 = 10  # bytes of a setup before the size of more, of which there is none
_LONGER_KIND = 31  # and beyond: the kind takes more bits
_RATES = 13
_MOST_CHANNELS = 7
_NO_PALETTE = b"\xff\xff"
_MOST_BOXES = 1000  # beside each other: more are there to keep readers busy
_LARGEST_MOOV = 2 << 20  # of an hour's video and more; the event loop waits for what is done here
_HEADER = struct.Struct(">I4s")
_LONG = struct.Struct(">Q")
_TWO = struct.Struct(">II")
_THREE = struct.Struct(">III")
_SIDES = struct.Struct(">HH")

_OPTIONAL = {b"stss": 1, b"ctts": 2}  # keyframes, and the delays until samples are shown

_Boxes = Mapping[bytes, Sequence[memoryview]]


class _DoubtError(Exception):
    """Something here is not as it plainly should be."""


def is_good_video(file: BinaryIO) -> bool:
    """Whether ``file`` is an MP4 whose boxes and sample tables agree with each other and its size.

    False means no more than that this is not sure.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        kinds = [_check_track(track, size) for track in _tracks(_moov(file, size))]
    except (_DoubtError, struct.error, IndexError):  # the last two: something is too short
        return False
    return b"vide" in kinds


def _moov(file: BinaryIO, size: int) -> memoryview:
    """The content of the one box ``moov``; all boxes beside it end with the file."""
    found: list[tuple[int, int]] = []
    names, position = list[bytes](), 0
    while position < size:
        _expect(len(names) < _MOST_BOXES)
        file.seek(position)
        head = file.read(16)
        length, name = _HEADER.unpack_from(head)
        begin = 8
        if length == 1:
            (length,) = _LONG.unpack_from(head, 8)
            begin = 16
        _expect(name in _TOP_LEVEL and length >= begin)
        if name == b"moov":
            found.append((position + begin, length - begin))
        names.append(name)
        position += length
    _expect(position == size and len(found) == 1 and b"mdat" in names)
    start, length = found[0]
    _expect(length <= _LARGEST_MOOV)
    file.seek(start)
    return memoryview(file.read(length))


def _tracks(moov: memoryview) -> Sequence[_Boxes]:
    """The content of each track."""
    inside = _by_name(moov)
    _check_clock(_one(inside, b"mvhd"))
    return [_by_name(_one(_by_name(track), b"mdia")) for track in inside.get(b"trak", ())]


def _check_clock(header: memoryview) -> None:
    """Both ``mvhd`` and ``mdhd`` say here how many units a second has."""
    (scale,) = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)
    _expect(scale > 0 and header[0] <= 1)


def _check_track(media: _Boxes, size: int) -> bytes:
    """The kind of a track (``vide``, ``soun`` …) whose samples lie within the file."""
    kind = bytes(_one(media, b"hdlr")[8:12])
    _check_clock(_one(media, b"mdhd"))
    inside = _by_name(_one(media, b"minf"))
    _count_boxes(_one(_by_name(_one(inside, b"dinf")), b"dref"))
    table = _by_name(_one(inside, b"stbl"))
    _check_samples(table, size, may_be_empty=kind != b"vide")
    description = _one(table, b"stsd")
    _expect(_count_boxes(description) == 1)
    entry = description[8:]
    if kind == b"vide":
        _check_picture(entry)
    _check_setup(entry)
    return kind


def _check_picture(entry: memoryview) -> None:
    """The description of a picture: its codec, its size, and the decoder's setup."""
    _length, codec = _HEADER.unpack_from(entry)
    width, height = _SIDES.unpack_from(entry, 32)
    _expect(codec in _SETUPS and width > 0 and height > 0)
    _expect(bytes(entry[_ENTRY - 2 : _ENTRY]) == _NO_PALETTE)
    setup = _one(_by_name(entry[_ENTRY:]), _SETUPS[codec])
    if codec == b"vp09":
        _expect(setup[0] == 1 and bytes(setup[_VP9:]) == b"\0\0")


def _check_setup(entry: memoryview) -> None:
    """The setup of MPEG-4's decoders, of picture or sound, if it is one of these."""
    at = bytes(entry).find(b"esds")
    if at < 0:
        return
    (length,) = struct.unpack_from(">I", entry, at - 4)
    stream = _descriptor(entry[at + 8 : at - 4 + length], tag=3)
    _expect(stream[2] & _MORE == 0)
    decoder = _descriptor(stream[3:], tag=4)
    _expect(decoder[0] in _MPEG)
    if len(decoder) == _DECODER:
        return
    setup = _descriptor(decoder[_DECODER:], tag=5)
    _expect(len(setup) > 1)
    if decoder[0] == _AAC:
        _check_aac(setup)


def _check_aac(setup: memoryview) -> None:
    """5 bits say which kind of AAC it is, 4 its rate, 4 its channels."""
    (bits,) = struct.unpack_from(">H", setup)
    kind, rate, channels = bits >> 11, bits >> 7 & 15, bits >> 3 & 15
    _expect(0 < kind < _LONGER_KIND and rate < _RATES and 0 < channels <= _MOST_CHANNELS)


def _descriptor(content: memoryview, tag: int) -> memoryview:
    """What is in the descriptor with which ``content`` begins: its length has 7 bits in a byte."""
    _expect(content[0] == tag)
    length = 0
    for position in range(1, 5):
        length = length << 7 | content[position] & 0x7F
        if content[position] < 0x80:
            break
    else:
        raise _DoubtError
    _expect(position + length < len(content))
    return content[position + 1 : position + 1 + length]


def _count_boxes(content: memoryview) -> int:
    """How many boxes there are, which is also said before them."""
    boxes = sum(map(len, _by_name(content[8:]).values()))
    _expect(_TWO.unpack_from(content)[1] == boxes)
    return boxes


def _check_samples(table: _Boxes, size: int, *, may_be_empty: bool) -> None:
    """Compare the tables that say how many samples there are, how large, and where."""
    _flags, uniform, samples = _THREE.unpack_from(_one(table, b"stsz"))
    sizes = _numbers(_one(table, b"stsz")[12:], 0 if uniform else samples)
    lasting = _entries(_one(table, b"stts"), 2)
    runs = _entries(_one(table, b"stsc"), 3)
    chunks = _offsets(table)
    _expect(may_be_empty or samples > 0)
    _expect(sum(lasting[::2]) == samples)
    _expect((uniform * samples or sum(sizes)) <= size)
    _expect(_samples_in(runs, len(chunks)) == samples)
    _expect(max(chunks, default=0) < size)
    for name, width in _OPTIONAL.items():
        for box in table.get(name, ()):
            _expect(len(box) == _TWO.size + 4 * width * _TWO.unpack_from(box)[1])


def _samples_in(runs: array[int], chunks: int) -> int:
    """How many samples all chunks hold; ``runs`` has (first chunk, samples in each, format)."""
    if len(runs) == 0:
        _expect(chunks == 0)
        return 0
    firsts, samples = runs[::3], runs[1::3]
    _expect(firsts[0] == 1)
    firsts.append(chunks + 1)
    lengths = [after - first for first, after in pairwise(firsts)]
    _expect(min(lengths) > 0)
    return sum(map(mul, lengths, samples))


def _offsets(table: _Boxes) -> array[int]:
    """Where the chunks begin."""
    if b"co64" in table:
        box = _one(table, b"co64")
        (_flags, count) = _TWO.unpack_from(box)
        return _numbers(box[8:], count, "Q")
    return _entries(_one(table, b"stco"), 1)


def _entries(box: memoryview, width: int) -> array[int]:
    """The numbers of a table of ``width`` columns that begins with the count of its rows."""
    _flags, count = _TWO.unpack_from(box)
    return _numbers(box[8:], count * width)


def _numbers(content: memoryview, count: int, kind: str = "I") -> array[int]:
    """So many big-endian numbers, which fill ``content``: of four bytes (I), or of eight (Q)."""
    numbers = array(kind)
    _expect(len(content) == count * numbers.itemsize)
    numbers.frombytes(content)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _by_name(content: memoryview) -> _Boxes:
    """The boxes that fill ``content`` to its last byte."""
    boxes: dict[bytes, list[memoryview]] = {}
    position, end, count = 0, len(content), 0
    while position < end:
        count += 1
        length, name = _HEADER.unpack_from(content, position)
        following = position + length
        if length < _HEADER.size or following > end or count > _MOST_BOXES:
            raise _DoubtError
        boxes.setdefault(name, []).append(content[position + _HEADER.size : following])
        position = following
    return boxes


def _one(boxes: _Boxes, name: bytes) -> memoryview:
    found = boxes.get(name, ())
    _expect(len(found) == 1)
    return found[0]


def _expect(holds: bool) -> None:
    if not holds:
        raise _DoubtError
