"""Tests of turning timestamps into seconds: as exact as fractions are."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.clock import Clock

bases = st.one_of(
    st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1001, 30000), Fraction(1)]),
    st.fractions(Fraction(1, 10**9), 10, max_denominator=10**9).filter(bool),
)
# As FFmpeg gives the start of a file: in microseconds.
origins = st.integers(-(10**13), 10**13).map(lambda microseconds: Fraction(microseconds, 10**6))
timestamps = st.integers(-(2**62), 2**62)


@given(bases, origins, timestamps)
def test_times_are_those_of_exact_arithmetic(
    base: Fraction, origin: Fraction, timestamp: int
) -> None:
    """A time is the float nearest to the exact one, whatever the unit and the origin are."""
    assert Clock(base, origin).time(timestamp) == float(timestamp * base - origin)


@given(bases, origins, st.integers(0, 2**62))
def test_lengths_do_not_depend_on_the_origin(
    base: Fraction, origin: Fraction, duration: int
) -> None:
    """A length is the float nearest to the exact one."""
    assert Clock(base, origin).length(duration) == float(duration * base)


@given(bases, origins)
def test_a_length_that_is_not_known_is_none(base: Fraction, origin: Fraction) -> None:
    """It counts as zero seconds."""
    assert Clock(base, origin).length(None) == 0


@given(origins, st.integers(0, 10**6), st.sampled_from([25, 30, 50, 1000, 90000]))
def test_equal_times_are_equal_in_all_units(origin: Fraction, seconds: int, rate: int) -> None:
    """The same moment is the same float, in whichever unit a stream counts."""
    whole = Clock(Fraction(1), origin).time(seconds)
    assert Clock(Fraction(1, rate), origin).time(seconds * rate) == whole


@given(bases, origins, timestamps)
def test_the_origin_is_time_zero(base: Fraction, origin: Fraction, timestamp: int) -> None:
    """What comes at the origin comes at 0, and what comes before it has a time below."""
    assert Clock(base, timestamp * base).time(timestamp) == 0
    assert (Clock(base, origin).time(timestamp) < 0) == (timestamp * base < origin)
