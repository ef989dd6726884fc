"""Chooses the frames of one clip while the video is decoded, and hands them to its encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from av.video.frame import VideoFrame

from asyncv2d.codecs import Encoder
from asyncv2d.encode import PictureEncoder, Timing
from asyncv2d.media import Span
from asyncv2d.picture import Picture

TICK_ROUNDING = 1e-4  # ticks: a frame that comes so little after a tick counts for it
_MOST_WAITING = 64 << 20  # bytes of frames that wait until a clip is sure to be kept


class Studio(NamedTuple):
    """What all clips of a video are made with.

    ``keeps`` says whether a clip is worth having once it is as long as a span.
    """

    timing: Timing
    encoder: Encoder
    keeps: Callable[[Span], bool]


class _Waiting(NamedTuple):
    view: VideoFrame
    tick: int


class Take:
    """The frames of one clip, chosen and encoded as they are decoded.

    The first frame is shown from the start of the span on, so the sound, whose times count from
    there too, stays with the picture. At a constant rate, tick n shows the frame that is on the
    screen at start + n / rate, and the clip has round(length × rate) frames. The end of a scene is
    not known in advance, so nothing is encoded before the clip is surely long enough to be kept
    and to have that tick. ``view`` gives the picture to encode of a frame.
    """

    def __init__(
        self, span: Span, studio: Studio, view: Callable[[VideoFrame], VideoFrame]
    ) -> None:
        self.span = span
        self.frames = 0
        self.first_time: float | None = None
        self.picture: Picture | None = None
        self._studio = studio
        self._view = view
        self._timing = studio.timing
        self._rate = float(studio.timing.nominal_rate)
        self._encoder: PictureEncoder | None = None
        self._shown: tuple[VideoFrame, float] | None = None
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._last_tick = -1
        self._is_kept = False

    def show(self, frame: VideoFrame, time: float) -> None:
        """``frame`` comes onto the screen at ``time``, which lies inside the span."""
        if self._shown is None:
            self.first_time = time
        else:
            self._choose(time)
            self._encode_waiting(time)
        self._shown = frame, time

    def needs(self, start: float, end: float) -> bool:
        """Whether a tick lies between these times; without a rate, every frame has one."""
        if self._timing.rate is None or self._shown is None or end >= self.span.end:
            return True
        return self._ticks_before(end) > self._ticks_before(start)

    def finish(self, end: float) -> bool:
        """The span really ends at ``end``; False if the clip got no frame."""
        self.span = Span(self.span.start, end)
        if self._shown is None:
            return False
        if self._timing.rate is None:
            self._choose(end)
            self._encode_ticks(None)
            after_start = round((end - self.span.start) / float(self._timing.clock))
            ticks = max(after_start, self._last_tick + 1)
        else:
            ticks = max(1, self._ticks_rounded(end))
            self._choose_ticks(ticks)
            self._encode_ticks(ticks)
        self._shown = None
        self._waiting.clear()
        assert self._encoder is not None
        self.picture, self._encoder = self._encoder.finish(ticks), None
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

    def _choose(self, time: float) -> None:
        """The frame on the screen leaves it at ``time``: note the ticks that show it."""
        assert self._shown is not None
        if self._timing.rate is None:
            self._wait(self._shown[0], self._own_tick(self._shown[1]))
        else:
            self._choose_ticks(self._ticks_before(time))

    def _choose_ticks(self, ticks: int) -> None:
        """Ticks up to number ``ticks`` show the frame that is on the screen."""
        assert self._shown is not None
        while self._last_tick + 1 < ticks:
            self._wait(self._shown[0], self._last_tick + 1)

    def _wait(self, frame: VideoFrame, tick: int) -> None:
        view = self._view(frame)
        self._waiting.append(_Waiting(view, tick))
        self._waiting_bytes += sum(plane.buffer_size for plane in view.planes)
        self._last_tick = tick

    def _own_tick(self, time: float) -> int:
        """The tick at which a frame comes at variable rate; no two frames share one."""
        if self._last_tick < 0:
            return 0
        after_start = round((time - self.span.start) / float(self._timing.clock))
        return max(self._last_tick + 1, after_start)

    def _ticks_before(self, time: float) -> int:
        """How many ticks lie before ``time``; a hair's breadth before is at."""
        exact = (time - self.span.start) * self._rate
        return int(-(-(exact - TICK_ROUNDING) // 1))

    def _ticks_rounded(self, time: float) -> int:
        return int((time - self.span.start) * self._rate + 0.5 + TICK_ROUNDING)

    def _encode_waiting(self, time: float) -> None:
        """Encode what the clip is sure to have, now that it lasts until ``time`` at least."""
        self._is_kept = self._is_kept or self._studio.keeps(Span(self.span.start, time))
        if self._is_kept or self._waiting_bytes > _MOST_WAITING:
            self._encode_ticks(None if self._timing.rate is None else self._ticks_rounded(time))

    def _encode_ticks(self, ticks: int | None) -> None:
        """Encode the waiting frames before tick number ``ticks``; None: all."""
        ready = len(self._waiting)
        while ticks is not None and ready and self._waiting[ready - 1].tick >= ticks:
            ready -= 1
        for view, tick in self._waiting[:ready]:
            if self._encoder is None:
                self._encoder = PictureEncoder(view, self._timing, self._studio.encoder)
            self._encoder.encode(view, tick)
            self.frames += 1
            self._waiting_bytes -= sum(plane.buffer_size for plane in view.planes)
        del self._waiting[:ready]
