"""Encodes the picture of one clip: frames in, a silent MP4 file in memory out."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asyncv2d.codecs import Encoder
from asyncv2d.media import Precision, Span

_RGB = 0  # AVCOL_SPC_RGB
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_VARIABLE_RATE_CLOCK = Fraction(1, 90000)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished clip really is, for the sample's JSON."""

    asked: Span
    real: Span
    frames: int
    duration: float
    precision: Precision
    audio: Literal["copied", "encoded"] | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """When frames are shown: at a constant ``rate``, or (None) at their own times."""

    rate: Fraction | None
    source_rate: Fraction

    @property
    def clock(self) -> Fraction:
        """The unit of timestamps in the encoded stream, in seconds."""
        return _VARIABLE_RATE_CLOCK if self.rate is None else 1 / self.rate

    @property
    def nominal_rate(self) -> Fraction:
        """Frames a second to tell the encoder."""
        return self.rate or self.source_rate


class PictureEncoder:
    """The picture of one clip in the making.

    The sound is known only after the whole video was decoded. Until then a finished picture waits
    as a silent file, so a video with hundreds of clips does not keep hundreds of encoders open.
    """

    def __init__(self, first: VideoFrame, timing: Timing, settings: Encoder) -> None:
        self._buffer = io.BytesIO()
        self._has_constant_rate = timing.rate is not None
        self._packets: list[Packet[Any]] = []
        self._file = av.open(self._buffer, "w", format="mp4")
        self._clock = timing.clock
        self._encoder = _open_encoder(self._file, first, timing, settings)

    def encode(self, frame: VideoFrame, tick: int) -> None:
        """Add a picture to be shown from ``tick`` (units of the clip's clock) on."""
        frame.pts, frame.time_base = tick, self._clock
        frame.pict_type = 0  # the encoder's choice, not what the source had
        self._packets += self._encoder.encode(frame)

    def finish(self, end: int) -> bytes:
        """The silent file, whose last picture is shown until tick ``end``; frees the encoder."""
        self._packets += self._encoder.encode(None)
        if not self._has_constant_rate:
            _restamp(self._packets, end)
        for packet in self._packets:
            self._file.mux(packet)
        self._file.close()
        del self._encoder, self._file, self._packets
        return self._buffer.getvalue()


def _restamp(packets: Sequence[Packet[Any]], end: int) -> None:
    """Decoding times and lengths that follow from when pictures are shown.

    Encoders take the first gap between pictures for the delay of decoding, which may be seconds,
    and give the last picture the length of one at the nominal rate. Here decoding lasts just as
    long as showing does, so all durations in the file agree.
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


def _open_encoder(
    file: OutputContainer, first: VideoFrame, timing: Timing, settings: Encoder
) -> VideoStream:
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells all to stderr, past FFmpeg's log
    stream = file.add_stream(settings.name, rate=timing.nominal_rate, options=settings.options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = first.width, first.height
    stream.pix_fmt = settings.pixel_format
    stream.codec_context.time_base = timing.clock
    if settings.tag is not None:
        stream.codec_context.codec_tag = settings.tag
    _copy_colours(first, stream.codec_context)
    return stream


def _copy_colours(frame: VideoFrame, context: VideoCodecContext) -> None:
    """Say how the pixels are to be read as colours; without it players guess, often wrongly."""
    if frame.colorspace != _RGB:
        context.colorspace = frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.color_range = _LIMITED_RANGE
