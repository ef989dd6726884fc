"""Encodes one clip: pictures and sound in, an MP4 file in memory out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asyncv2d.media import Precision, Span

# FFmpeg's own defaults for libx264, spelt out, and one thread: parallelism is across videos.
# cpu-independent: the same frames give the same bytes on every run and machine. (x264's AVX-512
# code for macroblock trees reads memory it never wrote, so without this two runs differ.)
_X264 = {"preset": "medium", "crf": "23", "threads": "1", "x264-params": "cpu-independent=1"}
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
    audio: Literal["copied", "encoded"] | None


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


class ClipEncoder:
    """One MP4 file in the making: first its picture, then its sound.

    The sound is known only after the whole video was decoded. Until then a finished picture waits
    as a silent file, so a video with hundreds of clips does not keep hundreds of encoders open.
    """

    def __init__(self, first: VideoFrame, timing: Timing) -> None:
        self._buffer = io.BytesIO()
        self._file = av.open(self._buffer, "w", format="mp4")
        self._clock = timing.clock
        self._encoder = _open_encoder(self._file, first, timing)
        self._silent: InputContainer | None = None
        self._sound: list[Packet[Any]] = []

    def encode(self, frame: VideoFrame, tick: int) -> None:
        """Add a picture to be shown from ``tick`` (units of the clip's clock) on."""
        frame.pts, frame.time_base = tick, self._clock
        frame.pict_type = 0  # the encoder's choice, not what the source had
        self._file.mux(self._encoder.encode(frame))

    def end_picture(self) -> None:
        """No more frames will come; frees the encoder."""
        self._file.mux(self._encoder.encode(None))
        self._file.close()
        del self._encoder, self._file

    def copy_audio(self, template: AudioStream, packets: Iterable[Packet[Any]]) -> None:
        """Add sound as it is; the packets' times count from the start of the clip."""
        stream = self._file_with_sound().add_stream_from_template(template)
        for packet in packets:
            packet.stream = stream
            self._sound.append(packet)

    def audio_encoder(self, sample_rate: int, layout: str) -> AudioStream:
        """Open an AAC track; encode into it and hand the packets to ``add_packets``."""
        return self._file_with_sound().add_stream("aac", rate=sample_rate, layout=layout)

    def add_packets(self, packets: Iterable[Packet[Any]]) -> None:
        """Take packets that the audio encoder gave."""
        self._sound.extend(packets)

    def finish(self) -> bytes:
        """The whole file."""
        if self._silent is None:
            return self._buffer.getvalue()
        picture = [packet for packet in self._silent.demux() if packet.size]
        for packet in picture:
            packet.stream = self._file.streams.video[0]
        for packet in sorted([*picture, *self._sound], key=_decode_time):
            self._file.mux(packet)
        self._file.close()
        self._silent.close()
        return self._buffer.getvalue()

    def _file_with_sound(self) -> OutputContainer:
        """Begin a second file, to which the picture is copied and the sound added."""
        if self._silent is None:
            self._silent = av.open(io.BytesIO(self._buffer.getvalue()), "r")
            self._buffer = io.BytesIO()
            self._file = av.open(self._buffer, "w", format="mp4")
            self._file.add_stream_from_template(self._silent.streams.video[0])
        return self._file


def _open_encoder(file: OutputContainer, first: VideoFrame, timing: Timing) -> VideoStream:
    stream = file.add_stream("libx264", rate=timing.nominal_rate, options=dict(_X264))
    stream.width, stream.height = first.width, first.height
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = timing.clock
    _copy_colours(first, stream.codec_context)
    return stream


def _copy_colours(frame: VideoFrame, context: VideoCodecContext) -> None:
    """Say how the pixels are to be read as colours; without it players guess, often wrongly."""
    if frame.colorspace != _RGB:
        context.colorspace = frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.color_range = _LIMITED_RANGE


def _decode_time(packet: Packet[Any]) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base
