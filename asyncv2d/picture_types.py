"""What packets say of the pictures in them: whether one stands alone, whether one is a B-frame.

Files say it too, of each packet or with a table of keyframes, but not all of them say it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from av.packet import Packet
from av.stream import Stream

from asyncv2d.nal_units import (
    begins_with_hevc_keyframe,
    can_begin_with,
    has_b_slice,
    has_unit,
    hevc_size_length,
    size_length,
)

_MPEG_1_2 = ("mpeg1video", "mpeg2video")
_PICTURE = b"\0\0\1\0"  # of MPEG-1 and 2; then a number of 10 bits, and the type of picture in 3
_I_PICTURE, _B_PICTURE = 1, 3
_VOP = b"\0\0\1\xb6"  # a picture of MPEG-4 part 2; then its type in 2 bits
_I_VOP, _B_VOP = 0, 2
_HEAD = 4096  # bytes: where the first slice of a packet of H.264 begins; its end may be far


def keyframe_test(stream: Stream) -> Callable[[Packet[Any]], bool]:
    """Tells the packets of ``stream`` that decoding can begin with.

    Those that are marked as such and stand alone. MP4 files without a table of keyframes, or whose
    fragments leave the marks as they are by default, mark all. FFmpeg puts that right for H.264,
    VP9 and AV1, but of H.264 it marks recovery points with intra refresh too: from there on
    pictures become right bit by bit only.
    """
    stands_alone = _begins(stream)
    if stands_alone is None:
        return lambda packet: packet.is_keyframe
    return lambda packet: packet.is_keyframe and stands_alone(bytes(packet))


def trusts_marks(stream: Stream) -> bool:
    """Whether packets of ``stream`` may all be keyframes, if that is what ``keyframe_test`` says.

    Not those of codecs with B-frames that are not looked into.
    """
    return _begins(stream) is not None or not stream.codec_context.codec.reorder


def _begins(stream: Stream) -> Callable[[bytes], bool] | None:
    """Tells whether the first picture in a packet stands alone; None for codecs not looked into."""
    codec, setup = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    if codec == "h264":
        length = size_length(setup)
        return lambda packet: can_begin_with(packet, length)
    if codec == "hevc":
        length = hevc_size_length(setup)
        return lambda packet: begins_with_hevc_keyframe(packet, length)
    if codec == "mpeg4":
        return refers_to_nothing
    return is_intra_picture if codec in _MPEG_1_2 else None


def b_frame_test(stream: Stream) -> Callable[[Packet[Any]], bool]:
    """Tells the packets of ``stream`` that hold a B-frame, or may hold one.

    Those come at another time than that of their turn.
    """
    codec = stream.codec_context.codec
    if codec.canonical_name == "h264":
        length = size_length(stream.codec_context.extradata)
        return lambda packet: has_b_slice(bytes(memoryview(packet)[:_HEAD]), length)
    if codec.canonical_name == "mpeg4":
        return lambda packet: _B_VOP in _vop_types(bytes(packet))
    if codec.canonical_name in _MPEG_1_2:
        return lambda packet: _B_PICTURE in _picture_types(bytes(packet))
    return lambda _: codec.reorder


def padding_test(stream: Stream) -> Callable[[Packet[Any]], bool]:
    """Tells the packets of ``stream`` that hold nothing, as far as they are looked into."""
    length = _unit_length(stream)
    if length != 0:
        return lambda _: False
    return lambda packet: not has_unit(bytes(packet))


def _unit_length(stream: Stream) -> int | None:
    """In how many bytes the sizes of units stand; 0: after start codes; None: there are none."""
    codec, setup = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    if codec == "h264":
        return size_length(setup)
    return hevc_size_length(setup) if codec == "hevc" else None


def refers_to_nothing(packet: bytes) -> bool:
    """Whether the first picture in a packet of MPEG-4 part 2 stands alone, as far as it says."""
    return next(_vop_types(packet), _I_VOP) == _I_VOP


def is_intra_picture(packet: bytes) -> bool:
    """Whether the first picture in a packet of MPEG-1 or 2 stands alone, as far as it says."""
    return next(_picture_types(packet), _I_PICTURE) == _I_PICTURE


def _vop_types(packet: bytes) -> Iterator[int]:
    return (header[0] >> 6 for header in _after(packet, _VOP, 1))


def _picture_types(packet: bytes) -> Iterator[int]:
    return (header[1] >> 3 & 7 for header in _after(packet, _PICTURE, 2))


def _after(packet: bytes, start: bytes, size: int) -> Iterator[bytes]:
    """The ``size`` bytes after each start code, as far as they are there."""
    position = packet.find(start)
    while position >= 0:
        position += len(start)
        if position + size <= len(packet):
            yield packet[position : position + size]
        position = packet.find(start, position)
