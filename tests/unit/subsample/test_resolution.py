"""Tests of ResolutionSubsampler."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asyncv2d.media import Size
from asyncv2d_stages.subsample.resolution import ResolutionSubsampler

sides = st.integers(1, 5000)
evens = st.integers(1, 1000).map(lambda half: 2 * half)


@given(sides, sides, evens, evens)
def test_all_three_steps_give_exactly_the_asked_size(
    width: int, height: int, wanted_width: int, wanted_height: int
) -> None:
    """Scale, crop and pad together give the asked size for a picture of any size."""
    stage = ResolutionSubsampler(
        resize_mode=("scale", "crop", "pad"), width=wanted_width, height=wanted_height
    )
    size, _ = stage.steps(Size(width, height))
    assert size == (wanted_width, wanted_height)


@given(sides, sides, evens)
def test_scaling_keeps_the_aspect(width: int, height: int, wanted: int) -> None:
    """With scale alone the asked side is exact and the other one off by a pixel at most."""
    (made_width, made_height), _ = ResolutionSubsampler(
        resize_mode=("scale",), height=wanted
    ).steps(Size(width, height))
    assert made_height == wanted
    assert made_width % 2 == 0
    assert abs(made_width - width * wanted / height) <= 1 or made_width == 2


def test_steps_are_filters_in_order() -> None:
    """A wide picture is scaled and cropped, and needs no padding."""
    stage = ResolutionSubsampler.model_validate(
        {"resize_mode": "scale, crop, pad", "video_size": 224}
    )
    _, steps = stage.steps(Size(640, 360))
    assert [tuple(step) for step in steps] == [("scale", "398:224"), ("crop", "224:224")]


def test_a_small_picture_is_padded_in_the_middle() -> None:
    """With pad alone the picture keeps its size and gets borders."""
    stage = ResolutionSubsampler(resize_mode=("pad",), video_size=100)
    size, steps = stage.steps(Size(60, 40))
    assert size == (100, 100)
    assert steps[0].args == "100:100:(ow-iw)/2:(oh-ih)/2"


@pytest.mark.parametrize(
    "args",
    [
        {"resize_mode": "scale"},
        {"resize_mode": "", "video_size": 64},
        {"resize_mode": "stretch", "video_size": 64},
        {"resize_mode": "crop", "height": 64},
        {"resize_mode": "scale", "height": 63},
        {"resize_mode": "scale", "video_size": 0},
        {"resize_mode": "scale", "video_size": 64, "height": 64},
    ],
)
def test_contradictions_are_refused(args: dict[str, Any]) -> None:
    """A size that is missing, odd or said twice, and unknown steps, are errors."""
    with pytest.raises(ValidationError):
        ResolutionSubsampler.model_validate(args)
