"""Tests of ResolutionSubsampler."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asyncv2d.media import ExactSize, FilterStep, Size
from asyncv2d_stages.subsample.resolution import ResolutionSubsampler

sides = st.integers(1, 5000)
evens = st.integers(1, 1000).map(lambda half: 2 * half)
aspects = st.builds(Fraction, st.integers(1, 120), st.integers(1, 120))
turned = st.booleans()


def made(
    stage: ResolutionSubsampler, seen: tuple[Any, Any]
) -> tuple[Size, Sequence[FilterStep], Size]:
    """What the engine makes of a picture to be seen in a size: size, filters, size once scaled."""
    scaled = stage.scaled(ExactSize(*(Fraction(side) for side in seen)))
    before = scaled or Size(*(int(side) for side in seen))
    size, steps = stage.steps(before)
    return size, steps, before


@given(sides, sides, evens, evens)
def test_all_three_steps_give_exactly_the_asked_size(
    width: int, height: int, wanted_width: int, wanted_height: int
) -> None:
    """Scale, crop and pad together give the asked size for a picture of any size."""
    stage = ResolutionSubsampler(
        resize_mode=("scale", "crop", "pad"), width=wanted_width, height=wanted_height
    )
    size, _, _ = made(stage, (width, height))
    assert size == (wanted_width, wanted_height)


def seen_size(width: int, height: int, aspect: Fraction, turned: bool) -> ExactSize:
    """How a picture of that many pixels is to be seen."""
    seen = ExactSize(width * aspect, Fraction(height))
    return ExactSize(*reversed(seen)) if turned else seen


@given(sides, sides, aspects, turned, evens)
def test_scaling_keeps_the_aspect(
    width: int, height: int, aspect: Fraction, turned: bool, wanted: int
) -> None:
    """With scale alone the asked side is exact and the other one off by a pixel at most."""
    seen = seen_size(width, height, aspect, turned)
    for side in ("height", "width"):
        stage = ResolutionSubsampler.model_validate({"resize_mode": "scale", side: wanted})
        size, _, _ = made(stage, seen)
        exact = wanted * (
            seen.width / seen.height if side == "height" else seen.height / seen.width
        )
        asked, other = size[::-1] if side == "height" else size
        assert asked == wanted
        assert other % 2 == 0
        assert abs(other - exact) <= 1 or other == 2


@given(sides, sides, aspects, turned, st.integers(2, 2000))
def test_the_shortest_side_is_what_is_asked_for(
    width: int, height: int, aspect: Fraction, turned: bool, wanted: int
) -> None:
    """The shorter of the sides that are seen, which need not be that of the stored picture."""
    seen = seen_size(width, height, aspect, turned)
    stage = ResolutionSubsampler(resize_mode=("scale",), shortest_side=wanted)
    size, _, _ = made(stage, seen)
    factor = wanted / min(seen)
    for side, exact in zip(size, seen, strict=True):
        assert side % 2 == 0
        assert abs(side - exact * factor) <= 1 + 1e-6


@given(sides, sides, aspects, turned, st.integers(100, 2_000_000))
def test_the_area_is_kept_to(
    width: int, height: int, aspect: Fraction, turned: bool, area: int
) -> None:
    """Neither side is larger than fits, nor smaller by two pixels or more."""
    seen = seen_size(width, height, aspect, turned)
    size, _, _ = made(ResolutionSubsampler(resize_mode=("scale",), area=area), seen)
    factor = (area / float(seen.width * seen.height)) ** 0.5
    for side, exact in zip(size, seen, strict=True):
        assert side == 2 or -1e-6 <= float(exact) * factor - side < 2 + 1e-6


@given(sides, sides, aspects, evens)
def test_nothing_is_enlarged_unless_asked(
    width: int, height: int, aspect: Fraction, wanted: int
) -> None:
    """Without ``upscale`` a picture that is seen smaller than asked keeps its size."""
    seen = seen_size(width, height, aspect, False)
    stage = ResolutionSubsampler(resize_mode=("scale",), height=wanted, upscale=False)
    assert (stage.scaled(seen) is None) == (wanted > height)


def test_steps_are_filters_in_order() -> None:
    """A wide picture is scaled and cropped, and needs no padding."""
    stage = ResolutionSubsampler.model_validate(
        {"resize_mode": "pad, crop, scale", "video_size": 224}
    )
    _, steps, scaled = made(stage, (640, 360))
    assert scaled == (398, 224)
    assert [tuple(step) for step in steps] == [("crop", "224:224")]


def test_a_small_picture_is_padded_in_the_middle() -> None:
    """With pad alone the picture keeps its size and gets borders."""
    stage = ResolutionSubsampler(resize_mode=("pad",), video_size=100)
    size, steps, _ = made(stage, (60, 40))
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
