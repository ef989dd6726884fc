"""Chooses the frames of one clip while the video is decoded, and hands them to its encoder."""

from __future__ import annotations

from collections.abc import Callable

from av.video.frame import VideoFrame

from asyncv2d.encode import ClipEncoder, Timing
from asyncv2d.media import Span


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
        assert self.encoder is not None
        self.encoder.end_picture()
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
