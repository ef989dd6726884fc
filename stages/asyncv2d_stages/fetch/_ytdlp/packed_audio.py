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
_AC3 = b"\x0b\x77"
_AC3_RATES = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160),
    *(192, 224, 256, 320, 384, 448, 512, 576, 640),
)
_AC3_VERSIONS, _EAC3_VERSIONS = range(11), range(11, 17)
_SAMPLE_RATES = (44100, 48000, 32000)
_DIVISORS = {3: 1, 2: 2, 0: 4}  # of sample rates, by version: MPEG 1, 2, 2.5


def length(header: bytes) -> int:
    """Of the frame of AAC (ADTS), MP3 or AC-3, or of the tag, that begins so; 0 if none does."""
    if len(header) < ENOUGH:
        return 0
    if header.startswith(TAG):
        size = 0
        for byte in header[6:ENOUGH]:
            size = size << 7 | byte & 0x7F
        return ENOUGH + size + (ENOUGH if header[5] & _TAG_FOOTER else 0)
    if header.startswith(_AC3):
        return _length_of_ac3(header)
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


def _length_of_ac3(header: bytes) -> int:
    """Of a frame of AC-3 or E-AC-3, whose header is another one."""
    version = header[5] >> 3
    if version in _EAC3_VERSIONS:
        return 2 * ((header[2] & 7) << 8 | header[3]) + 2
    sample_rate, rate = header[4] >> 6, header[4] & 0x3F
    if version not in _AC3_VERSIONS or sample_rate == 3 or rate >= 2 * len(_AC3_RATES):
        return 0
    kilobits = _AC3_RATES[rate // 2]
    if sample_rate == 1:  # 44,100 Hz, for which some frames are longer by a word
        return 2 * (320 * kilobits // 147 + rate % 2)
    return kilobits * (4 if sample_rate == 0 else 6)


def begins(start: bytes) -> bool:
    """Whether a frame is there; but for AAC, another has to follow, as far as can be seen."""
    size = length(start[:ENOUGH])
    behind = start[size : size + ENOUGH]
    return size > 0 and (_is_aac(start) or len(behind) < ENOUGH or length(behind) > 0)


def may_begin(part: bytes) -> bool:
    """Whether what is too short to tell is the beginning of a frame."""
    return part[:1] in (b"\xff", _AC3[:1])


def behind_tag(start: bytes) -> bytes:
    """What comes behind the tags of a start, if that can be seen."""
    while start.startswith(TAG):
        start = start[length(start) or len(start) :]
    return start
