"""Reads what a row says of its clips: spans of time, or cuts that were found before."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asyncv2d.media import Span
from asyncv2d.types import Cause, ItemError

_PAIR = 2
_SAME_RATE = 1e-3  # 29.97 may stand for 30000/1001
_DIGITS = 6  # of a second: sums of decimal fractions are off by less, and frames are longer
_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9}(?:[.,]\d+)?)", re.ASCII)


def read_spans(value: Any) -> list[Span]:
    """The spans of a row's clips column.

    Takes ``[[start, end], …]`` or one ``[start, end]``, with seconds or ``"HH:MM:SS.mmm"``, as
    lists, tuples, arrays or text. Raises ItemError (bad_clips) for anything else.
    """
    if isinstance(value, str):
        value = parsed(_with_lists(value)) if value.strip() else []
    entries = listed(value)
    if len(entries) == _PAIR and not _is_list(entries[0]):
        entries = [entries]
    spans = [_span(entry) for entry in entries]
    if not spans:
        raise ItemError(Cause.NO_CLIPS, "the row's list of clips is empty")
    return spans


def _with_lists(text: str) -> str:
    """Clips hold numbers only, so parentheses can but mean tuples."""
    return text.replace("(", "[").replace(")", "]")


def parsed(text: str) -> Any:
    """Lists, mappings and strings from YAML or JSON text. Raises ItemError (bad_clips)."""
    import yaml  # most jobs have no such text

    # Lists and strings only: ``1:30`` must not be read as a number in base 60. The C parser is much
    # faster, but not part of every build of PyYAML.
    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError):
        raise _bad(text) from None


def listed(value: Any) -> Sequence[Any]:
    """``value`` as a sequence, be it a list, a tuple or an array. Raises ItemError (bad_clips)."""
    if not _is_list(value):
        raise _bad(value)
    return value if isinstance(value, Sequence) else list(value.tolist())


def _is_list(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    return isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0


def _span(entry: Any) -> Span:
    pair = listed(entry)
    if len(pair) != _PAIR:
        raise _bad(entry)
    span = Span(_seconds(pair[0]), _seconds(pair[1]))
    if span.length <= 0:
        raise ItemError(
            Cause.BAD_CLIPS, f"the clip {list(pair)!r:.80} does not end after it begins"
        )
    return span


def _seconds(value: Any) -> float:
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, seconds = clock.groups(default="0")
        return round(
            int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", ".")), _DIGITS
        )
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _bad(value) from None
    if not math.isfinite(number) or number < 0:
        raise _bad(value)
    return round(number, _DIGITS)


def _bad(value: Any) -> ItemError:
    return ItemError(
        Cause.BAD_CLIPS,
        f"cannot read {value!r:.80} as clips: expected [[start, end], …], seconds or HH:MM:SS.mmm",
    )


def says_clock_times(value: Any) -> bool:
    """Whether clips are written as ``"HH:MM:SS.mmm"`` (true if the first time is)."""
    while isinstance(value, str) and value.lstrip()[:1] in ("[", "("):
        value = parsed(_with_lists(value))
    while _is_list(value) and len(value):
        value = value[0]
    return isinstance(value, str) and _CLOCK.fullmatch(value.strip()) is not None


def clock_time(seconds: float) -> str:
    """``"HH:MM:SS.mmm"``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds / 1000:06.3f}"


def _rate(value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ItemError(Cause.BAD_CLIPS, "the original_fps of the row's cuts is no number above 0")
    return rate


class Cuts(NamedTuple):
    """Scenes as ``[first, end)`` in frames of a video with so many of them a second."""

    rate: float
    scenes: Sequence[tuple[int, int]]

    def spans(self, times: Sequence[float], end: float, rate: float) -> list[Span]:
        """The scenes in a video whose frames are shown at these ``times`` until ``end`` (seconds).

        ``rate`` is what it says to have; the frames of cuts with another one are not its own.
        """
        if not math.isclose(self.rate, rate, rel_tol=_SAME_RATE) or not len(times):
            return [Span(first / self.rate, last / self.rate) for first, last in self.scenes]
        ends = [*times, end]
        within = [(first, min(last, len(times))) for first, last in self.scenes]
        return [Span(ends[first], ends[last]) for first, last in within if first < last]


def read_cuts(value: Any) -> Cuts:
    """The scenes of a row's ``cuts``: ``cuts_original_fps`` in frames, at ``original_fps``.

    Takes a mapping, or one as text. Raises ItemError (bad_clips) for anything else.
    """
    cuts = parsed(value) if isinstance(value, str) else value
    if not isinstance(cuts, Mapping) or "cuts_original_fps" not in cuts:
        raise ItemError(
            Cause.BAD_CLIPS,
            f"cannot read {value!r:.80} as cuts: expected original_fps and cuts_original_fps",
        )
    scenes = read_spans(cuts["cuts_original_fps"])
    return Cuts(
        _rate(cuts.get("original_fps")), [(round(first), round(end)) for first, end in scenes]
    )
