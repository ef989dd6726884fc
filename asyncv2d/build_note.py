"""The note by which decoders know what made an H.264 video, and so how to read it.

x264 before its build 151 coded 4:4:4 in a way of its own. FFmpeg's decoder reads that right where
it knows the build, which is said in the file's first packet alone: without it, all that is copied
from further on decodes as noise.
"""

from __future__ import annotations

from typing import Any

from av.packet import Packet

from asyncv2d.nal_units import SEI, kind, size_length, units
from asyncv2d.probe import Media, from_start, packets

_MARK = b"x264 - core"


def build_note(media: Media) -> bytes:
    """The note of a 4:4:4 video, as it stands in a packet; nothing where none is needed."""
    if media.video is None or media.probe.video is None or media.probe.video.codec != "h264":
        return b""
    context = media.video.codec_context
    length = size_length(context.extradata)
    if "444" not in (context.pix_fmt or "") or not length:
        return b""
    with from_start(media, media.video) as source:
        first = next(packets(media, source, source.streams[media.video.index]), None)
    return b"" if first is None else _note_in(bytes(first), length)


def _note_in(packet: bytes, length: int) -> bytes:
    """The unit that holds the note, with its size in ``length`` bytes before it."""
    for unit in units(packet, length):
        if kind(unit) == SEI and _MARK in unit:
            return len(unit).to_bytes(length, "big") + unit
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
