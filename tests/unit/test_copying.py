"""Tests of cutting clips by copying packets."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Cause, ItemError, Processed, Sample

Run = Callable[..., Processed]
STEP = 12 / 25  # a keyframe every 12 frames
SOURCES = {
    "mp4": MadeVideo(scenes(3, 3)),
    "b-frames": MadeVideo(scenes(3, 3), b_frames=2),
    "matroska": MadeVideo(scenes(3, 3), b_frames=2, container="matroska"),
    "vp9": MadeVideo(scenes(3, 3), codec="libvpx-vp9", audio="libopus", container="webm"),
    "mpegts": MadeVideo(scenes(3, 3), b_frames=2, container="mpegts"),
    "clock-at-10-s": MadeVideo(scenes(3, 3), b_frames=2, start=10.0, audio=None),
    "avi": MadeVideo(scenes(3, 3), codec="mpeg4", audio="pcm_s16le", container="avi"),
}


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def clipping(precision: str, **args: Any) -> dict[str, dict[str, Any]]:
    """A job that only cuts."""
    return {"Clipping": {"precision": precision, **args}}


@pytest.mark.parametrize("name", SOURCES)
def test_keyframe_adjusted_stays_inside_the_span(name: str, run: Run) -> None:
    """A clip begins and ends at keyframes inside its span, and holds every frame between them."""
    (sample,) = run(SOURCES[name].data(), clipping("keyframe_adjusted"), [[0.9, 3.1]]).samples
    assert numbers(sample) == list(range(24, 72))
    receipt = sample.meta["receipt"]
    assert (receipt["frames"], receipt["precision"]) == (48, "keyframe_adjusted")
    assert receipt["real"] == pytest.approx((2 * STEP, 6 * STEP), abs=0.03)


@pytest.mark.parametrize("name", SOURCES)
def test_low_begins_at_the_keyframe_before(name: str, run: Run) -> None:
    """With low precision a clip begins at the keyframe before its span and holds nothing after it.

    It may end a few frames early, where those refer to one that comes after the span.
    """
    (sample,) = run(SOURCES[name].data(), clipping("low"), [[1.1, 3.1]]).samples
    found = numbers(sample)
    assert found == list(range(24, 24 + len(found)))
    assert 75 <= found[-1] <= 77
    assert len(found) == sample.meta["receipt"]["frames"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_last_clip_reaches_the_end(name: str, run: Run) -> None:
    """A span that ends with the video loses nothing, though no keyframe comes there."""
    (sample,) = run(SOURCES[name].data(), clipping("keyframe_adjusted"), [[4.7, 99]]).samples
    assert numbers(sample) == list(range(120, 150))


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted"])
def test_copying_changes_no_picture(precision: str, run: Run) -> None:
    """The packets of a clip are those of the source."""
    source = SOURCES["mp4"]
    (sample,) = run(source.data(), clipping(precision), [[0, 99]]).samples

    def packets(data: bytes) -> list[bytes]:
        with av.open(io.BytesIO(data), "r") as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(sample.parts["mp4"].read()) == packets(source.data())


def beginning_late(data: bytes, seconds: float) -> bytes:
    """The file with an edit list that hides what comes before so many seconds, as of a cut copy."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(file, "w", format="mp4") as target:
        picture = source.streams.video[0]
        assert picture.time_base is not None
        stream = target.add_stream_from_template(picture, opaque=True)
        for packet in source.demux(picture):
            if packet.pts is not None and packet.dts is not None:
                packet.pts -= round(seconds / picture.time_base)
                packet.dts -= round(seconds / picture.time_base)
                packet.stream = stream
                target.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    ("precision", "span", "first", "last"),
    [
        ("low", [0, 1.0], 5, 29),
        ("low", [0.1, 0.2], 5, 9),
        ("low", [0.6, 1.0], 12, 29),
        ("keyframe_adjusted", [0, 1.3], 5, 35),
        ("keyframe_adjusted", [0.1, 1.3], 12, 35),
        ("exact", [0, 1.0], 5, 29),
    ],
)
def test_a_file_whose_first_keyframe_is_hidden(
    precision: str, span: list[float], first: int, last: int, b_frames: int, run: Run
) -> None:
    """Loses nothing of its beginning, and shows nothing that was hidden."""
    source = MadeVideo(scenes(3), b_frames=b_frames, audio=None).data()
    data = beginning_late(source, 5 / 25)
    (sample,) = run(data, clipping(precision), [span]).samples
    found = numbers(sample)
    assert found == list(range(first, first + len(found)))
    assert last - b_frames <= found[-1] <= last
    receipt = sample.meta["receipt"]
    assert receipt["frames"] == len(found)
    assert receipt["real"][0] == pytest.approx((first - 5) / 25, abs=0.002)


