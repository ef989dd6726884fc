"""Which clips are open at a moment of the decode: from spans known in advance, or from scenes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from av.video.frame import VideoFrame

from asyncv2d.media import SAME_MOMENT, Clipper, Span, split

SOON = 0.05


class AnyTake(Protocol):
    """A clip in the making: of moving pictures, or of images."""

    span: Span

    def show(self, frame: VideoFrame, time: float) -> None:
        """``frame`` comes onto the screen at ``time``, which lies inside the span."""

    def needs(self, start: float, end: float) -> bool:
        """Whether a frame that is on the screen between these times is to be shown to it."""

    def finish(self, end: float) -> bool:
        """The span really ends at ``end``; False if nothing was made."""


T = TypeVar("T", bound=AnyTake)
OpenTake = Callable[[Span], T]


class Schedule(Protocol[T]):
    """Hands each frame to the clips it belongs to."""

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """A frame comes onto the screen at ``time``."""

    def needs(self, start: float, end: float) -> bool:
        """Whether a frame between these times is for a clip, as far as clips are known by now."""

    def finish(self, end: float) -> list[T]:
        """The video ends at ``end``: all finished clips worth keeping, by start."""


class KnownSpans(Generic[T]):
    """Clips whose spans were given, in any order.

    They may overlap; those past the end of the video are dropped.
    """

    def __init__(self, spans: Iterable[Span], clipper: Clipper, open_take: OpenTake[T]) -> None:
        # Lazily, since a span may claim to be of any length.
        self._coming = heapq.merge(*(split(clipper, span) for span in spans))
        self._next = next(self._coming, None)
        self._clipper = clipper
        self._open_take = open_take
        self._screen: VideoFrame | None = None
        self._open: list[T] = []
        self._kept: list[T] = []

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """Open and close clips as their times come, and show them the frame."""
        self._open_until(time, following=time)
        for take in list(self._open):
            if take.span.end <= time + SAME_MOMENT:
                self._close(take, take.span.end)
            else:
                take.show(frame, time)
        self._screen = frame

    def needs(self, start: float, end: float) -> bool:
        """Whether a clip is open that needs it, or the next one may begin with it."""
        coming = self._next is not None and self._next.start < end
        return coming or any(take.needs(start, end) for take in self._open)

    def finish(self, end: float) -> list[T]:
        """Close what is open, shortened to the end of the video."""
        self._open_until(end, following=float("inf"))
        for take in list(self._open):
            self._close(take, min(take.span.end, end))
        return sorted(self._kept, key=lambda take: take.span)

    def _open_until(self, time: float, *, following: float) -> None:
        """Open the clips that begin by ``time``; the next frame comes at ``following``."""
        while self._next is not None and self._next.start <= time + SAME_MOMENT:
            take = self._open_take(self._next)
            _show_what_is_on(take, self._screen, following)
            self._open.append(take)
            self._next = next(self._coming, None)

    def _close(self, take: T, end: float) -> None:
        self._open.remove(take)
        if self._clipper.keeps(Span(take.span.start, end)) and take.finish(end):
            self._kept.append(take)


def in_groups(spans: Iterable[Span], most: int) -> list[list[Span]]:
    """The spans in as many groups as it takes for at most ``most`` of a group to overlap."""
    groups: list[list[Span]] = []
    open_until: list[tuple[float, int]] = []  # ends of spans, with the places that they take
    free: list[int] = []
    for span in sorted(spans):
        while open_until and open_until[0][0] <= span.start:
            heapq.heappush(free, heapq.heappop(open_until)[1])
        place = heapq.heappop(free) if free else len(open_until)
        heapq.heappush(open_until, (span.end, place))
        while len(groups) <= place // most:
            groups.append([])
        groups[place // most].append(span)
    return groups


def _show_what_is_on(take: AnyTake, screen: VideoFrame | None, following: float) -> None:
    """Begin ``take`` with the frame that is on the screen, if the next one is not about to come.

    A span's start is often a frame's time, rounded; the frame before it must not be seen then.
    """
    if screen is not None and following - take.span.start > SOON:
        take.show(screen, take.span.start)


class SceneSpans(Generic[T]):
    """A clip for every scene (or the longest), cut into pieces while the scene goes on."""

    def __init__(self, clipper: Clipper, open_take: OpenTake[T], *, longest_only: bool) -> None:
        self._clipper = clipper
        self._open_take = open_take
        self._longest_only = longest_only
        self._pieces: Iterator[Span] = iter(())
        self._take: T | None = None
        self._screen: VideoFrame | None = None
        self._scene_start: float | None = None
        self._scene: list[T] = []
        self._kept: list[T] = []
        self._longest = -1.0

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """Begin a scene or a piece where one is due, and show it the frame."""
        if new_scene or self._scene_start is None:
            self._end_scene(time)
            self._scene_start = time
            self._pieces = self._clipper.pieces(time)
            self._next_piece()
        self._pass_pieces(time)
        if self._take is not None:
            self._take.show(frame, time)
        self._screen = frame

    def needs(self, start: float, end: float) -> bool:
        """Whether the open piece needs it, or the next one may begin with it."""
        if self._take is None:
            return False
        return self._take.span.end <= end or self._take.needs(start, end)

    def finish(self, end: float) -> list[T]:
        """Close the last scene."""
        self._end_scene(end)
        return self._kept

    def _next_piece(self) -> None:
        piece = next(self._pieces, None)
        self._take = None if piece is None else self._open_take(piece)

    def _pass_pieces(self, time: float) -> None:
        """Close the pieces that end by ``time`` and begin those that follow them."""
        while self._take is not None and self._take.span.end <= time + SAME_MOMENT:
            self._close(self._take.span.end)
            self._next_piece()
            if self._take is not None:
                _show_what_is_on(self._take, self._screen, time)

    def _end_scene(self, end: float) -> None:
        if self._scene_start is None:
            return
        self._pass_pieces(end)
        if self._take is not None:
            self._close(min(self._take.span.end, end))
            self._take = None
        length = end - self._scene_start
        if not self._longest_only:
            self._kept += self._scene
        elif length > self._longest:
            self._longest, self._kept = length, self._scene
        self._scene = []

    def _close(self, end: float) -> None:
        assert self._take is not None
        span = Span(self._take.span.start, end)
        if self._clipper.keeps(span) and self._take.finish(end):
            self._scene.append(self._take)
