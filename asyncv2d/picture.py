"""The finished picture of a clip, on its way into a file with sound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from msgspec import Struct

_WELL_DESCRIBED = ("h264", "hevc", "libx264", "libx265")


class _Stamp(NamedTuple):
    """When a packet is shown and decoded, and for how long it is shown."""

    pts: int | None
    dts: int | None
    duration: int


class Picture(Struct, frozen=True):
    """A silent MP4 file, whose times count from the start of the clip.

    MP4 does not tell how long each frame is shown, so ``stamps`` are the times of its packets, in
    units of ``clock`` (seconds).
    """

    file: bytes
    codec: str
    stamps: Sequence[_Stamp]
    clock: Fraction

    def add_to(self, file: OutputContainer) -> list[Packet[Any]]:
        """Add a stream to ``file``, and give the packets to write into it."""
        with self.opened({"ignore_editlist": "1"}) as container:
            silent = container.streams.video[0]
            stream = add_copied(file, silent)
            stream.codec_tag = silent.codec_tag
            packets = [packet for packet in container.demux(silent) if packet.size]
        for packet, stamp in zip(packets, self.stamps, strict=True):
            packet.pts, packet.dts, packet.duration = stamp
            packet.time_base, packet.stream = self.clock, stream
        return packets

    def opened(self, options: Mapping[str, str] = MappingProxyType({})) -> InputContainer:
        """The file, opened to read its packets.

        FFmpeg would decode some frames first, to tell what MP4 says of the best-known codecs.
        """
        file, words = io.BytesIO(self.file), dict(options)
        if self.codec not in _WELL_DESCRIBED:
            return av.open(file, "r", options=words)
        words |= {"probesize": "32", "analyzeduration": "0"}
        skipping: Any = [{"skip_frame": "all"}]  # PyAV's stub says that these are strings
        return av.open(file, "r", options=words, stream_options=skipping)

    def plays(self) -> bool:
        """Whether the file can be opened, and its first frame decoded."""
        return self._begins_well() or plays(io.BytesIO(self.file))

    def _begins_well(self) -> bool:
        """Whether its first packet alone gives a frame: no more has to be decoded then."""
        try:
            with self.opened() as container:
                stream = container.streams.video[0]
                first = next(container.demux(stream))
                decoder = av.CodecContext.create(stream.codec_context.name, "r")
                assert isinstance(decoder, VideoCodecContext)
                decoder.thread_type, decoder.thread_count = "NONE", 1
                decoder.extradata = stream.codec_context.extradata
                return first.size > 0 and bool(decoder.decode(first) or decoder.decode(None))
        except av.FFmpegError:
            return False


def plays(file: BinaryIO) -> bool:
    """Whether a file can be opened and a first frame of it decoded."""
    try:
        with av.open(file, "r") as container:
            return next(container.decode(container.streams.video[0]), None) is not None
    except av.FFmpegError:
        return False


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
        return Picture(self._buffer.getvalue(), stream.codec_context.name, stamps, clock)


def restamp(packets: Sequence[Packet[Any]], end: int) -> None:
    """Set decoding times and lengths that follow from when pictures are shown.

    ``packets`` come in the order of decoding; the last picture is shown until ``end``, in the unit
    of their times. Encoders take the first gap between pictures for the delay of decoding, which
    may be seconds, and give the last one the length of one at the nominal rate, or none; what x265
    says of a single one comes from memory it never wrote. Files have lengths of a millisecond, or
    none. Here decoding lasts just as long as showing does, so all durations in the file agree.
    Pictures may be shown at the same time, but MP4 takes no two to be decoded then.
    """
    ranked = sorted(range(len(packets)), key=lambda number: packets[number].pts or 0)
    shown = [packets[number].pts or 0 for number in ranked]
    lengths = [after - time for time, after in zip(shown, [*shown[1:], end], strict=True)]
    order = sorted(range(len(ranked)), key=ranked.__getitem__)  # the place of each packet
    held = max(number - place for number, place in enumerate(order))
    last = len(shown) - 1 - held
    delay = max(held, end - shown[last] - lengths[order[-1]])
    early = [shown[0] - delay + number * (delay // max(1, held)) for number in range(held)]
    decoded = [*early, *shown][: len(packets)]
    for number in reversed(range(len(packets) - 1)):
        decoded[number] = min(decoded[number], decoded[number + 1] - 1)
    for packet, place, time in zip(packets, order, decoded, strict=True):
        packet.dts, packet.duration = time, lengths[place]
