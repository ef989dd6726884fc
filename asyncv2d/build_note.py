"""The note by which decoders know what made an H.264 video, and so how to read it.

x264 before its build 151 coded 4:4:4 in a way of its own. FFmpeg's decoder reads that right where
it knows the build, which is said in the file's first packet alone: without it, all that is copied
or decoded from further on is noise.
"""

from __future__ import annotations

from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from asyncv2d.nal_units import SEI, kind, size_length, units
from asyncv2d.probe import Media, from_start, packets

_MARK = b"x264 - core"
_START = b"\0\0\1"


def may_need_note(stream: VideoStream) -> bool:
    """Whether it is H.264 with colours at full size, which RGB has too."""
    context = stream.codec_context
    has_all_colours = "444" in (pixels := context.pix_fmt or "") or pixels.startswith("gbr")
    return has_all_colours and context.codec.canonical_name == "h264"


def build_note(media: Media) -> bytes:
    """The note of a 4:4:4 video, as it stands in a packet; nothing where none is needed."""
    if media.video is None or not may_need_note(media.video):
        return b""
    length = size_length(media.video.codec_context.extradata)
    with from_start(media, media.video) as source:
        first = next(packets(media, source, source.streams[media.video.index]), None)
    return b"" if first is None else _note_in(bytes(first), length)


def _note_in(packet: bytes, length: int) -> bytes:
    """The unit that holds the note, with its size in ``length`` bytes or a start code before it."""
    for unit in units(packet, length):
        if kind(unit) == SEI and _MARK in unit:
            return (len(unit).to_bytes(length, "big") if length else _START) + unit
    return b""


def with_note(packet: Packet[Any], note: bytes) -> Packet[Any]:
    """The packet with the note before all else, unless it is there."""
    data = bytes(packet)
    if not note or note in data:
        return packet
    noted: Packet[Any] = Packet(note + data)
    noted.pts, noted.dts, noted.duration = packet.pts, packet.dts, packet.duration
    noted.time_base, noted.is_keyframe = packet.time_base, packet.is_keyframe
    return noted
