"""Tests of decoding a video stream: its frames in order, each with the time it is shown."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncv2d.frames import shown_frames
from asyncv2d.index import choose, read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.probe import Media, from_start, open_media
from asyncv2d.types import Blob, Cause, ItemError

FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
Frames = list[tuple[int, float, float]]


def seen(media: Media, efforts: Sequence[int] | None = None) -> Frames:
    """The number of each frame, and from when to when it is shown."""
    assert media.video is not None
    with from_start(media, media.video) as container:
        return [
            (read_number(frame.to_ndarray(format="gray")), time, end)
            for frame, time, end in shown_frames(media, container, efforts)
        ]


def seen_in(data: bytes) -> Frames:
    """The same for a whole file."""
    with open_media(Blob.of(data)) as media:
        return seen(media)


def kept_of(data: bytes) -> tuple[Frames, list[str]]:
    """The same for a damaged file that is to be used, and what is noted of the damage."""
    with open_media(Blob.of(data), keep_damaged=True) as media:
        return seen(media), media.damage


def error_of(data: bytes) -> ItemError:
    """The error of a damaged file that is not to be used."""
    with open_media(Blob.of(data)) as media, pytest.raises(ItemError) as caught:
        seen(media)
    return caught.value


def at_times(ticks: Sequence[int], container: str = "matroska", length: int = 40) -> bytes:
    """A video whose frame n, which has number n, comes at ``ticks[n]`` milliseconds.

    ``length`` is how many the last one lasts.
    """
    made, buffer = MadeVideo(scenes(60), (64, 48)), io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency", "g": "4"}
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, tick in enumerate(ticks):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.duration = length
                output.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_each_frame_comes_at_its_own_time(container: str, lengths: list[int]) -> None:
    """However unequal the times are, frames come in order, each at the time in the file."""
    ticks = list(itertools.accumulate(lengths, initial=0))
    found = seen_in(at_times(ticks, container))
    assert [number for number, _, _ in found] == list(range(len(ticks)))
    assert np.allclose([time for _, time, _ in found], np.array(ticks) / 1000, atol=1e-6)
    assert all(end > time for _, time, end in found)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_without_a_time_follow_each_other(b_frames: int) -> None:
    """In a bare stream, which has no times, frames come one usual length after the other."""
    made = MadeVideo(scenes(1), (64, 48), audio=None, container="h264", b_frames=b_frames)
    found = seen_in(made.data())
    assert np.allclose(found, [(n, n / 25, (n + 1) / 25) for n in range(25)])


def test_a_time_that_does_not_advance_is_replaced() -> None:
    """Frames that a coarse clock puts at one time come after each other, and none is lost."""
    rate = Fraction(3000)  # Matroska counts in milliseconds
    made = MadeVideo(scenes(0.02), (64, 48), audio=None, container="matroska", rate=rate)
    found = seen_in(made.data())
    times = [time for _, time, _ in found]
    assert [number for number, _, _ in found] == list(range(60))
    assert np.allclose(times, made.frame_times, atol=1.1e-3)
    assert (np.diff(times) > 0).all()


def test_the_last_frame_has_an_end() -> None:
    """The last frame lasts as long as the file says."""
    for length in (40, 700):
        found = seen_in(at_times([0, 40, 80], "mp4", length))
        assert found[-1][2] == pytest.approx((80 + length) / 1000)


JUMP = [0, 40, 80, 80 + 700_000, 120 + 700_000]


def test_a_clock_that_jumps_is_damage() -> None:
    """A still picture of more than ten minutes is none: the file is corrupt."""
    error = error_of(at_times(JUMP))
    assert error.cause is Cause.CORRUPT
    assert "0.08 to 700.08 s" in error.detail


def test_frames_before_a_jump_can_be_kept() -> None:
    """A job that keeps damaged files gets them, and the damage is noted."""
    found, damage = kept_of(at_times(JUMP))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert len(damage) == 1
    assert "jumps" in damage[0]


def test_a_long_still_picture_is_shown_to_its_end() -> None:
    """A gap of less than ten minutes is a picture that stands still."""
    found = seen_in(at_times([0, 500_000]))
    assert [time for _, time, _ in found] == [0, 500]


def test_what_is_left_out_is_no_jump() -> None:
    """Where only some frames are decoded, hours may lie between two of them."""
    data = at_times([500_000 * number for number in range(8)])
    with open_media(Blob.of(data)) as media:
        choice = choose(read_index(media), "h264", np.array([0.0, 3500.0]))
        assert choice is not None
        found = {number: time for number, time, _ in seen(media, choice.efforts(lambda *_: True))}
    assert (found[0], found[7]) == (0, 3500)


def damaged_at(share: float) -> bytes:
    """A video of 50 frames whose pictures are unreadable from a share of the file on."""
    data = bytearray(MadeVideo(scenes(2), (64, 48), audio=None).data())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    place = round(begin + share * (end - begin))
    data[place:end] = b"\xff" * (end - place)
    return bytes(data)


def test_unreadable_pictures_are_corrupt() -> None:
    """A file of full length that cannot be decoded on says after how many frames."""
    error = error_of(damaged_at(0.5))
    assert error.cause is Cause.CORRUPT
    assert "frames" in error.detail


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_frames_before_unreadable_ones_can_be_kept(share: float) -> None:
    """The frames before the damage are the right ones, in order; at its border one may suffer."""
    found, damage = kept_of(damaged_at(share))
    numbers = [number for number, _, _ in found]
    whole = len(numbers) - 1
    assert numbers[:whole] == list(range(whole))
    assert 50 * share - 12 < whole < 50 * share + 12
    assert len(damage) == 1


def half(made: MadeVideo) -> bytes:
    """The first half of a file."""
    data = made.data()
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    "made",
    [
        MadeVideo(scenes(2), (64, 48), audio=None, container="matroska"),
        MadeVideo(scenes(2), (64, 48), audio=None, options=FRAGMENTED),
        MadeVideo(scenes(2), (160, 120), audio=None, container="avi", codec="mpeg4"),
    ],
    ids=["matroska", "fragmented mp4", "avi"],
)
def test_the_first_half_of_a_file_has_its_frames(made: MadeVideo) -> None:
    """What is there of a file that lost its end can be decoded, and is known to be truncated."""
    with open_media(Blob.of(half(made)), keep_damaged=True) as media:
        assert media.truncated
        numbers = [number for number, _, _ in seen(media)]
    whole = len(numbers) - 1
    assert 10 < whole < 40
    assert numbers[:whole] == list(range(whole))


def test_a_file_can_be_decoded_again(two_scenes_file: bytes) -> None:
    """A second decode of the same open file gives the same frames, also after a partial one."""
    with open_media(Blob.of(two_scenes_file)) as media:
        first = seen(media)
        choice = choose(read_index(media), "h264", np.array([3.0]))
        assert choice is not None
        assert 75 in [number for number, _, _ in seen(media, choice.efforts(lambda *_: True))]
        assert seen(media) == first


def test_decoded_frames_are_counted(two_scenes_file: bytes) -> None:
    """The counter of a file adds up over all decodes."""
    with open_media(Blob.of(two_scenes_file)) as media:
        seen(media)
        seen(media)
        assert media.counter.frames == 200
