"""Encodes one clip: frames in, an MP4 file in memory out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

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
    """One MP4 file in the making. Packets wait for ``finish``, when the sound is known."""

    def __init__(self, first: VideoFrame, timing: Timing) -> None:
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4")
        self._stream = self._container.add_stream(
            "libx264", rate=timing.nominal_rate, options=dict(_X264)
        )
        self._stream.width, self._stream.height = first.width, first.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = timing.clock
        _copy_colours(first, self._stream.codec_context)
        self._clock = timing.clock
        self._packets: list[Packet[Any]] = []

    def encode(self, frame: VideoFrame, tick: int) -> None:
        """Add a picture to be shown from ``tick`` (units of the clip's clock) on."""
        frame.pts, frame.time_base = tick, self._clock
        frame.pict_type = 0  # the encoder's choice, not what the source had
        self._packets += self._stream.encode(frame)

    def copy_audio(self, template: AudioStream, packets: Iterable[Packet[Any]]) -> None:
        """Add sound as it is; the packets' times count from the start of the clip."""
        stream = self._container.add_stream_from_template(template)
        for packet in packets:
            packet.stream = stream
            self._packets.append(packet)

    def audio_encoder(self, sample_rate: int, layout: str) -> AudioStream:
        """Open an AAC track; encode into it and hand the packets to ``add_packets``."""
        return self._container.add_stream("aac", rate=sample_rate, layout=layout)

    def add_packets(self, packets: Iterable[Packet[Any]]) -> None:
        """Take encoded packets of a track of this clip."""
        self._packets.extend(packets)

    def finish(self) -> bytes:
        """Write the file out."""
        self._packets += self._stream.encode(None)
        for packet in sorted(self._packets, key=_decode_time):
            self._container.mux(packet)
        self._container.close()
        return self._buffer.getvalue()


def _copy_colours(frame: VideoFrame, context: VideoCodecContext) -> None:
    """Say how the pixels are to be read as colours; without it players guess, often wrongly."""
    if frame.colorspace != _RGB:
        context.colorspace = frame.colorspace
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.color_range = _LIMITED_RANGE


def _decode_time(packet: Packet[Any]) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


class Take:
    """The frames of one clip, chosen and encoded as they are decoded.

    The first frame is shown from the start of the span on, so the sound, whose times count from
    there too, stays with the picture. At a constant rate, tick n shows the frame that is on the
    screen at start + n / rate, and the clip has round(length × rate) frames. The end of a scene is
    not known in advance, so a tick is encoded only once the clip is surely long enough to have it.
    """

    def __init__(
        self, span: Span, timing: Timing, view: Callable[[VideoFrame], VideoFrame]
    ) -> None:
        self.span = span
        self.frames = 0
        self.first_time: float | None = None
        self.encoder: ClipEncoder | None = None
        self._timing = timing
        self._view = view
        self._shown: tuple[VideoFrame, float] | None = None
        self._waiting: list[VideoFrame] = []
        self._last_tick = 0

    def show(self, frame: VideoFrame, time: float) -> None:
        """``frame`` comes onto the screen at ``time``, which lies inside the span."""
        if self._shown is None:
            self.first_time = time
        elif self._timing.rate is None:
            self._encode(self._view(self._shown[0]), self._tick(self._shown[1]))
        else:
            self._choose(self._ticks_before(time))
            self._encode_waiting(self._ticks_rounded(time))
        self._shown = frame, time

    def finish(self, end: float) -> bool:
        """The span really ends at ``end``; False if the clip got no frame."""
        self.span = Span(self.span.start, end)
        if self._shown is None:
            return False
        if self._timing.rate is None:
            self._encode(self._view(self._shown[0]), self._tick(self._shown[1]))
        else:
            total = max(1, self._ticks_rounded(end))
            self._choose(total)
            self._encode_waiting(total)
        self._shown = None
        self._waiting.clear()
        return True

    @property
    def duration(self) -> float:
        """Seconds the finished clip's picture lasts."""
        if self._timing.rate is not None:
            return float(self.frames / self._timing.rate)
        return self.span.length

    @property
    def real(self) -> Span:
        """Where in the source the finished clip's picture begins and ends."""
        assert self.first_time is not None
        return Span(max(self.span.start, self.first_time), self.span.start + self.duration)

    def _tick(self, time: float) -> int:
        """The tick at which a frame comes at variable rate; no two frames share one."""
        if self.frames == 0:
            return 0
        self._last_tick = max(self._last_tick + 1, self._ticks_after_start(time))
        return self._last_tick

    def _ticks_after_start(self, time: float) -> int:
        return round((time - self.span.start) / float(self._timing.clock))

    def _ticks_before(self, time: float) -> int:
        """How many ticks lie before ``time``; a hair's breadth before is at."""
        exact = (time - self.span.start) * float(self._timing.nominal_rate)
        return int(-(-(exact - 1e-4) // 1))

    def _ticks_rounded(self, time: float) -> int:
        return int((time - self.span.start) * float(self._timing.nominal_rate) + 0.5 + 1e-4)

    def _choose(self, ticks: int) -> None:
        """Ticks up to number ``ticks`` show the frame that is on the screen."""
        assert self._shown is not None
        missing = ticks - self.frames - len(self._waiting)
        if missing > 0:
            self._waiting += [self._view(self._shown[0])] * missing

    def _encode_waiting(self, ticks: int) -> None:
        ready = max(0, ticks - self.frames)
        for view in self._waiting[:ready]:
            self._encode(view, self.frames)
        del self._waiting[:ready]

    def _encode(self, view: VideoFrame, tick: int) -> None:
        if self.encoder is None:
            self.encoder = ClipEncoder(view, self._timing)
        self.encoder.encode(view, tick)
        self.frames += 1
