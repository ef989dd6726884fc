"""Segments of sound that are nothing but its frames, with tags before them."""

from __future__ import annotations

TAG = b"ID3"
ENOUGH = 10
"""Bytes that tell how long a frame or a tag is."""
_TAG_FOOTER = 0x10
_SHORTEST_AAC = 7
# Of MPEG 1, then of 2 and 2.5: kbit/s of layers I, II and III.
_RATES = (
    (
        (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
        (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    ),
    (
        (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
        (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
        (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    ),
)
_SAMPLE_RATES = (44100, 48000, 32000)
_DIVISORS = {3: 1, 2: 2, 0: 4}  # of sample rates, by version: MPEG 1, 2, 2.5


def length(header: bytes) -> int:
    """Of the frame of AAC (ADTS) or MP3, or of the tag, that begins so; 0 if none does."""
    if len(header) < ENOUGH:
        return 0
    if header.startswith(TAG):
        size = 0
        for byte in header[6:ENOUGH]:
            size = size << 7 | byte & 0x7F
        return ENOUGH + size + (ENOUGH if header[5] & _TAG_FOOTER else 0)
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    return _length_of_aac(header) if _is_aac(header) else _length_of_mpeg(header)


def _is_aac(header: bytes) -> bool:
    return header[0] == 0xFF and header[1] & 0xF6 == 0xF0


def _length_of_aac(header: bytes) -> int:
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    has_rate = header[2] >> 2 & 0xF < 13
    return size if has_rate and size >= _SHORTEST_AAC else 0


def _length_of_mpeg(header: bytes) -> int:
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, sample_rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or sample_rate == 3:
        return 0
    bits = 1000 * _RATES[version != 3][layer - 1][rate - 1]
    hertz = _SAMPLE_RATES[sample_rate] // _DIVISORS[version]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


def begins(start: bytes) -> bool:
    """Whether a frame is there; one of MP3 counts if another one follows, as far as can be seen."""
    size = length(start[:ENOUGH])
    behind = start[size : size + ENOUGH]
    return size > 0 and (_is_aac(start) or len(behind) < ENOUGH or length(behind) > 0)


def may_begin(part: bytes) -> bool:
    """Whether what is too short to tell is the beginning of a frame."""
    return part[:1] == b"\xff"


def behind_tag(start: bytes) -> bytes:
    """What comes behind the tags of a start, if that can be seen."""
    while start.startswith(TAG):
        start = start[length(start) or len(start) :]
    return start
