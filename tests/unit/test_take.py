"""Tests of choosing a clip's frames and of encoding them."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncv2d.codecs import Encoder
from asyncv2d.encode import Timing
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import Span
from asyncv2d.mux import ClipFile
from asyncv2d.take import Studio, Take

MADE = MadeVideo(scenes(10), (48, 48))
FRAMES = [
    VideoFrame.from_ndarray(MADE.picture(number), "rgb24").reformat(format="yuv420p")
    for number in range(40)
]
EPSILON = 1e-3


def file_of(take: Take) -> io.BytesIO:
    """The finished clip as a file."""
    assert take.picture is not None
    data = ClipFile("mp4", take.picture).finish()
    assert data is not None
    return io.BytesIO(data)


def encoded(take: Take) -> list[tuple[int, float]]:
    """The number and the time of each frame in the finished file."""
    with av.open(file_of(take), "r") as container:
        return [
            (read_number(frame.to_ndarray(format="gray")), float(frame.time or 0))
            for frame in container.decode(video=0)
        ]


def studio(rate: Fraction | None) -> Studio:
    """What clips are made with that are all kept."""
    return Studio(Timing(rate, Fraction(25)), Encoder(), keeps=bool)


def unchanged(frame: VideoFrame) -> VideoFrame:
    """Frames are encoded as they are."""
    return frame


def played(span: Span, times: list[float], end: float, rate: Fraction | None) -> Take:
    """A take that was shown frame n at times[n]."""
    take = Take(span, studio(rate), unchanged)
    for frame, time in zip(FRAMES, times, strict=False):
        take.show(frame, time)
    assert take.finish(end)
    return take


steps = st.integers(1, 40).map(lambda hundredths: hundredths / 100)
rates = st.sampled_from(
    [Fraction(1), Fraction(5), Fraction(8), Fraction(10), Fraction(24000, 1001)]
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.lists(steps, min_size=1, max_size=20), rates)
def test_each_tick_shows_the_frame_that_is_on(
    start_hundredths: int, lengths: list[float], rate: Fraction
) -> None:
    """There are max(1, round(length × rate)) frames; each is the one on the screen at its tick."""
    start = start_hundredths / 100
    borders = [start, *itertools.accumulate(lengths, initial=start)][1:]
    times, end = borders[:-1], borders[-1]
    take = played(Span(start, float("inf")), times, end, rate)
    count = max(1, int((end - start) * float(rate) + 0.5 + 1e-4))
    assert take.frames == count
    assert take.duration == pytest.approx(count / float(rate))
    ticks = [start + number / float(rate) for number in range(count)]
    on_screen = [sum(time <= tick + EPSILON for time in times) - 1 for tick in ticks]
    earlier = [sum(time <= tick - EPSILON for time in times) - 1 for tick in ticks]
    shown = [number for number, _ in encoded(take)]
    assert len(shown) == count
    assert all(number in pair for number, *pair in zip(shown, on_screen, earlier, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 300), st.lists(steps, min_size=2, max_size=20))
def test_at_variable_rate_each_frame_keeps_its_time(
    start_hundredths: int, lengths: list[float]
) -> None:
    """Without a frame rate every frame comes once, at its own time from the span's start on."""
    start = start_hundredths / 100
    times = list(itertools.accumulate(lengths[:-1], initial=start))
    end = times[-1] + lengths[-1]
    take = played(Span(start, float("inf")), times, end, None)
    found = encoded(take)
    assert [number for number, _ in found] == list(range(len(times)))
    assert np.allclose([time for _, time in found], np.array(times) - start, atol=2e-4)
    assert take.duration == pytest.approx(end - start)


@pytest.mark.parametrize("rate", [None, Fraction(5)])
def test_a_late_first_frame_is_shown_from_the_start(rate: Fraction | None) -> None:
    """A frame that comes after the span's start fills the time before it, as the sound does."""
    take = played(Span(1, 3), [1.5, 2.0], 3.0, rate)
    times = dict(reversed(encoded(take)))
    assert times[0] == 0
    assert times[1] == pytest.approx(1.0, abs=EPSILON)
    assert take.duration == pytest.approx(2)
    assert take.real == Span(1.5, 3)


def test_a_take_that_saw_no_frame_says_so() -> None:
    """A clip without a frame is none."""
    assert not Take(Span(0, 1), studio(None), unchanged).finish(1)


@pytest.mark.parametrize("rate", [None, Fraction(25)])
def test_frames_a_hair_apart_are_no_trouble(rate: Fraction | None) -> None:
    """Times closer than the clip's clock can tell still give a file that plays."""
    take = played(Span(0, 1), [0, 1e-7, 2e-7, 0.5], 1.0, rate)
    assert len(encoded(take)) == take.frames


@pytest.mark.parametrize("colorspace", [1, 5])
def test_colours_keep_their_meaning(colorspace: int) -> None:
    """The file says which matrix its colours were made with, as the source did."""
    frame = VideoFrame(64, 48, "yuv420p")
    frame.colorspace = colorspace
    take = Take(Span(0, 1), studio(Fraction(5)), unchanged)
    take.show(frame, 0.0)
    assert take.finish(1.0)
    with av.open(file_of(take), "r") as container:
        assert {shown.colorspace for shown in container.decode(video=0)} == {colorspace}
