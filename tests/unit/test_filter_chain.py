"""Tests of the filtered picture that goes to the encoder."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest
from av.video.frame import VideoFrame

from asyncv2d.filter_chain import FilterChain
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import Size

MADE = MadeVideo(scenes(1, 1), (320, 240))


def frame(number: int, pixel_format: str, size: tuple[int, int] = (320, 240)) -> VideoFrame:
    """One frame of the made video in some storage format."""
    made = VideoFrame.from_ndarray(MADE.picture(number), "rgb24")
    made = made.reformat(*size, pixel_format, interpolation="AREA")
    made.pts, made.time_base = number, Fraction(1, 25)
    return made


@pytest.mark.parametrize(("rotation", "size"), [(0, (64, 48)), (90, (48, 64)), (-90, (48, 64))])
def test_pictures_are_made_upright(rotation: int, size: tuple[int, int]) -> None:
    """A picture stored lying comes out as a player shows it, its number readable."""
    made = MadeVideo(scenes(0.4), size, rotation=rotation, audio=None)
    chain = FilterChain([], Fraction(1), "yuv420p")
    with av.open(io.BytesIO(made.data()), "r") as container:
        shown = [chain(decoded) for decoded in container.decode(video=0)]
    assert {(view.width, view.height) for view in shown} == {(64, 48)}
    assert [read_number(view.to_ndarray(format="gray")) for view in shown] == list(range(10))


def test_pixels_are_made_square() -> None:
    """A picture with wide pixels is widened."""
    chain = FilterChain([], Fraction(2), "yuv420p")
    made = chain(frame(0, "yuv420p", (160, 120)))
    assert (made.width, made.height) == (320, 120)


@pytest.mark.parametrize("pixel_format", ["gray", "nv12", "rgb24", "yuv444p10le"])
def test_every_format_becomes_what_players_take(pixel_format: str) -> None:
    """Whatever the storage, the picture to encode is 8-bit 4:2:0 of even size."""
    made = FilterChain([], Fraction(1), "yuv420p")(frame(0, pixel_format, (161, 121)))
    assert (made.format.name, made.width, made.height) == ("yuv420p", 160, 120)


def test_the_size_is_fixed_by_the_first_frame() -> None:
    """A video whose size changes in the middle keeps the size it began with."""
    chain = FilterChain([], Fraction(1), "yuv420p")
    sizes = {
        Size(made.width, made.height)
        for made in (chain(frame(0, "yuv420p", size)) for size in [(64, 48), (128, 96), (32, 32)])
    }
    assert sizes == {Size(64, 48)}
