"""What packets of H.264 and HEVC are made of: units, each with its kind in its first byte."""

from __future__ import annotations

from collections.abc import Iterator

SEI = 6
_IDR_SLICE = 5  # of a picture that no later one looks back beyond
_SLICES = range(1, _IDR_SLICE + 1)
_KIND = 0x1F
_START = b"\0\0\1"
_RECOVERY_POINT = 6
_SLICE_HEADERS = (1, 2, _IDR_SLICE)  # slices that begin with what they are
_B_SLICE, _SLICE_TYPES = 1, 5
_HEVC_SLICES = 32  # all kinds below it
_HEVC_KEYFRAMES = range(16, 24)  # BLA, IDR and CRA pictures


def kind(unit: bytes) -> int:
    """What a unit is; 0 for an empty one."""
    return unit[0] & _KIND if unit else 0


def size_length(setup: bytes | None) -> int:
    """In how many bytes a unit's size stands before it, by its stream's ``setup``.

    0: units come after start codes, and their size is not said.
    """
    return (setup[4] & 3) + 1 if setup and len(setup) > 4 and setup[0] == 1 else 0


def hevc_size_length(setup: bytes | None) -> int:
    """The same for HEVC."""
    return (setup[21] & 3) + 1 if setup and len(setup) > 21 and setup[0] == 1 else 0


def has_unit(packet: bytes) -> bool:
    """Whether a packet of units after start codes holds one; else it is padding."""
    return 0 <= packet.find(_START) < len(packet) - len(_START)


def units(packet: bytes, length: int) -> Iterator[bytes]:
    """The units of a packet, their sizes in ``length`` bytes before each; 0: after start codes."""
    return _sized(packet, length) if length else _started(packet)


def _sized(packet: bytes, length: int) -> Iterator[bytes]:
    end = 0
    while end + length < len(packet):
        begin = end + length
        end = begin + int.from_bytes(packet[end:begin], "big")
        yield packet[begin:end]


def _started(packet: bytes) -> Iterator[bytes]:
    begin = packet.find(_START)
    while begin >= 0:
        end = packet.find(_START, begin + len(_START))
        yield packet[begin + len(_START) : end if end >= 0 else None]
        begin = end


def can_begin_with(packet: bytes, length: int) -> bool:
    """Whether what is decoded from this packet on looks right at once, as far as it says.

    ``length`` is the number of bytes that its units' sizes take.
    """
    is_late = False
    for unit in units(packet, length):
        if kind(unit) in _SLICES:
            return not is_late or kind(unit) == _IDR_SLICE
        is_late = is_late or (kind(unit) == SEI and _recovers_late(unit))
    return True


def begins_with_hevc_keyframe(packet: bytes, length: int) -> bool:
    """The same for HEVC. Pictures that are shown before a CRA picture may refer to others."""
    kinds = (unit[0] >> 1 & 0x3F for unit in units(packet, length) if unit)
    slices = (kind for kind in kinds if kind < _HEVC_SLICES)
    return next(slices, _HEVC_KEYFRAMES[0]) in _HEVC_KEYFRAMES


def has_b_slice(packet: bytes, length: int) -> bool:
    """Whether a part of the picture in a packet of H.264 may refer to two others."""
    return any(
        kind(unit) in _SLICE_HEADERS and _slice_type(unit) == _B_SLICE
        for unit in units(packet, length)
    )


def _slice_type(unit: bytes) -> int:
    """The second number of a slice; the first one is its place."""
    header = unit[1:16].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in header)
    _, position = _exp_golomb(bits, 0)
    return _exp_golomb(bits, position)[0] % _SLICE_TYPES


def _exp_golomb(bits: str, position: int) -> tuple[int, int]:
    """A number in as many bits as there are zeros before it, and one, and where it ends."""
    first = bits.find("1", position)
    end = 2 * first - position + 1
    return (int(bits[first:end], 2) - 1, end) if 0 <= first < end <= len(bits) else (0, len(bits))


def _recovers_late(unit: bytes) -> bool:
    """Whether the unit says that pictures are right only some after this one."""
    unit = unit.replace(b"\0\0\3", b"\0\0")  # the 3 keeps what follows from being a start code
    position = 1
    while position + 2 < len(unit):
        message, position = _number(unit, position)
        size, position = _number(unit, position)
        if message == _RECOVERY_POINT:
            return b"" < unit[position : position + 1] < b"\x80"  # a count of 0 is a 1 bit
        position += size
    return False


def _number(unit: bytes, position: int) -> tuple[int, int]:
    """A number that stands at ``position`` in bytes of 255 and a last one, and where it ends."""
    end = position
    while unit[end : end + 1] == b"\xff":
        end += 1
    last = unit[end] if end < len(unit) else 0
    return 255 * (end - position) + last, end + 1
