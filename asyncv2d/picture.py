"""The finished picture of a clip, on its way into a file with sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream


class _Stamp(NamedTuple):
    """When a packet is shown and decoded, and for how long it is shown."""

    pts: int | None
    dts: int | None
    duration: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A silent MP4 file, whose times count from the start of the clip.

    MP4 does not tell how long each frame is shown, so ``stamps`` are the times of its packets, in
    units of ``clock`` (seconds).
    """

    file: bytes
    stamps: Sequence[_Stamp]
    clock: Fraction

    def add_to(self, file: OutputContainer) -> list[Packet[Any]]:
        """Add a stream to ``file``, and give the packets to write into it."""
        options = {"ignore_editlist": "1"}
        with av.open(io.BytesIO(self.file), "r", options=options) as container:
            silent = container.streams.video[0]
            stream = add_copied(file, silent)
            stream.codec_tag = silent.codec_tag
            packets = [packet for packet in container.demux(silent) if packet.size]
        for packet, stamp in zip(packets, self.stamps, strict=True):
            packet.pts, packet.dts, packet.duration = stamp
            packet.time_base, packet.stream = self.clock, stream
        return packets


def add_copied(file: OutputContainer, template: VideoStream) -> VideoStream:
    """A stream in ``file`` for the packets of ``template`` as they are."""
    # Opaque: nothing is encoded, so no encoder for its codec is needed.
    stream = file.add_stream_from_template(template, opaque=True)
    if template.sample_aspect_ratio is not None:
        # The container may say it otherwise than the picture's coding, and counts.
        stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio
    return stream


class PictureFile:
    """The file of a picture in the making, to which the one stream is added from outside."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self.container = av.open(self._buffer, "w", format="mp4")

    def finish(self, stream: VideoStream, packets: Sequence[Packet[Any]]) -> Picture:
        """The picture that these packets of ``stream`` are, in the order of decoding."""
        clock = packets[0].time_base
        stamps = [_Stamp(packet.pts, packet.dts, packet.duration or 0) for packet in packets]
        for packet in packets:
            packet.stream = stream
            self.container.mux(packet)
        self.container.close()
        return Picture(self._buffer.getvalue(), stamps, clock)


def restamp(packets: Sequence[Packet[Any]], end: int) -> None:
    """Set decoding times and lengths that follow from when pictures are shown.

    ``packets`` come in the order of decoding; the last picture is shown until ``end``, in the unit
    of their times. Encoders take the first gap between pictures for the delay of decoding, which
    may be seconds, and give the last one the length of one at the nominal rate, or none; what x265
    says of a single one comes from memory it never wrote. Files have lengths of a millisecond, or
    none. Here decoding lasts just as long as showing does, so all durations in the file agree.
    """
    shown = sorted(packet.pts or 0 for packet in packets)
    places = {time: place for place, time in enumerate(shown)}
    lengths = [after - time for time, after in zip(shown, [*shown[1:], end], strict=True)]
    order = [places[packet.pts or 0] for packet in packets]
    held = max(number - place for number, place in enumerate(order))
    last = len(shown) - 1 - held
    delay = max(held, end - shown[last] - lengths[order[-1]])
    early = [shown[0] - delay + number * (delay // max(1, held)) for number in range(held)]
    for packet, place, time in zip(packets, order, [*early, *shown], strict=False):
        packet.dts, packet.duration = time, lengths[place]
