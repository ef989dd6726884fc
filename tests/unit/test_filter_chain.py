"""Tests of the filtered picture that goes to the encoder."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from fractions import Fraction

import av
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.filter_chain import ClipViews, FilterChain
from asyncv2d.geometry import filter_steps, seen_size
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import FilterStep, Size, VideoFilter
from asyncv2d_stages.subsample.resolution import ResolutionSubsampler

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


def test_each_clip_has_the_size_of_its_own_first_frame() -> None:
    """Clips of one size share a frame's picture; the others of a video change nothing for one."""
    views = ClipViews([], Fraction(1), "yuv420p")
    lying, upright = frame(0, "yuv420p", (64, 48)), frame(1, "yuv420p", (48, 64))
    first, second, third = (views.for_clip() for _ in range(3))
    made = [first(lying), second(lying), first(upright), third(upright), second(upright)]
    sizes = [(view.width, view.height) for view in made]
    assert sizes == [(64, 48), (64, 48), (64, 48), (48, 64), (64, 48)]
    assert made[0] is made[1]
    assert made[2] is made[4]


def resolution(resize_mode: str, **settings: object) -> VideoFilter:
    """A subsampler that sets the size."""
    return ResolutionSubsampler.model_validate({"resize_mode": resize_mode, **settings})


PAL, WIDE, NTSC, TWICE = Fraction(16, 15), Fraction(64, 45), Fraction(10, 11), Fraction(2)
# Stored size, aspect of a pixel, settings, size to come out: what is seen is (w · aspect, h).
SIZES = [
    ((720, 576), PAL, {"resize_mode": "scale", "height": 224}, (298, 224)),  # 298.67
    ((720, 576), WIDE, {"resize_mode": "scale", "height": 224}, (398, 224)),  # 398.22
    ((720, 576), WIDE, {"resize_mode": "scale", "width": 300}, (300, 168)),  # 168.75
    ((720, 480), NTSC, {"resize_mode": "scale", "height": 240}, (328, 240)),  # 327.27
    ((340, 256), Fraction(64, 51), {"resize_mode": "scale", "height": 224}, (374, 224)),  # 373.33
    ((176, 144), Fraction(128, 117), {"resize_mode": "scale", "height": 224}, (300, 224)),  # 299.49
    ((321, 241), PAL, {"resize_mode": "scale", "height": 480}, (682, 480)),  # 681.96
    ((33, 21), TWICE, {"resize_mode": "scale", "height": 420}, (1320, 420)),
    ((2, 2), PAL, {"resize_mode": "scale", "height": 224}, (238, 224)),  # 238.93
    ((120, 160), TWICE, {"resize_mode": "scale", "shortest_side": 80}, (120, 80)),
    ((320, 240), TWICE, {"resize_mode": "scale", "area": 38400}, (320, 120)),
    ((720, 576), PAL, {"resize_mode": "scale", "height": 1080, "upscale": False}, (768, 576)),
    ((350, 241), PAL, {"resize_mode": "scale", "height": 480, "upscale": False}, (374, 240)),
    ((720, 576), WIDE, {"resize_mode": "crop", "video_size": 224}, (224, 224)),
    ((720, 576), WIDE, {"resize_mode": "crop", "width": 1000, "height": 600}, (1000, 576)),
    ((720, 576), PAL, {"resize_mode": "pad", "width": 700, "height": 600}, (768, 600)),
    ((720, 576), PAL, {"resize_mode": "crop,pad", "width": 700, "height": 600}, (700, 600)),
    ((854, 480), Fraction(1280, 1281), None, (854, 480)),  # 853.33
    ((351, 288), Fraction(12, 11), None, (382, 288)),  # 382.91
    ((321, 241), Fraction(1), None, (320, 240)),
]


@pytest.mark.parametrize(("stored", "aspect", "settings", "size"), SIZES)
def test_sizes_follow_from_what_is_seen(
    stored: tuple[int, int],
    aspect: Fraction,
    settings: dict[str, object] | None,
    size: tuple[int, int],
) -> None:
    """They are rounded once, from the exact size of the picture with square pixels."""
    filters = [] if settings is None else [ResolutionSubsampler.model_validate(settings)]
    made = FilterChain(filters, aspect, "yuv420p")(frame(0, "yuv420p", stored))
    assert (made.width, made.height) == size


