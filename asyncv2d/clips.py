"""Which clips are open at a moment of the decode: from spans known in advance, or from scenes."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import yaml
from av.video.frame import VideoFrame

from asyncv2d.media import Clipper, Span, split
from asyncv2d.take import Take
from asyncv2d.types import Cause, ItemError

_SOON = 0.05
_PAIR = 2
_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9}(?:\.\d+)?)", re.ASCII)
# Lists and strings only: ``1:30`` must not be read as a number in base 60. The C parser is much
# faster, but not part of every build of PyYAML.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

OpenTake = Callable[[Span], Take]


class Schedule(Protocol):
    """Hands each frame to the clips it belongs to."""

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """A frame comes onto the screen at ``time``."""

    def finish(self, end: float) -> list[Take]:
        """The video ends at ``end``: all finished clips worth keeping, by start."""


class KnownSpans:
    """Clips whose spans were given, in any order.

    They may overlap; those past the end of the video are dropped.
    """

    def __init__(self, spans: Iterable[Span], clipper: Clipper, open_take: OpenTake) -> None:
        # Lazily, since a span may claim to be of any length.
        self._coming = heapq.merge(*(split(clipper, span) for span in spans))
        self._next = next(self._coming, None)
        self._clipper = clipper
        self._open_take = open_take
        self._screen: VideoFrame | None = None
        self._open: list[Take] = []
        self._kept: list[Take] = []

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """Open and close clips as their times come, and show them the frame."""
        self._open_until(time)
        for take in list(self._open):
            if take.span.end <= time:
                self._close(take, take.span.end)
            else:
                take.show(frame, time)
        self._screen = frame

    def finish(self, end: float) -> list[Take]:
        """Close what is open, shortened to the end of the video."""
        self._open_until(end)
        for take in list(self._open):
            self._close(take, min(take.span.end, end))
        return sorted(self._kept, key=lambda take: take.span)

    def _open_until(self, time: float) -> None:
        while self._next is not None and self._next.start <= time:
            take = self._open_take(self._next)
            _show_what_is_on(take, self._screen, time)
            self._open.append(take)
            self._next = next(self._coming, None)

    def _close(self, take: Take, end: float) -> None:
        self._open.remove(take)
        if self._clipper.keeps(Span(take.span.start, end)) and take.finish(end):
            self._kept.append(take)


def _show_what_is_on(take: Take, screen: VideoFrame | None, following: float) -> None:
    """Begin ``take`` with the frame that is on the screen, if the next one is not about to come.

    A span's start is often a frame's time, rounded; the frame before it must not be seen then.
    """
    if screen is not None and following - take.span.start > _SOON:
        take.show(screen, take.span.start)


class SceneSpans:
    """A clip for every scene (or the longest), cut into pieces while the scene goes on."""

    def __init__(self, clipper: Clipper, open_take: OpenTake, *, longest_only: bool) -> None:
        self._clipper = clipper
        self._open_take = open_take
        self._longest_only = longest_only
        self._pieces: Iterator[Span] = iter(())
        self._take: Take | None = None
        self._screen: VideoFrame | None = None
        self._scene_start: float | None = None
        self._scene: list[Take] = []
        self._kept: list[Take] = []
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

    def finish(self, end: float) -> list[Take]:
        """Close the last scene."""
        self._end_scene(end)
        return self._kept

    def _next_piece(self) -> None:
        piece = next(self._pieces, None)
        self._take = None if piece is None else self._open_take(piece)

    def _pass_pieces(self, time: float) -> None:
        """Close the pieces that end by ``time`` and begin those that follow them."""
        while self._take is not None and self._take.span.end <= time:
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


def read_spans(value: Any) -> list[Span]:
    """The spans of a row's clips column.

    Takes ``[[start, end], …]`` or one ``[start, end]``, with seconds or ``"HH:MM:SS.mmm"``, as
    lists, tuples, arrays or text. Raises ItemError (bad_clips) for anything else.
    """
    listed = _listed(_parsed(value) if isinstance(value, str) else value)
    if len(listed) == _PAIR and not _is_list(listed[0]):
        listed = [listed]
    spans = [_span(entry) for entry in listed]
    if not spans:
        raise ItemError(Cause.NO_CLIPS, "the row's list of clips is empty")
    return spans


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError):
        raise _bad(text) from None


def _listed(value: Any) -> Sequence[Any]:
    """``value`` as a sequence, be it a list, a tuple or an array."""
    if not _is_list(value):
        raise _bad(value)
    return value if isinstance(value, Sequence) else list(value.tolist())


def _is_list(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    return isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0


def _span(entry: Any) -> Span:
    pair = _listed(entry)
    if len(pair) != _PAIR:
        raise _bad(entry)
    span = Span(_seconds(pair[0]), _seconds(pair[1]))
    if span.length <= 0:
        raise ItemError(Cause.BAD_CLIPS, f"the clip {list(pair)!r:.80} ends before it begins")
    return span


def _seconds(value: Any) -> float:
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, seconds = clock.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _bad(value) from None
    if not math.isfinite(number) or number < 0:
        raise _bad(value)
    return number


def _bad(value: Any) -> ItemError:
    return ItemError(
        Cause.BAD_CLIPS,
        f"cannot read {value!r:.80} as clips: expected [[start, end], …], seconds or HH:MM:SS.mmm",
    )
