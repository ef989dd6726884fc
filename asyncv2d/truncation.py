"""Whether a file ends before its own structure says it does.

Demuxers often read a cut-off file to its end without a word, so the sizes that a container gives
its outermost parts are compared with the size of the file.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from asyncv2d import gif, mp4_end

_TS_PACKET = 188
_TS_SYNC = b"\x47"
_TS_TAIL = 8 * _TS_PACKET
_PS_PACK = b"\x00\x00\x01\xba"
_PS_TAIL = 1 << 18  # bytes: packs are smaller, usually 2 KiB
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067
_MEDIA_MAGIC = {
    0: (
        _EBML,
        b"FLV\x01",
        b"OggS",
        b"ID3",
        b"fLaC",
        _ASF[:4],
        gif.MAGIC,
        _PS_PACK,
    ),
    4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp"),
}

_RIFF_MEDIA = (b"AVI ", b"WAVE")  # not WEBP, a picture
_UNKNOWN_RIFF = (0, 0xFFFFFFFF)  # written where the length was not known, as into a pipe


def looks_like_media(head: bytes) -> bool:
    """Whether the first bytes are those of a known audio or video container."""
    if head.startswith(b"RIFF"):
        return head[8:12] in _RIFF_MEDIA
    if any(head[at:].startswith(magic) for at, magics in _MEDIA_MAGIC.items() for magic in magics):
        return True
    mpeg_ts = len(head) > 188 and head[0] == head[188] == 0x47
    return mpeg_ts or _is_mpeg_audio(head)


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether it begins with a frame of MP3 or AAC: a sync word, and no reserved rates.

    The mark of UTF-16 text looks like a sync word, too.
    """
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    is_aac = head[1] & 0xF6 == 0xF0
    return is_aac or (head[2] >> 4 != 15 and head[2] & 0x0C != 0x0C)


def is_truncated(file: BinaryIO) -> bool:
    """Whether parts of the file are missing, by its own sizes; False for formats without any."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_TS_PACKET + 1)
    if head[:1] == head[_TS_PACKET:] == _TS_SYNC:
        return _ts_is_cut(file, size)
    if head.startswith(_PS_PACK):
        return _ps_is_cut(file, size)
    if head.startswith(gif.MAGIC):
        return gif.read_blocks(file, size).is_cut
    if head[4:8] in _MEDIA_MAGIC[4]:
        return mp4_end.is_cut(file, size)
    return _end(file, head, size) > size


def _end(file: BinaryIO, head: bytes, size: int) -> int:
    """Where the file says it ends; its real ``size`` where it does not say."""
    if head.startswith(b"FLV\x01"):
        return _flv_end(file, size)
    if head.startswith(_EBML):
        return _matroska_end(file, size)
    if head.startswith(_ASF):
        return _asf_end(file, size)
    if head.startswith(b"RIFF") and len(head) >= 12:
        length = int.from_bytes(head[4:8], "little")
        return size if length in _UNKNOWN_RIFF else 8 + length
    return size


def _ts_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether a transport stream ends within a packet, wherever the last ones begin.

    Segments that were put together may have a few bytes of something else behind each of them.
    """
    file.seek(max(0, size - _TS_TAIL))
    tail = file.read()
    rests = [  # of the packets, wherever all but the last seem to be some
        tail[first + (len(starts) - 1) * _TS_PACKET :]
        for first in range(_TS_PACKET)
        if not (starts := tail[first::_TS_PACKET])[:-1].strip(_TS_SYNC)
    ]
    if not rests:  # something longer follows
        return size % _TS_PACKET != 0
    return all(rest[:1] == _TS_SYNC and len(rest) < _TS_PACKET for rest in rests)


def _flv_end(file: BinaryIO, size: int) -> int:
    """Where the last tag says it ends; tags of 11 bytes and their data, each with 4 bytes after."""
    file.seek(5)
    position = int.from_bytes(file.read(4), "big") + 4
    while position < size:
        file.seek(position + 1)
        length = file.read(3)
        position += 11 + int.from_bytes(length, "big")
        if position >= size:  # some writers leave the last 4 bytes out
            return position
        position += 4
    return size


def _asf_end(file: BinaryIO, size: int) -> int:
    """What the object with the file's properties says, if it is no broadcast's."""
    file.seek(30)
    position = 30
    while len(head := file.read(92)) == 92:
        if head.startswith(_ASF_FILE):
            is_broadcast = head[88] & 1
            return size if is_broadcast else int.from_bytes(head[40:48], "little")
        length = int.from_bytes(head[16:24], "little")
        if length < 24:
            return size
        position += length
        file.seek(position)
    return size


def _ps_is_cut(file: BinaryIO, size: int) -> bool:
    """Whether a program stream ends within a pack header or a packet.

    What begins with 00 00 01 and a byte from 0xBB on has its length in the two bytes that follow.
    A stream that is cut between packets cannot be told from a whole one.
    """
    file.seek(max(0, size - _PS_TAIL))
    tail = file.read()
    position = max(0, tail.rfind(_PS_PACK))
    while position + 4 < len(tail):
        start, kind = tail[position : position + 3], tail[position + 3]
        if start != _PS_PACK[:3] or kind < 0xB9:
            return False  # padding, or damage
        if kind == _PS_PACK[3]:
            position += _pack_header_length(tail[position : position + 14])
        elif kind > _PS_PACK[3]:
            position += 6 + int.from_bytes(tail[position + 4 : position + 6], "big")
        else:  # the end code
            position += 4
    return position > len(tail)


def _pack_header_length(header: bytes) -> int:
    """12 bytes in MPEG-1; in MPEG-2 14 and as much stuffing as the last of them says."""
    is_mpeg_2 = header[4] >> 6 == 0b01
    return 14 + (header[13] & 7 if len(header) == 14 else 0) if is_mpeg_2 else 12


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Where the Segment says it ends; the file's size where it does not say (live streams)."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(12)
        id_length = _vint_length(header[:1])
        size_length = _vint_length(header[id_length : id_length + 1])
        if not id_length or not size_length or len(header) < id_length + size_length:
            return size
        element = int.from_bytes(header[:id_length], "big")
        raw = header[id_length : id_length + size_length]
        mask = (1 << (7 * size_length)) - 1
        length = int.from_bytes(raw, "big") & mask
        if length == mask:  # all ones: unknown
            return size
        position += id_length + size_length + length
        if element == _SEGMENT:
            return position
    return size


def _vint_length(first: bytes) -> int:
    """Bytes in an EBML number, from its first byte; 0 if that is none."""
    if not first or not first[0]:
        return 0
    return 9 - first[0].bit_length()