@pytest.mark.parametrize("modes", list(itertools.permutations(("scale", "crop", "pad"))))
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_the_order_of_the_modes_changes_nothing(modes: tuple[str, ...], rotation: int) -> None:
    """All three give the asked size, with the number readable in the middle."""
    made = MadeVideo(
        scenes(0.08), (64, 96), rotation=rotation, audio=None, pixel_aspect=Fraction(4, 3)
    )
    stage = resolution(",".join(modes), width=160, height=120)
    chain = FilterChain([stage], Fraction(4, 3), "yuv420p")
    with av.open(io.BytesIO(made.data()), "r") as container:
        pictures = [chain(decoded).to_ndarray(format="gray") for decoded in container.decode()]
    assert {picture.shape for picture in pictures} == {(120, 160)}
    assert len({picture.tobytes() for picture in pictures}) == 2


@pytest.mark.parametrize(
    ("rotation", "size"), [(0, (192, 72)), (90, (48, 72)), (180, (192, 72)), (-90, (48, 72))]
)
def test_wide_pixels_are_made_square_as_they_are_seen(rotation: int, size: tuple[int, int]) -> None:
    """Those of a picture that lies on its side are tall ones of the picture that is seen."""
    stored = (64, 48) if rotation % 180 == 0 else (48, 64)
    data = MadeVideo(scenes(0.04), stored, rotation=rotation, audio=None).data()
    chain = FilterChain([resolution("scale", height=72)], Fraction(2), "yuv420p")
    with av.open(io.BytesIO(data), "r") as container:
        (made,) = (chain(decoded) for decoded in container.decode(video=0))
    assert (made.width, made.height) == size


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuva420p", "yuva444p10le", "rgba", "gray"],
)
@pytest.mark.parametrize("stored", [(160, 240), (161, 241)])
def test_wide_pixels_of_every_format(pixel_format: str, stored: tuple[int, int]) -> None:
    """However they are stored, the picture is seen whole, and as wide as it is."""
    chain = FilterChain([resolution("scale", height=120)], Fraction(2), "yuv420p")
    made = chain(frame(5, pixel_format, stored))
    assert (made.format.name, made.width, made.height) == ("yuv420p", 160, 120)
    assert read_number(made.to_ndarray(format="gray")) == 5


class _Noted:
    """A filter that changes nothing, and notes the sizes it is told."""

    def __init__(self) -> None:
        self.sizes: list[Size] = []

    def steps(self, size: Size) -> tuple[Size, Sequence[FilterStep]]:
        self.sizes.append(size)
        return size, ()


@given(
    st.builds(Size, st.integers(1, 300), st.integers(1, 300)),
    st.builds(Fraction, st.integers(1, 64), st.integers(1, 64)).filter(lambda aspect: aspect != 1),
    st.sampled_from(["scale", "crop", "pad", "crop,pad", "scale,crop", "scale,crop,pad"]),
    st.booleans(),
)
def test_one_scale_makes_pixels_square_and_sets_the_size(
    stored: Size, aspect: Fraction, modes: str, upscale: bool
) -> None:
    """It comes first, whatever is asked for; filters are told of whole pixels that are even."""
    noted, stage = _Noted(), resolution(modes, width=64, height=48, upscale=upscale)
    _, steps = filter_steps([stage, noted], stored, seen_size(stored, aspect))
    filter_steps([noted], stored, seen_size(stored, aspect))
    names = [step.name for step in steps]
    assert names[0] == "scale"
    assert names.count("scale") == 1
    assert all(isinstance(side, int) and side % 2 == 0 for size in noted.sizes for side in size)


@pytest.mark.parametrize("modes", ["crop", "pad", "crop,pad"])
def test_square_pixels_are_scaled_only_where_asked(modes: str) -> None:
    """Cropping and padding take a picture of square pixels as it is stored, odd or not."""
    stored = Size(321, 241)
    stage = resolution(modes, width=400, height=200)
    _, steps = filter_steps([stage], stored, seen_size(stored, Fraction(1)))
    assert [step.name for step in steps] == modes.split(",")
