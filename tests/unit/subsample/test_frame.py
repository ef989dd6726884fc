"""Tests of FrameSubsampler's own settings; the choice of frames is tested in test_encode."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from asyncv2d_stages.subsample.frame import FrameSubsampler


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (5, Fraction(5)),
        (2.5, Fraction(5, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        (29.97, Fraction(2997, 100)),
        (Fraction(1, 2), Fraction(1, 2)),
    ],
)
def test_a_rate_may_be_a_number_or_a_fraction(given: Any, rate: Fraction) -> None:
    """Numbers and fractions are kept exactly."""
    assert FrameSubsampler(frame_rate=given).frame_rate == rate


@pytest.mark.parametrize(
    "given", [0, -1, "fast", "1/0", True, None, float("nan"), float("inf"), 10**6]
)
def test_what_is_no_rate_is_refused(given: Any) -> None:
    """A frame rate is a number above zero and within reason."""
    with pytest.raises(ValidationError):
        FrameSubsampler(frame_rate=given)
