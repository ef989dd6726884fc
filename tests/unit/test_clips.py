"""Tests of reading clips columns and of keeping clips open while frames go by."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncv2d.clips import KnownSpans, SceneSpans, Schedule, read_spans
from asyncv2d.encode import Timing
from asyncv2d.media import Clipper, Span, split
from asyncv2d.registry import load_subsampler
from asyncv2d.take import Take
from asyncv2d.types import Cause, ItemError

RATE = 10
FRAME = VideoFrame(16, 16, "yuv420p")

quarters = st.integers(0, 4000).map(lambda number: number / 4)
spans = st.tuples(quarters, st.integers(1, 400).map(lambda number: number / 4)).map(
    lambda pair: Span(pair[0], pair[0] + pair[1])
)


def clock(seconds: float) -> str:
    """Seconds as HH:MM:SS.mmm."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:06.3f}"


@given(st.lists(spans, min_size=1))
def test_numbers_are_read_as_they_are(given_spans: list[Span]) -> None:
    """Lists, tuples, arrays and their text all give the spans that they list."""
    listed = [list(span) for span in given_spans]
    forms: list[Any] = [listed, tuple(map(tuple, listed)), np.array(listed), json.dumps(listed)]
    assert all(read_spans(form) == given_spans for form in forms)


@given(st.lists(spans, min_size=1))
def test_clock_times_are_read(given_spans: list[Span]) -> None:
    """HH:MM:SS.mmm means the same as seconds, also in text with or without quotes."""
    listed = [[clock(start), clock(end)] for start, end in given_spans]
    bare = str(listed).replace("'", "")
    forms: list[Any] = [listed, json.dumps(listed), bare, np.array(listed, dtype=object)]
    for form in forms:
        assert np.allclose(read_spans(form), given_spans, atol=1e-9)


@pytest.mark.parametrize(
    "value",
    [[1, 2.5], ["1", "2.5"], "[1, 2.5]", ["00:01", "00:02.5"], np.array([1, 2.5]), [[1, 2.5]]],
)
def test_one_pair_is_one_span(value: Any) -> None:
    """A single pair need not be wrapped in another list."""
    assert read_spans(value) == [Span(1, 2.5)]


def test_minutes_are_not_a_number_in_base_60() -> None:
    """``1:30`` in text is a minute and a half."""
    assert read_spans("[[1:30, 2:00]]") == [Span(90, 120)]


@pytest.mark.parametrize(
    "value",
    [
        *("nonsense", "[[1, 2]", "{a: b}", "", 7, 3.5, b"[[1, 2]]", {"a": 1}, [1], [1, 2, 3]),
        *([[1]], [[1, 2, 3]], [[2, 1]], [[1, 1]], [[-1, 2]], [[float("nan"), 2]], [["a", "b"]]),
        *([[0, float("inf")]], [[None, 1]], [[[0, 1], [2, 3]]], [[1, 2], 3], np.array(5.0)),
        *([[0, 10**400]], [["9" * 5000 + ":00", "1"]], "[" * 3000, np.array([[[1, 2]]])),
    ],
)
def test_what_is_no_list_of_spans_is_bad_clips(value: Any) -> None:
    """Anything else is refused with cause bad_clips, in a message of bearable length."""
    with pytest.raises(ItemError) as caught:
        read_spans(value)
    assert caught.value.cause is Cause.BAD_CLIPS
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize("value", [[], (), "[]", np.zeros((0, 2))])
def test_an_empty_list_is_no_clips(value: Any) -> None:
    """A row that lists no clip gives none, which is a cause of its own."""
    with pytest.raises(ItemError) as caught:
        read_spans(value)
    assert caught.value.cause is Cause.NO_CLIPS


def clipper(longest: float, shortest: float = 0.0) -> Clipper:
    """A ClippingSubsampler."""
    made = load_subsampler("ClippingSubsampler").model_validate(
        {"max_length": longest, "min_length": shortest}
    )
    assert isinstance(made, Clipper)
    return made


def take(span: Span) -> Take:
    """A take that encodes nothing: its frames are 16 × 16 and few."""
    return Take(span, Timing(Fraction(1, 100), Fraction(RATE)), lambda frame: frame)


def play(
    schedule: Schedule, end: float, cuts: Sequence[float] = (), step: float = 1 / RATE
) -> list[Span]:
    """Show frames every ``step`` seconds; the spans of the clips that come out."""
    for number in range(round(end / step)):
        time = round(number * step, 6)
        schedule.show(FRAME, time, new_scene=number > 0 and time in cuts)
    return [taken.span for taken in schedule.finish(end)]


tenths = st.integers(1, 60).map(lambda number: number / RATE)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), tenths), min_size=1, max_size=4), tenths, tenths)
def test_known_spans_are_split_like_split(
    pairs: list[tuple[int, float]], longest: float, shortest: float
) -> None:
    """Clips of given spans are exactly the pieces of those spans, shortened to the video's end."""
    assume(shortest <= longest and longest >= 0.5)
    end = 8.0
    given_spans = [Span(a / RATE, a / RATE + length) for a, length in pairs]
    rule = clipper(longest, shortest)
    inside = [Span(span.start, min(span.end, end)) for span in given_spans]
    wanted = sorted(piece for span in inside for piece in split(rule, span))
    assert np.allclose(play(KnownSpans(given_spans, rule, take), end), wanted)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 79), max_size=4), tenths, tenths)
def test_scenes_are_split_like_split(cuts: set[int], longest: float, shortest: float) -> None:
    """Clips of scenes, whose ends come as a surprise, are what split makes of the scenes."""
    assume(shortest <= longest and longest >= 0.5)
    borders = [0.0, *(cut / RATE for cut in sorted(cuts)), 8.0]
    scenes = [Span(a, b) for a, b in itertools.pairwise(borders)]
    rule = clipper(longest, shortest)
    wanted = [piece for scene in scenes for piece in split(rule, scene)]
    found = play(SceneSpans(rule, take, longest_only=False), 8.0, cuts=borders)
    assert np.allclose(found, wanted) if wanted else not found


def test_only_the_longest_scene_is_kept() -> None:
    """With ``longest`` only the clips of the longest scene come out."""
    schedule = SceneSpans(clipper(2.0), take, longest_only=True)
    assert play(schedule, 8.0, cuts=[1.0, 5.0]) == [Span(1, 3), Span(3, 5)]


def test_a_span_that_claims_to_be_endless_costs_nothing() -> None:
    """A span far longer than the video is not cut up in advance."""
    schedule = KnownSpans([Span(0, 1e15)], clipper(1.0), take)
    assert play(schedule, 2.0) == [Span(0, 1), Span(1, 2)]


@pytest.mark.parametrize("known", [True, False])
def test_a_still_picture_fills_the_clips_it_is_seen_in(known: bool) -> None:
    """A frame that stays on the screen for long is in every clip of that time."""
    rule = clipper(2.0)
    schedule = (
        KnownSpans([Span(0, 8)], rule, take)
        if known
        else SceneSpans(rule, take, longest_only=False)
    )
    assert play(schedule, 8.0, step=8.0) == [Span(0, 2), Span(2, 4), Span(4, 6), Span(6, 8)]


def test_a_span_past_the_end_gives_nothing() -> None:
    """A span that begins after the last frame is dropped."""
    assert play(KnownSpans([Span(9, 12)], clipper(5.0), take), 2.0) == []