@pytest.mark.parametrize(("pixel_format", "is_kept"), [("yuv444p", True), ("yuv420p", False)])
def test_the_note_of_what_made_a_video(pixel_format: str, is_kept: bool, run: Run) -> None:
    """Goes with every copied part of those whose decoding may depend on it."""
    source = MadeVideo(scenes(3), pixel_format=pixel_format, audio=None).data()
    assert source.count(b"x264 - core") == 1
    for sample in run(source, clipping("low"), [[0, 0.4], [1.1, 2]]).samples[not is_kept :]:
        assert sample.parts["mp4"].read().count(b"x264 - core") == is_kept
        found = numbers(sample)
        assert found == list(range(found[0], found[0] + len(found)))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libvpx-vp9"])
@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted"])
def test_keyframes_are_known_without_their_table(codec: str, precision: str, run: Run) -> None:
    """MP4 says that every frame is a keyframe where it has none; their own packets know better."""
    data = MadeVideo(scenes(3), codec=codec, audio=None).data()
    assert data.count(b"stss") == 1
    (sample,) = run(data.replace(b"stss", b"free"), clipping(precision), [[0.6, 2.0]]).samples
    first = 12 if precision == "low" else 24
    assert numbers(sample) == list(range(first, 50 if precision == "low" else 48))
    assert sample.meta["receipt"]["real"][0] == pytest.approx(first / 25)


def test_a_slow_video_ends_where_its_keyframes_do(run: Run) -> None:
    """That less than a frame is missing to its end does not mean that the end is wanted."""
    source = MadeVideo(scenes(24), rate=Fraction(1), keyframe_interval=4, audio=None)
    (sample,) = run(source.data(), clipping("keyframe_adjusted"), [[0, 23.3]]).samples
    assert sample.meta["receipt"]["real"] == (0, 20)


def test_a_span_between_keyframes_gives_no_clip(run: Run) -> None:
    """Where no group of pictures lies inside the span there is nothing to copy."""
    with pytest.raises(ItemError) as caught:
        run(SOURCES["mp4"].data(), clipping("keyframe_adjusted"), [[1.0, 1.4]])
    assert caught.value.cause is Cause.NO_CLIPS


def test_a_clip_shrunk_below_min_length_is_dropped(run: Run) -> None:
    """What is left between keyframes has to be longer than min_length too."""
    with pytest.raises(ItemError) as caught:
        run(SOURCES["mp4"].data(), clipping("keyframe_adjusted", min_length=1.5), [[0.1, 1.95]])
    assert caught.value.cause is Cause.NO_CLIPS


def test_scenes_are_copied_at_keyframes(run: Run) -> None:
    """Cut detection with copied clips decodes to find cuts, but encodes nothing."""
    jobs = {"CutDetection": {"cuts_are_clips": True}, **clipping("keyframe_adjusted")}
    samples = run(MadeVideo(scenes(2.4, 2.4)).data(), jobs).samples
    assert [numbers(sample) for sample in samples] == [list(range(60)), list(range(60, 120))]


def test_sound_alone_can_be_cut(run: Run) -> None:
    """A file without a picture gives clips of sound."""
    data = MadeVideo(scenes(2), codec=None).data()
    (sample,) = run(data, clipping("low"), [[0.5, 1.5]], {"audio": "m4a"}).samples
    with av.open(io.BytesIO(sample.parts["m4a"].read()), "r") as container:
        length = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert length == pytest.approx(1.0, abs=0.05)


def test_a_codec_that_mp4_does_not_take_is_encoded(run: Run) -> None:
    """A clip that cannot be copied into MP4 is encoded, cut exactly, and its receipt says so."""
    data = MadeVideo(scenes(2), codec="libvpx", audio=None, container="webm").data()
    (sample,) = run(data, clipping("low"), [[0.5, 1.5]]).samples
    assert sample.meta["receipt"]["precision"] == "exact"
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) == 25


def test_what_cannot_be_played_is_not_handed_out(run: Run) -> None:
    """Copying looks at no picture, so each clip is tried before it is handed out."""
    data = bytearray(MadeVideo(scenes(1), audio=None, keyframe_interval=99).data())
    begin = data.index(b"mdat") + 4
    data[begin : begin + 20_000] = b"\xff" * len(data[begin : begin + 20_000])
    with pytest.raises(ItemError) as caught:
        run(bytes(data), clipping("low"), [[0, 1]])
    assert caught.value.cause is Cause.CORRUPT


