"""Tests of the small picture that cut detection compares."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.small_view import SmallViews

MADE = MadeVideo(scenes(1, 1), (320, 240))


def frame(number: int, pixel_format: str, size: tuple[int, int] = (320, 240)) -> VideoFrame:
    """One frame of the made video in some storage format."""
    made = VideoFrame.from_ndarray(MADE.picture(number), "rgb24")
    made = made.reformat(*size, pixel_format, interpolation="AREA")
    made.pts, made.time_base = number, Fraction(1, 25)
    return made


def opencv_view(shown: VideoFrame, width: int) -> np.ndarray:
    """What PySceneDetect does: convert the whole frame, then shrink it by a whole factor."""
    factor = shown.width // width
    size = round(shown.width / factor), round(shown.height / factor)
    whole = shown.to_ndarray(format="bgr24")
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize(
    "pixel_format",
    [
        *("yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuvj420p", "yuva420p", "yuv410p", "yuv411p"),
        *("yuv420p10le", "yuv422p10le", "yuv444p12le", "nv12", "rgb24", "gray", "yuyv422"),
    ],
)
@pytest.mark.parametrize("size", [(320, 240), (322, 182), (641, 361)])
def test_small_view_is_close_to_opencv(pixel_format: str, size: tuple[int, int]) -> None:
    """The small picture is nearly the one that the thresholds of cut detection were chosen with."""
    shown = frame(30, pixel_format, size)
    ours, theirs = SmallViews()(shown).shrunk(64), opencv_view(shown, 64)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 3


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p"])
@pytest.mark.parametrize("size", [(320, 240), (322, 182), (64, 36)])
def test_the_usual_formats_give_the_very_pixels(pixel_format: str, size: tuple[int, int]) -> None:
    """Where colour is stored halved, every pixel but for rounding is OpenCV's."""
    shown = frame(30, pixel_format, size)
    ours, theirs = SmallViews()(shown).shrunk(64), opencv_view(shown, 64)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((640, 360), (256, 144)), ((360, 640), (144, 256)), ((258, 200), (256, 198)), ((96, 64),) * 2],
)
def test_a_fitted_view(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Has the size that PySceneDetect gives it by itself, and the very pixels."""
    shown = frame(30, "yuv420p", size)
    whole = shown.to_ndarray(format="bgr24")
    theirs = cv2.resize(whole, wanted, interpolation=cv2.INTER_LINEAR)
    assert np.abs(SmallViews()(shown).fitted(256).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj420p", "yuv444p", "yuv420p10le", "nv12", "rgb24", "gray"]
)
def test_the_rough_picture_is_of_the_same_size_and_look(pixel_format: str) -> None:
    """Single pixels give a picture like the other one, on the whole."""
    view = SmallViews()(frame(30, pixel_format, (642, 360)))
    rough, fine = view.sampled(64), view.shrunk(64)
    assert rough.shape == fine.shape
    assert np.abs(rough.mean(axis=(0, 1)) - fine.mean(axis=(0, 1))).max() < 4


def test_a_small_frame_is_its_own_view() -> None:
    """A frame no wider than asked is not scaled."""
    assert SmallViews()(frame(0, "yuv420p", (64, 36))).shrunk(64).shape == (36, 64, 3)


def test_views_of_one_video_have_one_size() -> None:
    """A frame of another size in the middle is brought to the size of the first view."""
    views = SmallViews()
    shapes = {
        views(frame(0, "yuv420p", size)).shrunk(64).shape
        for size in [(320, 240), (640, 360), (64, 64)]
    }
    assert shapes == {(48, 64, 3)}
