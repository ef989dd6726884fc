"""Encodes the picture of one clip: frames in, coded frames out."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any, Literal

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from msgspec import Struct

from asyncv2d.codecs import Encoder
from asyncv2d.media import Precision, Span
from asyncv2d.picture import Picture, PictureFile, restamp
from asyncv2d.types import Cause, ItemError

_RGB = 0  # AVCOL_SPC_RGB
# What encoders raise where they take no such picture; anything else is a bug, or no memory.
_REFUSALS = (av.ArgumentError, av.ExternalError, av.InvalidDataError)
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_LONGEST_SIDE = (1 << 16) - 1  # pixels, as MP4 stores it
_VARIABLE_RATE_CLOCK = Fraction(1, 90000)


class Receipt(Struct, frozen=True):
    """What a finished clip really is, for the sample's JSON."""

    asked: Span
    real: Span
    frames: int
    duration: float
    precision: Precision
    audio: Literal["copied", "encoded"] | None = None


class Timing(Struct, frozen=True):
    """When frames are shown: at a constant ``rate``, or (None) at their own times."""

    rate: Fraction | None
    source_rate: Fraction

    @property
    def clock(self) -> Fraction:
        """The unit of timestamps in the encoded stream, in seconds."""
        return _VARIABLE_RATE_CLOCK if self.rate is None else 1 / self.rate

    @property
    def nominal_rate(self) -> Fraction:
        """Frames a second to tell the encoder, which goes by the timestamps all the same."""
        return self.rate or self.source_rate


class PictureEncoder:
    """The picture of one clip in the making.

    The sound is known only after the whole video was decoded. A finished picture waits for it
    without its encoder, so that a video with hundreds of clips does not keep hundreds of them open.
    Raises ItemError (cannot_encode) where the file cannot hold a picture of its size.
    """

    def __init__(self, first: VideoFrame, timing: Timing, settings: Encoder) -> None:
        self._packets: list[Packet[Any]] = []
        self._file = PictureFile()
        self._clock = timing.clock
        self._what = (
            f"{settings.name}: {first.width} × {first.height}, {float(timing.nominal_rate):.6g} fps"
        )
        if max(first.width, first.height) > _LONGEST_SIDE:
            raise ItemError(Cause.CANNOT_ENCODE, f"{self._what}: mp4 holds no such size")
        self._stream = _open_encoder(self._file.container, first, timing, settings)

    def encode(self, frame: VideoFrame, tick: int) -> None:
        """Add a picture to be shown from ``tick`` (units of the clip's clock) on.

        Raises ItemError (cannot_encode) where the encoder takes none of its size or rate.
        """
        frame.pts, frame.time_base = tick, self._clock
        frame.pict_type = 0  # the encoder's choice, not what the source had
        self._encode(frame)

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            self._packets += self._stream.encode(frame)
        except _REFUSALS as error:  # it is opened with the first frame
            detail = f"{self._what}: {error.strerror}"
            raise ItemError(Cause.CANNOT_ENCODE, detail) from error

    def finish(self, end: int) -> Picture:
        """The picture, whose last frame is shown until tick ``end``; frees the encoder."""
        self._encode(None)
        restamp(self._packets, end)
        picture = self._file.finish(self._stream, self._packets)
        del self._stream, self._file, self._packets
        return picture


def _open_encoder(
    file: OutputContainer, first: VideoFrame, timing: Timing, settings: Encoder
) -> VideoStream:
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells all to stderr, past FFmpeg's log
    rate = min(timing.nominal_rate, Fraction(settings.highest_rate))
    stream = file.add_stream(settings.name, rate=rate, options=settings.options)
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