def test_a_truncated_file_is_not_copied(run: Run) -> None:
    """Nothing is cut from a file that lost its end, though nothing is decoded."""
    data = SOURCES["matroska"].data()
    with pytest.raises(ItemError) as caught:
        run(data[:-500], clipping("low"), [[0, 1]])
    assert caught.value.cause is Cause.TRUNCATED


REORDERED = {
    f"{b_frames} b-frames in {container}": MadeVideo(
        *(scenes(3, 1), (64, 48)), b_frames=b_frames, container=container, audio=None
    )
    for b_frames in (2, 3)
    for container in ("mp4", "matroska", "mpegts")
}


@cache
def reordered(name: str) -> bytes:
    """The file of a video with B-frames."""
    return REORDERED[name].data()


BETWEEN = [[0, 1.1], [1.1, 3.1], [1.0, 2.0], [0.96, 1.92], [2.5, 99], [1.02, 1.03], [0, 0.02]]


@pytest.mark.parametrize("name", REORDERED)
@pytest.mark.parametrize("span", BETWEEN, ids=str)
def test_low_ends_where_the_span_does_but_for_b_frames(
    name: str, span: list[float], run: Run
) -> None:
    """A copy has no hole, and ends no more frames from its span's end than are reordered."""
    made = REORDERED[name]
    (sample,) = run(reordered(name), clipping("low"), [span]).samples
    found = numbers(sample)
    first = int(span[0] / STEP + 1e-6) * 12
    last = min(math.ceil(span[1] * 25 - 1e-6), 100) - 1
    assert found == list(range(first, first + len(found)))
    assert found[-1] <= last
    assert found[-1] >= min(last, max(first, last - made.b_frames))


@pytest.mark.parametrize("name", REORDERED)
@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted"])
def test_the_receipt_of_a_copy_is_what_is_in_the_file(name: str, precision: str, run: Run) -> None:
    """Frames, begin, end and length in the receipt are those of the file's frames."""
    spans = [[0, 1.1], [1.1, 3.1], [0.9, 2.0], [2.3, 99]]
    for sample in run(reordered(name), clipping(precision), spans).samples:
        receipt, data = sample.meta["receipt"], sample.parts["mp4"].read()
        found = numbers(sample)
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            length = float((stream.duration or 0) * (stream.time_base or 1))
            times = [frame.time or 0.0 for frame in container.decode(stream)]
        assert receipt["frames"] == len(found)
        assert receipt["real"] == pytest.approx((found[0] / 25, (found[-1] + 1) / 25), abs=2e-3)
        assert receipt["duration"] == pytest.approx(length, abs=2e-3)
        assert np.allclose(times, (np.array(found) - found[0]) / 25, atol=2e-3)


@pytest.mark.parametrize("audio", ["aac", None])
def test_lengths_that_the_source_has_wrong_do_not_matter(audio: str | None, run: Run) -> None:
    """A frame is shown until the next one comes, though its packet says that it lasts 1 ms."""
    made, buffer = MadeVideo(scenes(3), (64, 48), b_frames=2, audio=audio), io.BytesIO()
    with (
        av.open(io.BytesIO(made.data()), "r") as source,
        av.open(buffer, "w", format="matroska") as target,
    ):
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.duration, packet.stream = 1, streams[packet.stream_index]
                target.mux(packet)
    for span in ([0, 1], [1.1, 2.2], [1, 99]):
        (sample,) = run(buffer.getvalue(), clipping("low"), [span]).samples
        found, receipt = numbers(sample), sample.meta["receipt"]
        with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
            stream = container.streams.video[0]
            length = float((stream.duration or 0) * (stream.time_base or 1))
        assert receipt["duration"] == pytest.approx(length, abs=2e-3)
        assert length == pytest.approx(len(found) / 25, abs=0.04)


def test_the_receipt_of_a_copy_ends_where_its_clock_can_say(run: Run) -> None:
    """An end between two ticks of a coarse clock is rounded in the file, and in the receipt too."""
    coarse = (("video_track_timescale", "25"),)
    made = MadeVideo(scenes(3), (64, 48), uneven=True, audio=None, options=coarse)
    spans = [[0, end] for end in (0.61, 1.11, 1.25, 1.39)]
    for sample in run(made.data(), clipping("low"), spans).samples:
        receipt = sample.meta["receipt"]
        with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
            stream = container.streams.video[0]
            length = float((stream.duration or 0) * (stream.time_base or 1))
        assert receipt["duration"] == pytest.approx(length, abs=1e-4)
        assert receipt["real"] == pytest.approx((0, length), abs=1e-4)


