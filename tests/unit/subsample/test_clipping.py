"""Tests of ClippingSubsampler's own settings; its rule is tested in test_media."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from asyncv2d_stages.subsample.clipping import ClippingSubsampler


def test_defaults_are_those_of_video2dataset() -> None:
    """Without arguments every span is kept whole."""
    made = ClippingSubsampler()
    assert (made.min_length, made.max_length, made.max_length_strategy, made.precision) == (
        *(0.0, 999999.0),
        *("all", "low"),
    )


@pytest.mark.parametrize(
    "args",
    [
        {"min_length": 5, "max_length": 4},
        {"min_length": -1},
        {"max_length": 0},
        {"precision": "high"},
        {"max_length_strategy": "last"},
    ],
)
def test_nonsense_is_refused(args: dict[str, object]) -> None:
    """Lengths that contradict each other, and unknown words, are errors."""
    with pytest.raises(ValidationError):
        ClippingSubsampler.model_validate(args)
