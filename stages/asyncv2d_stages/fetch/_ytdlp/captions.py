"""Subtitles in WebVTT or SubRip, in video2dataset's form: ``{start, end, lines}``."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

Caption = dict[str, Any]

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_SPAN = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_BLOCKS = re.compile(r"\n\n+")  # a line of spaces is text
_MARKUP = re.compile(r"<[^>]*>")
_WORD_TIMES = re.compile(r"<(c[.>]|\d+:)")
_NO_CUES = ("NOTE", "STYLE", "REGION")


def read_captions(text: str) -> list[Caption]:
    """The captions in order, without what rolls on from the one before.

    Captions that a site made by itself show each line twice: word by word with a time for each, and
    again while the next one comes up. One line is left of that.
    """
    cues = list(_cues(text))
    captions = [caption for caption, _ in cues]
    rolling = any(timed for _, timed in cues) or _roll(captions)
    return _without_repeats(captions, rolling=rolling)


def _roll(captions: Sequence[Caption]) -> bool:
    """Whether most captions begin with the line that the one before ended with."""
    pairs = list(pairwise(captions))
    return sum(_rolls_on(*pair) for pair in pairs) > len(pairs) / 2


def _rolls_on(one: Caption, other: Caption) -> bool:
    """Whether a caption comes at once after another, and begins with its last line."""
    repeats = bool(one["lines"]) and one["lines"][-1:] == other["lines"][:1]
    return repeats and bool(other["start"] <= one["end"])


def _cues(text: str) -> Iterator[tuple[Caption, bool]]:
    """Each cue, and whether its words have times of their own."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for block in _BLOCKS.split(text.strip("\n")):
        lines = block.split("\n")
        if lines[0].split(" ")[0] in _NO_CUES:
            continue
        for number, line in enumerate(lines):
            if span := _SPAN.match(line):
                yield _cue(span, lines[number + 1 :])
                break


def _cue(span: re.Match[str], lines: Sequence[str]) -> tuple[Caption, bool]:
    start, end = _clock(span.groups()[:4]), _clock(span.groups()[4:])
    shown = [" ".join(html.unescape(_MARKUP.sub("", line)).split()) for line in lines]
    caption = {"start": start, "end": end, "lines": [line for line in shown if line]}
    return caption, any(_WORD_TIMES.search(line) for line in lines)


def _clock(parts: Sequence[str | None]) -> str:
    """``HH:MM:SS.mmm``."""
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return f"{int(hours):02d}:{int(minutes):02d}:{int(seconds):02d}.{fraction.ljust(3, '0')}"


def _without_repeats(captions: Sequence[Caption], *, rolling: bool) -> list[Caption]:
    kept: list[Caption] = []
    before: list[str] = []
    for caption in captions:
        lines = [line for line in caption["lines"] if not rolling or line not in before]
        if rolling and kept and not lines:
            kept[-1]["end"] = max(kept[-1]["end"], caption["end"])
        before = caption["lines"]
        if lines and not (kept and kept[-1] == {**caption, "lines": lines}):
            kept.append({**caption, "lines": lines})
    return kept
