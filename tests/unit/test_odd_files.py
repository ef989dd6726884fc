"""Tests of files whose headers mislead: torn ones, RGB without a tag, clocks and lengths."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

import asyncv2d
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Body

EXACT: Mapping[str, Any] = {"ClippingSubsampler": {"args": {"precision": "exact"}}}
SMALL: Mapping[str, Any] = {
    "ResolutionSubsampler": {"video_size": 32, "resize_mode": "scale,crop,pad"}
}


def numbers(body: Body) -> list[int]:
    """The numbers of a clip's frames."""
    with av.open(io.BytesIO(body.read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("length_known", [False, True])
def test_a_transport_stream_that_ends_within_a_packet(codec: str, length_known: bool) -> None:
    """A file that is no multiple of 188 bytes has lost its end, though its demuxer does not say."""
    options = (("omit_video_pes_length", "0" if length_known else "1"),)
    made = MadeVideo(
        scenes(1), (320, 240), codec=codec, container="mpegts", audio=None, options=options
    )
    data = made.data()
    pictures = [
        place
        for place in range(0, len(data), 188)
        if data[place + 1] & 0x5F == 0x41 and data[place + 2] == 0  # a PES packet begins, PID 0x100
    ]
    torn = data[: pictures[19] + 188 + 90]  # in the middle of picture 19's second packet
    with pytest.raises(asyncv2d.ItemError) as caught:
        asyncv2d.process(torn, SMALL)
    assert caught.value.cause is asyncv2d.Cause.TRUNCATED


def test_flv_with_mp3_that_ends_within_its_sound() -> None:
    """Tags say how long they are, so sound that is cut off is noticed too."""
    made = MadeVideo(
        scenes(1), (64, 48), codec="flv", container="flv", audio="libmp3lame", sample_rate=44100
    )
    data, place, ends = made.data(), 13, []
    while place + 11 < len(data):
        size = int.from_bytes(data[place + 1 : place + 4], "big")
        if data[place] == 8:
            ends.append(place + 11 + size // 2)
        place += 11 + size + 4
    with pytest.raises(asyncv2d.ItemError) as caught:
        asyncv2d.process(data[: ends[20]], SMALL)
    assert caught.value.cause is asyncv2d.Cause.TRUNCATED


def test_flv_that_ends_within_a_tags_header() -> None:
    """So is a file that ends in the 11 bytes before a packet."""
    data, place, places = MadeVideo(scenes(1), (64, 48), container="flv", audio=None).data(), 13, []
    while place + 11 < len(data):
        places.append(place)
        place += 11 + int.from_bytes(data[place + 1 : place + 4], "big") + 4
    with pytest.raises(asyncv2d.ItemError) as caught:
        asyncv2d.process(data[: places[15] + 5], SMALL)
    assert caught.value.cause is asyncv2d.Cause.TRUNCATED


@pytest.mark.parametrize(
    ("codec", "container", "pixel_format"),
    [
        ("qtrle", "mov", "rgb24"),
        ("ffv1", "matroska", "bgr0"),
        ("ffv1", "matroska", "gbrp10le"),
        ("utvideo", "avi", "gbrp"),
        ("huffyuv", "avi", "rgb24"),
    ],
)
def test_rgb_is_told_by_its_format(codec: str, container: str, pixel_format: str) -> None:
    """Many decoders do not mark RGB as such; the clip has its colours and a tag all the same."""
    pixels, buffer = np.full((48, 64, 3), (30, 180, 60), np.uint8), io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number in range(4):
            frame = VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    storage = {"encoder": {"crf": 1, "pixel_format": "yuv444p"}}
    (sample,) = asyncv2d.process(buffer.getvalue(), EXACT, clips=[[0, 9]], storage=storage).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
        shown = next(file.decode(video=0))
    assert (shown.colorspace, shown.color_range) == (1, 1)
    back = shown.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
    assert np.abs(back.astype(int) - pixels).mean() < 2


@pytest.mark.parametrize("codec", ["qtrle", "rawvideo"])
@pytest.mark.parametrize(
    "job",
    [
        {**EXACT, "CutDetectionSubsampler": {"cuts_are_clips": True, "args": {}}},
        {"FrameSubsampler": {"downsample_method": "first_frame", "encode_format": "png"}},
    ],
)
def test_a_palette_that_comes_once_is_kept(job: Mapping[str, Any], codec: str) -> None:
    """MOV gives a palette with its first packet only, and pictures without one would be black."""
    made = MadeVideo(
        scenes(0.4), (64, 48), codec=codec, pixel_format="gray", container="mov", audio=None
    )
    (sample,) = asyncv2d.process(made.data(), job).samples
    with av.open(io.BytesIO(next(iter(sample.parts.values())).read()), "r") as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    grays = [made.picture(number) @ (0.299, 0.587, 0.114) for number in range(len(pictures))]
    means = [gray.mean() for gray in grays]
    assert [picture.mean() for picture in pictures] == pytest.approx(means, abs=2)
    assert [read_number(picture) for picture in pictures] == list(range(len(pictures)))


TICKS = [0, 40, 3000, 3040, 7000, 7040, 9000, 11500]


@pytest.fixture(scope="module")
def own_clip() -> bytes:
    """A clip of asyncv2d's own making: variable rate, B-frames, lasts 11.5 s by its headers."""
    made, buffer = MadeVideo(scenes(60), (64, 48)), io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate=25, options={"bf": "0", "preset": "ultrafast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        packets: list[Packet[Any]] = []
        for number, tick in enumerate(TICKS[:-1]):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            packets += stream.encode(frame)
        lengths = {a: b - a for a, b in itertools.pairwise(TICKS)}
        for packet in [*packets, *stream.encode(None)]:
            packet.duration = lengths[packet.pts or 0]
            output.mux(packet)
    (sample,) = asyncv2d.process(buffer.getvalue(), EXACT, clips=[[0, 99]]).samples
    data = sample.parts["mp4"].read()
    with av.open(io.BytesIO(data), "r") as file:
        assert file.duration == 11_500_000
    return data


@pytest.mark.parametrize(
    "job",
    [
        EXACT,  # 12.96 s
        {"FrameSubsampler": {"frame_rate": 2}},  # 13 s: 26 frames in place of 23
        {"FrameSubsampler": {"frame_rate": 2}, "CutDetectionSubsampler": {"args": {}}},  # 13 s
    ],
)
def test_an_mp4_of_variable_rate_with_b_frames_ends_with_its_track(
    job: Mapping[str, Any], own_clip: bytes
) -> None:
    """In MP4 a packet lasts until the next one to be decoded, but the track says how long it is."""
    (sample,) = asyncv2d.process(own_clip, job, clips=[[0, 99]]).samples
    assert sample.meta["receipt"]["duration"] == pytest.approx(11.5, abs=0.02)


@pytest.mark.parametrize("audio", [None, "aac"])
def test_a_clock_that_begins_less_than_a_second_before_zero(audio: str | None) -> None:
    """A clock that wraps soon after the beginning loses nothing: there is no priming."""
    made = MadeVideo(scenes(3), (64, 48), container="mpegts", start=95443.2, audio=audio)
    job = {"FrameSubsampler": {"frame_rate": 25}}
    (sample,) = asyncv2d.process(made.data(), job).samples
    assert numbers(sample.parts["mp4"])[0] == 0
    assert sample.meta["receipt"]["duration"] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("codec", "audio"), [("libx264", "aac"), ("libvpx", "libopus")])
def test_matroska_that_begins_before_zero(codec: str, audio: str) -> None:
    """Its index does not lead to the pictures of negative times, but they are there."""
    made = MadeVideo(
        *(scenes(3), (64, 48)),
        codec=codec,
        audio=audio,
        container="matroska",
        start=-1.4,
        options=(("avoid_negative_ts", "disabled"),),
    )
    job = {"ResolutionSubsampler": {"height": 96, "resize_mode": "scale"}}
    (sample,) = asyncv2d.process(made.data(), job).samples
    assert numbers(sample.parts["mp4"]) == list(range(75))
    assert sample.meta["receipt"]["duration"] == pytest.approx(3, abs=0.05)
