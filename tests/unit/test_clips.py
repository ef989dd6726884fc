"""Tests of keeping clips open while frames go by."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncv2d.clips import KnownSpans, SceneSpans, Schedule, in_groups
from asyncv2d.codecs import Encoder
from asyncv2d.encode import Timing
from asyncv2d.media import Clipper, Span, split
from asyncv2d.registry import load_subsampler
from asyncv2d.take import Studio, Take

RATE = 10
FRAME = VideoFrame(16, 16, "yuv420p")


def clipper(longest: float, shortest: float = 0.0) -> Clipper:
    """A ClippingSubsampler."""
    made = load_subsampler("ClippingSubsampler").model_validate(
        {"max_length": longest, "min_length": shortest}
    )
    assert isinstance(made, Clipper)
    return made


def take(span: Span) -> Take:
    """A take that encodes nothing: its frames are 16 × 16 and few."""
    timing = Timing(Fraction(1, 100), Fraction(RATE))
    return Take(span, Studio(timing, Encoder(), keeps=bool), lambda frame: frame)


def play(
    schedule: Schedule[Take], end: float, cuts: Sequence[float] = (), step: float = 1 / RATE
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


@given(
    spans=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=30),
    most=st.integers(1, 4),
)
def test_groups_of_spans_overlap_no_more_than_they_may(
    spans: list[tuple[int, int]], most: int
) -> None:
    """Every span is in one group, and no group has more open at a time than is allowed."""
    given_spans = [Span(start, start + length) for start, length in spans]
    groups = in_groups(given_spans, most)
    assert sorted(span for group in groups for span in group) == sorted(given_spans)
    for group in groups:
        for time in range(45):
            assert sum(span.start <= time < span.end for span in group) <= most
