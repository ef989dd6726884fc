"""Makes small videos whose every cut, frame and tone is known, to try and test the program with.

Each frame carries its number as a square of black and white cells in Gray code, and each scene has
a colour and a tone of its own, so what comes out of a job can be compared with what went in.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from msgspec import Struct
from numpy.typing import NDArray

from asyncv2d.media import Picture

# Neighbours differ by far more than the usual cut threshold in hue, saturation and brightness.
_COLOURS = (205, 45, 40), (30, 60, 120), (240, 225, 90), (90, 25, 110), (120, 230, 120)
_TONES = 440, 880, 1320, 660, 1760
_CELLS = 4  # the number is a square of 4 × 4 cells: 16 bits
_GRAY = 127
_UNEVEN = 1, 1, 3, 1, 2, 1, 5, 2  # lengths of successive frames where the rate varies
_FAST: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast", "threads": "1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
    "mpeg4": {"sc_threshold": "1000000000"},  # keyframes at their interval only
    "libvpx": {"deadline": "realtime", "cpu-used": "-8"},  # 8 would be: as there is time
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "threads": "1"},
}


class Scene(Struct, frozen=True):
    """A stretch of ``seconds`` with one background colour (RGB) and one tone (Hz)."""

    seconds: float
    colour: tuple[int, int, int]
    tone: int


def scenes(*seconds: float) -> tuple[Scene, ...]:
    """Scenes of these lengths, each unlike its neighbours."""
    looks = zip(seconds, cycle(_COLOURS), cycle(_TONES), strict=False)
    return tuple(Scene(*look) for look in looks)


class MadeVideo(Struct, frozen=True, dict=True):
    """A video to make. Times are in seconds; ``size`` is that of the stored picture in pixels.

    ``codec`` None makes a file of sound alone, ``audio`` None one without sound. ``uneven`` varies
    the frame rate. ``start`` is the first timestamp in the file; the picture begins
    ``video_delay`` later than the sound.
    """

    scenes: tuple[Scene, ...]
    size: tuple[int, int] = (160, 120)
    rate: Fraction = Fraction(25)
    codec: str | None = "libx264"
    audio: str | None = "aac"
    container: str = "mp4"
    keyframe_interval: int = 12
    b_frames: int = 0
    pixel_format: str = "yuv420p"
    pixel_aspect: Fraction = Fraction(1)
    rotation: int = 0
    uneven: bool = False
    start: float = 0.0
    video_delay: float = 0.0
    sample_rate: int = 48000
    layout: str = "mono"
    options: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _ticks(self) -> list[int]:
        """When each frame comes and, last, when the last one ends; the unit is 1 / rate."""
        total = max(1, round(sum(scene.seconds for scene in self.scenes) * self.rate))
        steps = islice(cycle(_UNEVEN if self.uneven else (1,)), total)
        first = round(self.video_delay * self.rate)
        return [*(tick for tick in accumulate(steps, initial=0) if first <= tick < total), total]

    @property
    def frame_times(self) -> list[float]:
        """When each frame comes onto the screen, counted from the start of the file."""
        return [float(tick / self.rate) for tick in self._ticks[:-1]]

    @property
    def duration(self) -> float:
        """When the last frame ends."""
        return float(self._ticks[-1] / self.rate)

    @cached_property
    def cut_frames(self) -> list[int]:
        """The numbers of the frames at which a new scene begins; the first scene's is not one."""
        ends = list(accumulate(scene.seconds for scene in self.scenes))[:-1]
        return [int(np.searchsorted(self.frame_times, end - 1e-6)) for end in ends]

    @property
    def cut_times(self) -> list[float]:
        """The times of ``cut_frames``; the tones change at them too."""
        return [self.frame_times[number] for number in self.cut_frames]

    def write(self, path: Path) -> Path:
        """Make the file at ``path``."""
        path.write_bytes(self.data())
        return path

    def data(self) -> bytes:
        """Make the file in memory."""
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=self.container, options=dict(self.options)) as output:
            packets = [*self._video_packets(output), *self._audio_packets(output)]
            for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
                output.mux(packet)
        return buffer.getvalue()

    def picture(self, number: int) -> Picture:
        """Frame ``number`` as it is to be seen: RGB, upright, with square pixels."""
        stored = self.size[::-1] if self.rotation % 180 else self.size
        width, height = round(stored[0] * self.pixel_aspect), stored[1]
        scene = self.scenes[int(np.searchsorted(self.cut_frames, number, side="right"))]
        picture = np.full((height, width, 3), scene.colour, np.uint8)
        side = max(2, min(width, height) // 8)
        left = number * 2 % max(1, width - side)
        picture[-side:, left : left + side] //= 2  # something moves, but it is no cut
        gray = number ^ number >> 1  # one cell changes from frame to frame, which is no cut either
        for bit, cell in enumerate(_cells(picture)):
            cell[:] = 255 if gray >> bit & 1 else 0
        return picture

    def sound(self) -> NDArray[np.float32]:
        """One channel of the sound, from the start of the file."""
        seconds = np.arange(round(self.duration * self.sample_rate)) / self.sample_rate
        tones = np.array([scene.tone for scene in self.scenes])
        tone = tones[np.searchsorted(self.cut_times, seconds + 1e-9, side="right")]
        return (0.3 * np.sin(2 * np.pi * tone * seconds)).astype(np.float32)

    def _video_packets(self, output: OutputContainer) -> Iterator[Packet[Any]]:
        if self.codec is None:
            return
        options = {**_FAST.get(self.codec, {}), "bf": str(self.b_frames)}
        stream = output.add_stream(self.codec, rate=self.rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self.size
        stream.pix_fmt = self.pixel_format
        stream.codec_context.gop_size = self.keyframe_interval
        stream.codec_context.time_base = 1 / self.rate
        stream.codec_context.sample_aspect_ratio = self.pixel_aspect
        if self.rotation:
            stream.set_display_rotation(self.rotation)
        for number, tick in enumerate(self._ticks[:-1]):
            turned = np.ascontiguousarray(np.rot90(self.picture(number), -self.rotation // 90))
            frame = VideoFrame.from_ndarray(turned, "rgb24")
            frame = frame.reformat(*self.size, self.pixel_format, interpolation="AREA")
            frame.pts, frame.time_base = tick + round(self.start * self.rate), 1 / self.rate
            yield from stream.encode(frame)
        yield from stream.encode(None)

    def _audio_packets(self, output: OutputContainer) -> Iterator[Packet[Any]]:
        if self.audio is None:
            return
        stream = output.add_stream(self.audio, rate=self.sample_rate, layout=self.layout)
        assert isinstance(stream, AudioStream)
        stream.codec_context.open()
        sound, size = self.sound(), stream.codec_context.frame_size or 1024
        for position in range(0, len(sound), size):
            part = sound[position : position + size]
            channels = np.tile(part, (stream.codec_context.channels, 1))
            frame = AudioFrame.from_ndarray(channels, "fltp", self.layout)
            frame.sample_rate, frame.time_base = self.sample_rate, Fraction(1, self.sample_rate)
            frame.pts = position + round(self.start * self.sample_rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)


def _cells(picture: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The cells of a picture that hold its number, lowest bit first: the middle of its middle."""
    height, width = picture.shape[:2]
    side = min(height, width) / 2 / _CELLS
    for row in range(_CELLS):
        for column in range(_CELLS):
            top, left = height / 2 + side * (row - 2), width / 2 + side * (column - 2)
            yield picture[round(top) : round(top + side), round(left) : round(left + side)]


def read_number(picture: NDArray[Any]) -> int:
    """The number of the frame that ``picture`` (gray or RGB, scaled but whole) shows."""
    gray = sum(int(cell.mean() > _GRAY) << bit for bit, cell in enumerate(_cells(picture)))
    number = 0
    while gray:
        number, gray = number ^ gray, gray >> 1
    return number


def demo_videos() -> Mapping[str, MadeVideo]:
    """A handful of unlike videos by file name; most give clips with the README's settings."""
    webm = MadeVideo(scenes(6, 5), (240, 136), codec="libvpx", audio="libopus", container="webm")
    return {
        "three-scenes.mp4": MadeVideo(scenes(5, 6, 4.5), (320, 180)),
        "webm.webm": webm,
        "held-upright.mp4": MadeVideo(scenes(5, 4.5), (240, 136), rotation=90, b_frames=2),
        "uneven.mkv": MadeVideo(
            scenes(8, 5), audio="libmp3lame", container="matroska", uneven=True
        ),
        "long-and-silent.mp4": MadeVideo(scenes(22), rate=Fraction(10), audio=None),
        "too-short.mp4": MadeVideo(scenes(2, 1.5), (128, 96)),
        "sound-alone.mp4": MadeVideo(scenes(3), codec=None),
    }
