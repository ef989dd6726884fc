"""Tests of the pure data that engine and subsamplers share."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncv2d.media import Clipper, Span, split
from asyncv2d.plan import WholeSpans
from asyncv2d.registry import load_subsampler

lengths = st.integers(1, 400).map(lambda quarters: quarters / 4)


def clipper(**args: object) -> Clipper:
    """A ClippingSubsampler."""
    made = load_subsampler("ClippingSubsampler")(**args)
    assert isinstance(made, Clipper)
    return made


@given(st.integers(0, 400).map(lambda quarters: quarters / 4), lengths, lengths, lengths)
def test_split_is_the_rule_of_video2dataset(
    start: float, length: float, longest: float, shortest: float
) -> None:
    """A span gives n whole pieces of max_length and its rest iff that is longer than min_length."""
    assume(shortest <= longest)
    span = Span(start, start + length)
    pieces = list(split(clipper(min_length=shortest, max_length=longest), span))
    whole, rest = divmod(length, longest)
    expected = [longest] * int(whole) + ([rest] if rest > shortest else [])
    assert [piece.length for piece in pieces] == expected
    assert [piece.start for piece in pieces] == [start + n * longest for n in range(len(pieces))]


@given(lengths, lengths)
def test_first_keeps_only_the_first_piece(length: float, longest: float) -> None:
    """With strategy ``first`` a span gives its first piece and nothing else."""
    every = list(split(clipper(max_length=longest), Span(1, 1 + length)))
    first = list(
        split(clipper(max_length=longest, max_length_strategy="first"), Span(1, 1 + length))
    )
    assert first == every[:1]


def test_a_rest_as_long_as_min_length_is_dropped() -> None:
    """The rest has to be strictly longer than min_length."""
    assert list(split(clipper(min_length=4, max_length=20), Span(0, 24))) == [Span(0, 20)]


def test_whole_spans_change_nothing() -> None:
    """Without a clipper a span is one clip as it is."""
    assert list(split(WholeSpans(), Span(2, 9))) == [Span(2, 9)]


@pytest.mark.parametrize("end", [3.0, 2.0])
def test_an_empty_span_gives_no_clip(end: float) -> None:
    """A span that ends where it begins, or before, has no pieces."""
    assert list(split(WholeSpans(), Span(3, end))) == []


@given(
    tenths=st.integers(1, 100),
    times=st.integers(1, 20),
    start=st.integers(0, 500).map(lambda n: n / 10),
)
def test_a_span_of_whole_pieces_gives_no_crumb(tenths: int, times: int, start: float) -> None:
    """Though sums of decimal fractions are not exact."""
    span = Span(start, round(start + times * tenths / 10, 1))
    assert len(list(split(clipper(max_length=tenths / 10), span))) == times
