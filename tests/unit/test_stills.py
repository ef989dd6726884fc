"""Tests of taking images of single frames."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import ImageFormat, Span
from asyncv2d.stills import STILL_ROUNDING, StillTake, encode_image
from asyncv2d.types import Cause, ItemError

MADE = MadeVideo(scenes(1, 1), (64, 48))
FRAMES = [VideoFrame.from_ndarray(MADE.picture(number), "rgb24") for number in range(50)]
FORMATS: list[ImageFormat] = ["jpg", "png", "webp"]
END = 10.0


def image(data: bytes) -> NDArray[np.uint8]:
    """The pixels (BGR) of an image file."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def taken(moments: list[float], times: list[float], end: float = END) -> StillTake:
    """A take that was shown frame n at ``times[n]``."""
    take = StillTake(Span(0, float("inf")), moments, lambda frame: frame, "png")
    for frame, time in zip(FRAMES, times, strict=False):
        take.show(frame, time)
    assert take.finish(end) == bool(take.images)
    return take


def numbers(take: StillTake) -> list[tuple[float, int]]:
    """The moment and the frame's number of each image."""
    return [(moment, read_number(image(data))) for moment, data in take.images]


hundredths = st.integers(0, 900).map(lambda number: number / 100)
lengths = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(hundredths, min_size=1, max_size=6), lengths)
def test_an_image_shows_what_is_on_the_screen(moments: list[float], steps: list[int]) -> None:
    """There is one image for each moment before the end, of the frame that is seen then."""
    times = [time / 100 for time in itertools.accumulate(steps, initial=0)]
    moments.sort()
    on_screen = [sum(time <= moment + STILL_ROUNDING for time in times) - 1 for moment in moments]
    assert numbers(taken(moments, times)) == list(zip(moments, on_screen, strict=True))


def test_a_moment_just_before_a_frame_means_that_frame() -> None:
    """Times that were rounded down still mean the frame that they were taken from."""
    assert numbers(taken([0.3333], [0, 1 / 3])) == [(0.3333, 1)]
    assert numbers(taken([0.33], [0, 1 / 3])) == [(0.33, 0)]


def test_a_moment_before_the_first_frame_shows_the_first_frame() -> None:
    """Where nothing is on the screen yet, it is the first that comes."""
    assert numbers(taken([0.0, 0.7], [0.5, 0.8])) == [(0.0, 0), (0.7, 0)]


def test_moments_after_the_end_give_no_image() -> None:
    """The end of the clip is outside of it."""
    assert numbers(taken([1.0, 2.0, 3.0], [0.0], end=2.0)) == [(1.0, 0)]


def test_a_take_without_an_image_says_so() -> None:
    """Neither a clip without frames nor one without moments gives anything."""
    assert not taken([1.0], []).images
    assert not taken([], [0.0]).images
    assert not taken([5.0], [0.0], end=2.0).images


def test_the_span_ends_where_it_really_did() -> None:
    """A take that began without knowing its end has it afterwards."""
    assert taken([0.0], [0.0], end=2.5).span == Span(0, 2.5)


def test_only_frames_that_are_taken_are_looked_at() -> None:
    """The view of a frame is made for images only, and once for all moments of that frame."""
    viewed: list[VideoFrame] = []

    def view(frame: VideoFrame) -> VideoFrame:
        viewed.append(frame)
        return frame

    take = StillTake(Span(0, 4), [1.0, 1.1, 1.2, 3.0], view, "png")
    for second in range(4):
        take.show(FRAMES[second], second)
    take.finish(4)
    assert viewed == [FRAMES[1], FRAMES[3]]


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_image_is_of_its_format(image_format: ImageFormat) -> None:
    """The bytes begin as the format's do, and show the frame in its colours."""
    begins = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}
    data = encode_image(FRAMES[30], image_format)
    assert data.startswith(begins[image_format])
    assert (b"WEBP" in data[:16]) == (image_format == "webp")
    difference = np.abs(image(data)[:, :, ::-1].astype(int) - MADE.picture(30).astype(int))
    assert difference.mean() < 6
    assert image_format != "png" or not difference.any()


@pytest.mark.parametrize(("image_format", "longest"), [("jpg", 65_500), ("webp", 16_383)])
def test_an_image_may_be_too_large_for_its_format(image_format: ImageFormat, longest: int) -> None:
    """Then that is said; PNG takes what others do not."""
    wide, wider = (VideoFrame(longest + more, 2, "bgr24") for more in (0, 1))
    assert encode_image(wide, image_format)
    assert encode_image(wider, "png")
    with pytest.raises(ItemError, match=f"{image_format}: {longest + 1} × 2") as caught:
        encode_image(wider, image_format)
    assert caught.value.cause is Cause.CANNOT_ENCODE
