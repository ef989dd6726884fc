"""Tests of finding out, without decoding, which frames of a video have to be decoded."""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from itertools import product

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from asyncv2d.codecs import Encoder
from asyncv2d.frames import shown_frames
from asyncv2d.index import Choice, Effort, PacketIndex, choose, read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import Picture
from asyncv2d.probe import Media, from_start, open_media
from asyncv2d.types import Blob, Processed, Sample

FRAMES = 48
GROUP = 12
X264 = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:threads=1:b-adapt=0:ref=4"
X265 = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:b-adapt=0:log-level=none:pools=1"
# How the pictures of each video refer to each other: an encoder and its parameters.
STRUCTURES = {
    "h264, forward only": ("libx264", f"{X264}:bframes=0"),
    "h264, b-frames nobody refers to": ("libx264", f"{X264}:bframes=2:b-pyramid=none"),
    "h264, b-pyramid": ("libx264", f"{X264}:bframes=3:b-pyramid=normal"),
    "h264, b-frames over the border": ("libx264", f"{X264}:bframes=3:open-gop=1"),
    "h264, one group": ("libx264", "keyint=999:scenecut=0:threads=1:bframes=3"),
    "h264, keyframes only": ("libx264", "keyint=1:threads=1"),
    "hevc, b-pyramid": ("libx265", f"{X265}:bframes=3:open-gop=0"),
    "hevc, b-frames over the border": ("libx265", f"{X265}:bframes=3:open-gop=1"),
}
REFRESHED = {
    "h264, intra refresh": ("libx264", f"keyint={GROUP}:intra-refresh=1:threads=1:bframes=0"),
    "h264, intra refresh and b-frames": (
        "libx264",
        f"keyint={GROUP}:intra-refresh=1:threads=1:bframes=2",
    ),
}
SOURCES = [
    *((structure, container) for structure in STRUCTURES for container in ("mp4", "matroska")),
    ("h264, b-pyramid", "mpegts"),
    ("h264, b-frames over the border", "mpegts"),
]
times = st.floats(-0.5, FRAMES / 25 + 1)


@cache
def texture() -> Picture:
    """What the video moves over: nothing of it can be guessed from another place."""
    noise = np.random.default_rng(3).integers(0, 255, (96, 128, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (5, 5), 0), np.uint8)


@cache
def encoded(structure: str, container: str) -> bytes:
    """A video whose every frame shows another part of the texture."""
    codec, parameters = {**STRUCTURES, **REFRESHED}[structure]
    options = {"preset": "veryfast", codec.removeprefix("lib") + "-params": parameters}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(FRAMES):
            part = np.roll(texture(), (number, 3 * number), (0, 1))[:48, :64]
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(part), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def decoded(media: Media, choice: Choice | None) -> dict[float, NDArray[np.uint8]]:
    """The pixels of the frames that come out, by their times."""
    assert media.video is not None
    with from_start(media, media.video) as container:
        shown = shown_frames(
            media, container, None if choice is None else choice.efforts(lambda *_: True)
        )
        return {time: frame.to_ndarray().astype(np.uint8, copy=False) for frame, time, _ in shown}


@cache
def whole(data: bytes) -> Mapping[float, NDArray[np.uint8]]:
    """All frames of a video."""
    with open_media(Blob.of(data)) as media:
        return decoded(media, None)


def chosen(media: Media, wanted: list[float]) -> Choice:
    """The choice for a video for which there is one."""
    assert media.probe.video is not None
    choice = choose(read_index(media), media.probe.video.codec, np.array(wanted))
    assert choice is not None
    return choice


def check(data: bytes, wanted: list[float]) -> int:
    """Decode what is chosen and compare; the number of frames that were decoded."""
    everything = whole(data)
    stamps = list(everything)
    on_screen = {stamps[max(0, bisect_right(stamps, time) - 1)] for time in wanted}
    with open_media(Blob.of(data)) as media:
        choice = chosen(media, wanted)
        found = decoded(media, choice)
        count = media.counter.frames
    assert choice.needed == on_screen
    assert on_screen <= found.keys()
    assert all(np.array_equal(found[time], everything[time]) for time in found)
    return count