@pytest.mark.parametrize("audio", ["aac", None])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_of_the_same_time_are_copied(b_frames: int, audio: str | None, run: Run) -> None:
    """They have that time in the copy, too, and come in their order."""
    made, buffer = MadeVideo(scenes(3), (64, 48), b_frames=b_frames, audio=audio), io.BytesIO()
    with (
        av.open(io.BytesIO(made.data()), "r") as source,
        av.open(buffer, "w", format="matroska") as target,
    ):
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.pts is not None and packet.stream.type == "video":
                number = round(packet.pts * packet.time_base * 25)
                packet.pts -= number % 5 // 4 * round(1 / 25 / packet.time_base)
                packet.dts = packet.dts if b_frames else packet.pts
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    (sample,) = run(buffer.getvalue(), clipping("low"), [[0, 99]]).samples
    assert numbers(sample) == list(range(75))
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        times = [frame.time or 0.0 for frame in container.decode(video=0)]
    assert np.allclose(times, [(number - number % 5 // 4) / 25 for number in range(75)], atol=2e-3)


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_span_before_the_first_picture_gives_no_clip(
    precision: str, b_frames: int, run: Run
) -> None:
    """Where the picture begins later than the sound, there is nothing to see before it."""
    data = MadeVideo(scenes(2), (64, 48), video_delay=1.0, b_frames=b_frames).data()
    with pytest.raises(ItemError) as caught:
        run(data, clipping(precision), [[0.1, 0.6]])
    assert caught.value.cause is Cause.NO_CLIPS
    (sample,) = run(data, clipping(precision), [[0.1, 0.6], [0.9, 2.0]]).samples
    assert numbers(sample)[0] == 0


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("b_frames", [0, 1, 2, 3])
@pytest.mark.parametrize("precision", ["low", "exact"])
def test_frames_in_avi_come_in_order(codec: str, b_frames: int, precision: str, run: Run) -> None:
    """AVI says when frames are decoded, not when they are shown; clips have them evenly spaced."""
    made = MadeVideo(
        *(scenes(1, 1), (64, 48)),
        codec=codec,
        b_frames=b_frames,
        audio="pcm_s16le",
        container="avi",
    )
    (sample,) = run(made.data(), clipping(precision), [[0.48, 1.6]]).samples
    found = numbers(sample)
    assert found == list(range(found[0], found[0] + len(found)))
    assert found[0] in ((11, 12) if precision == "exact" or b_frames else (0, 11, 12))
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        times = [frame.time or 0.0 for frame in container.decode(video=0)]
    assert np.allclose(times, np.arange(len(found)) / 25, atol=1e-3)
    assert len(found) == sample.meta["receipt"]["frames"]
    assert len(found) == pytest.approx(28, abs=1 if precision == "exact" else 13)


@cache
def refreshed(container: str, b_frames: int) -> bytes:
    """Six seconds with keyframes at 0 and 2.4 s, and marked places to begin at every 0.48 s."""
    made, buffer = MadeVideo(scenes(3, 3), (160, 96), audio=None), io.BytesIO()
    parameters = f"intra-refresh=1:keyint=12:threads=1:repeat-headers=1:bframes={b_frames}"
    options = {"preset": "veryfast", "forced-idr": "1", "x264-params": parameters}
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream("libx264", rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(len(made.frame_times)):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            if number == 60:
                frame.pict_type = PictureType.I
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    ("precision", "span", "first"),
    [
        ("low", [1.5, 2.3], 0),
        ("low", [2.0, 3.6], 0),
        ("low", [3.5, 4.5], 60),
        ("low", [4.5, 99], 60),
        ("keyframe_adjusted", [0, 3.5], 0),
        ("keyframe_adjusted", [0.5, 99], 60),
    ],
)
def test_with_intra_refresh_copies_begin_at_real_keyframes(
    precision: str, span: list[float], first: int, container: str, b_frames: int, run: Run
) -> None:
    """Every frame of the receipt can be seen, from the first one on."""
    data = refreshed(container, b_frames)
    (sample,) = run(data, clipping(precision), [span]).samples
    found, receipt = numbers(sample), sample.meta["receipt"]
    last = 59 if span == [0, 3.5] else min(149, math.ceil(span[1] * 25 - 1e-6) - 1)
    assert found == list(range(first, first + len(found)))
    assert last - b_frames <= found[-1] <= last
    assert receipt["frames"] == len(found)
    assert receipt["real"] == pytest.approx((first / 25, (found[-1] + 1) / 25), abs=3e-2)


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_with_intra_refresh_there_may_be_no_keyframe_inside(container: str, run: Run) -> None:
    """Then nothing is copied from between them."""
    with pytest.raises(ItemError) as caught:
        run(refreshed(container, 0), clipping("keyframe_adjusted"), [[0.1, 2.3], [2.5, 4.5]])
    assert caught.value.cause is Cause.NO_CLIPS


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted"])
def test_without_any_keyframe_clips_are_encoded(precision: str, run: Run) -> None:
    """A recording that begins between keyframes is cut exactly, and the receipt says so."""
    data, first = recorded_from(refreshed("mpegts", 0), 70)
    (sample,) = run(data, clipping(precision), [[1.0, 2.0]]).samples
    found = numbers(sample)
    assert sample.meta["receipt"]["precision"] == "exact"
    assert found == list(range(first + 25, first + 50))


def recorded_from(data: bytes, number: int) -> tuple[bytes, int]:
    """A transport stream from the tables before this picture on, and the first picture in it."""
    starts = [
        place
        for place in range(0, len(data), 188)
        if data[place + 1] & 0x5F == 0x41 and data[place + 2] == 0  # a PES packet begins, PID 0x100
    ]
    begin = data.rindex(b"\x47\x40\x11", 0, starts[number])
    return data[begin:], sum(start < begin for start in starts)


UNTIMED = {
    "none": MadeVideo(scenes(3, 3), b_frames=2, audio=None, container="h264"),
    "some": MadeVideo(scenes(3, 3), b_frames=2, audio=None, container="vob"),
}


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
@pytest.mark.parametrize("name", UNTIMED)
def test_packets_that_do_not_say_when_they_are_shown(name: str, precision: str, run: Run) -> None:
    """Lose no picture: such a video is decoded, and its clips are encoded."""
    (sample,) = run(UNTIMED[name].data(), clipping(precision), [[1.0, 3.0]]).samples
    found = numbers(sample)
    assert len(found) == sample.meta["receipt"]["frames"] == 50
    assert found == list(range(found[0], found[0] + 50))
    assert found[0] in (24, 25)


@pytest.mark.parametrize("name", UNTIMED)
def test_images_of_such_a_video(name: str, run: Run) -> None:
    """Are those of their times."""
    for method in (
        {"downsample_method": "uniform", "n_frames": 6},
        {"downsample_method": "keyframe"},
    ):
        images = run(UNTIMED[name].data(), {"Frame": {**method, "encode_format": "png"}}).samples
        shown = [image.meta["frame_time"] for image in images]
        assert len(shown) == 6 if "n_frames" in method else len(shown) > 6
        assert shown == sorted(set(shown))
        assert shown[-1] == pytest.approx(5.5, abs=0.4)


def test_the_aspect_that_the_container_says(run: Run) -> None:
    """Is a copy's too, whatever the coding of its pictures says."""
    file, aspect = io.BytesIO(), Fraction(64, 45)
    made = MadeVideo(scenes(2), audio=None).data()
    with av.open(io.BytesIO(made), "r") as source, av.open(file, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.codec_context.sample_aspect_ratio = aspect
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    (sample,) = run(file.getvalue(), clipping("low"), [[0.5, 1.5]]).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as clip:
        assert clip.streams.video[0].sample_aspect_ratio == aspect


def test_hevc_is_called_what_all_players_know(run: Run) -> None:
    """``hvc1``; the muxer itself would say ``hev1``."""
    made = MadeVideo(scenes(2), codec="libx265", audio=None)
    (sample,) = run(made.data(), clipping("low"), [[0, 1]]).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as clip:
        assert clip.streams.video[0].codec_tag == "hvc1"


def test_a_last_frame_that_stays_for_long(run: Run) -> None:
    """Ends with the span of a copied clip, and so does its sound."""
    file = io.BytesIO()
    made = MadeVideo(scenes(6)).data()
    with av.open(io.BytesIO(made), "r") as source, av.open(file, "w", format="mp4") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            time = float((packet.pts or 0) * packet.time_base)
            if packet.size and not (packet.stream.type == "video" and 2 < time < 5.7):
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    (sample,) = run(file.getvalue(), clipping("low"), [[0, 3]]).samples
    assert sample.meta["receipt"]["real"] == pytest.approx((0, 3), abs=0.01)
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as clip:
        for stream in clip.streams:
            assert float((stream.duration or 0) * (stream.time_base or 1)) < 3.1
