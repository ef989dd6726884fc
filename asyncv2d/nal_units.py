"""What packets of H.264 are made of: units, each with its kind in its first byte.

And where decoding can begin, which files say wrongly of MPEG-4 part 2 too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from av.packet import Packet
from av.stream import Stream

SEI = 6
_IDR_SLICE = 5  # of a picture that no later one looks back beyond
_SLICES = range(1, _IDR_SLICE + 1)
_KIND = 0x1F
_START = b"\0\0\1"
_RECOVERY_POINT = 6
_PICTURE = b"\0\0\1\xb6"  # of MPEG-4 part 2; the first two bits after it are 0 if it refers to none


def kind(unit: bytes) -> int:
    """What a unit is; 0 for an empty one."""
    return unit[0] & _KIND if unit else 0


def size_length(setup: bytes | None) -> int:
    """In how many bytes a unit's size stands before it, by its stream's ``setup``.

    0: units come after start codes, and their size is not said.
    """
    return (setup[4] & 3) + 1 if setup and len(setup) > 4 and setup[0] == 1 else 0


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


def keyframe_test(stream: Stream) -> Callable[[Packet[Any]], bool]:
    """Tells the packets of ``stream`` that decoding can begin with.

    Those that are marked as such, but for the recovery points of H.264 with intra refresh: from
    there on pictures become right bit by bit only. Of MPEG-4 part 2 an MP4 file without a table
    marks all.
    """
    codec = stream.codec_context.codec.canonical_name
    if codec == "mpeg4":
        return lambda packet: packet.is_keyframe and refers_to_nothing(bytes(packet))
    if codec != "h264":
        return lambda packet: packet.is_keyframe
    length = size_length(stream.codec_context.extradata)
    return lambda packet: packet.is_keyframe and can_begin_with(bytes(packet), length)


def refers_to_nothing(packet: bytes) -> bool:
    """Whether the first picture in a packet of MPEG-4 part 2 stands alone, as far as it says."""
    return packet.partition(_PICTURE)[2][:1] < b"\x40"


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