@pytest.mark.parametrize(("structure", "container"), SOURCES)
@settings(max_examples=15, deadline=None)
@given(st.lists(times, min_size=1, max_size=5))
def test_what_is_wanted_looks_as_in_a_full_decode(
    structure: str, container: str, wanted: list[float]
) -> None:
    """Frames on screen at wanted times all come out; every frame that does has its own pixels."""
    check(encoded(structure, container), wanted)


@settings(max_examples=15, deadline=None)
@given(st.lists(times, min_size=1, max_size=5))
def test_uneven_times_are_no_trouble(wanted: list[float]) -> None:
    """The same holds where frames stay on the screen for unequal times."""
    check(uneven_file(), wanted)


@cache
def uneven_file() -> bytes:
    """A video of varying frame rate with B-frames."""
    return MadeVideo(scenes(1, 1), (64, 48), uneven=True, b_frames=3, audio=None).data()


@pytest.mark.parametrize("b_frames", [0, 2])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=3))
def test_what_an_edit_list_hides_is_not_chosen(b_frames: int, wanted: list[float]) -> None:
    """Frames before the place where a file says that it begins are never what is on the screen."""
    with open_media(Blob.of(trimmed_file(b_frames))) as media:
        assert np.isnan(read_index(media).times).any()
    check(trimmed_file(b_frames), wanted)


@cache
def trimmed_file(b_frames: int) -> bytes:
    """A video whose edit list begins 15 frames after its first one."""
    data = bytearray(MadeVideo(scenes(2), (64, 48), audio=None, b_frames=b_frames).data())
    with open_media(Blob.of(bytes(data))) as media:
        assert media.video is not None
        one_frame = round(1 / 25 / (media.video.time_base or 1))
    entry = data.index(b"elst") + 12
    _, media_time, rate = struct.unpack(">IiI", data[entry : entry + 12])
    data[entry : entry + 12] = struct.pack(">IiI", 1000, media_time + 15 * one_frame, rate)
    return bytes(data)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize(
    ("structure", "number", "most"),
    [
        ("h264, forward only", 24, 1),
        ("h264, forward only", 35, 12),
        ("h264, b-frames nobody refers to", 35, 7),
        ("h264, b-frames over the border", 26, 6),
        ("h264, keyframes only", 40, 1),
        ("hevc, b-pyramid", 24, 1),
    ],
)
def test_only_what_a_frame_refers_to_is_decoded(
    structure: str, container: str, number: int, most: int
) -> None:
    """For one frame, decoding begins at its keyframe and leaves out what nothing refers to."""
    count = check(encoded(structure, container), [number / 25 + 0.01])
    assert count <= most


def test_nothing_wanted_is_nothing_decoded() -> None:
    """Where no time is wanted every packet is skipped."""
    with open_media(Blob.of(uneven_file())) as media:
        assert set(chosen(media, []).efforts(lambda *_: True)) == {Effort.SKIP}


def index_of(times_of_packets: list[float], keyframes: list[bool]) -> PacketIndex:
    """An index that was not read from a file."""
    sizes = np.ones(len(keyframes), np.int64)
    return PacketIndex(np.array(times_of_packets), np.array(keyframes, np.bool_), sizes, 1.0)


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1", "mpeg4", "theora"])
def test_codecs_whose_frames_cannot_be_left_out_are_decoded_whole(codec: str) -> None:
    """Only for H.264 and HEVC are decoders known to skip what no frame refers to."""
    index = index_of([0, 0.1], [True, False])
    assert choose(index, "h264", np.array([0.1])) is not None
    assert choose(index, codec, np.array([0.1])) is None


@pytest.mark.parametrize(
    ("packet_times", "keyframes"),
    [
        ([0, 0.1, 0.1], [True, False, False]),
        ([0, 0.1, 0.2], [False, True, False]),
        ([float("nan")] * 3, [True, False, False]),
        ([], []),
    ],
    ids=["two at one time", "no keyframe first", "no times", "no packets"],
)
def test_what_cannot_be_told_is_not_chosen(
    packet_times: list[float], keyframes: list[bool]
) -> None:
    """An index that does not say when each frame is shown, or where to begin, gives no choice."""
    assert choose(index_of(packet_times, keyframes), "h264", np.array([0.1])) is None


