"""Tests of the small picture that cut detection compares."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.small_view import SmallView

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
    ours, theirs = SmallView(64)(shown), opencv_view(shown, 64)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_a_small_frame_is_its_own_view() -> None:
    """A frame no wider than asked is not scaled."""
    assert SmallView(64)(frame(0, "yuv420p", (64, 36))).shape == (36, 64, 3)


def test_views_of_one_video_have_one_size() -> None:
    """A frame of another size in the middle is brought to the size of the first view."""
    view = SmallView(64)
    shapes = {view(frame(0, "yuv420p", size)).shape for size in [(320, 240), (640, 360), (64, 64)]}
    assert shapes == {(48, 64, 3)}