def test_a_vp9_video_is_not_chosen_from() -> None:
    """The codec's name in a real file is the one that decides."""
    video = MadeVideo(scenes(0.4), (64, 48), codec="libvpx-vp9", audio=None, container="webm")
    with open_media(Blob.of(video.data())) as media:
        assert media.probe.video is not None
        assert choose(read_index(media), media.probe.video.codec, np.array([0.1])) is None


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_an_index_is_read_in_decoding_order(container: str, b_frames: int) -> None:
    """There is a time for every packet; sorted they are the frames', and the last one's end."""
    made = MadeVideo(scenes(1), (64, 48), b_frames=b_frames, container=container, audio=None)
    with open_media(Blob.of(made.data())) as media:
        index = read_index(media)
    assert np.allclose(index.shown, made.frame_times, atol=2e-3)
    assert (np.diff(index.times) < 0).any() == bool(b_frames)
    assert np.allclose(index.keyframe_times, made.frame_times[::GROUP], atol=2e-3)
    assert index.end == pytest.approx(made.duration, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "b_frames"),
    [*product(["libx264", "mpeg4", "mpeg2video"], [0, 2]), ("mjpeg", 0)],
)
def test_frames_in_avi_come_as_early_as_they_were_put_there(codec: str, b_frames: int) -> None:
    """FFmpeg says that some are shown later, as if all had B-frames; index and frames do not."""
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    made = MadeVideo(scenes(1), codec=codec, b_frames=b_frames, audio="pcm_s16le", container="avi")
    with open_media(Blob.of(replace(made, pixel_format=pixels).data())) as media:
        index = read_index(media)
        with from_start(media, media.video) as container:
            found = [
                (time, read_number(frame.to_ndarray(format="gray")), frame.key_frame)
                for frame, time, _ in shown_frames(media, container)
            ]
    times, numbers, are_keyframes = zip(*found, strict=True)
    assert times == pytest.approx(made.frame_times)
    assert numbers == tuple(range(len(numbers)))
    assert tuple(index.shown) == times
    assert index.keyframe_times == [
        time for time, key in zip(times, are_keyframes, strict=True) if key
    ]
    assert index.end == pytest.approx(made.duration)


def test_sound_alone_has_an_index_of_its_packets() -> None:
    """Without a picture the end is that of the sound."""
    with open_media(Blob.of(MadeVideo(scenes(1), codec=None).data())) as media:
        index = read_index(media)
    assert index.end == pytest.approx(1.0, abs=0.05)
    assert len(index.shown) == pytest.approx(48000 / 1024, abs=2)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "flv"])
@pytest.mark.parametrize(
    ("structure", "count"),
    [
        ("h264, intra refresh", 1),
        ("h264, intra refresh and b-frames", 1),
        ("h264, b-frames over the border", FRAMES // GROUP),
    ],
)
def test_keyframes_are_those_that_can_be_decoded_alone(
    structure: str, count: int, container: str
) -> None:
    """Not those from which on pictures become right bit by bit; both are marked in the file."""
    data = encoded(structure, container)
    with av.open(io.BytesIO(data), "r") as file:
        assert sum(packet.is_keyframe for packet in file.demux(video=0) if packet.size) > 3
    with open_media(Blob.of(data)) as media:
        index = read_index(media)
    assert len(index.keyframe_times) == index.keyframes.sum() == count
    assert index.keyframe_times[0] == index.shown[0]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize("structure", REFRESHED)
def test_a_place_to_begin_that_leans_on_what_was_before_is_none(
    structure: str, container: str, run: Callable[..., Processed]
) -> None:
    """Frames of a video without real keyframes look as where everything is decoded."""
    data = encoded(structure, container)
    everything = np.array([frame for _, frame in sorted(whole(data).items())])[:, :48]
    jobs = {"Frame": {"frame_rate": 5}}
    lossless = Encoder(crf=0, preset="ultrafast")
    for sample in run(data, jobs, [[0.6, 1.4], [0.08, 0.88], [1.48, 9]], encoder=lossless).samples:
        start = sample.meta["receipt"]["asked"][0]
        found = luma(sample)
        ticks = start + np.arange(len(found)) / 5 + 1e-3
        first = min(whole(data))
        places = np.floor((ticks - first) * 25).astype(int)
        assert np.array_equal(found, everything[places])


def luma(sample: Sample) -> NDArray[np.uint8]:
    """The brightness of all frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return np.array([frame.to_ndarray()[:48] for frame in container.decode(video=0)])
