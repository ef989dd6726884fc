"""Tests of FFProbeSubsampler."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.types import Processed

Run = Callable[..., Processed]


def test_headers_are_added_to_the_facts(two_scenes_file: bytes, run: Run) -> None:
    """The sample's JSON has the headers in ffprobe's words and no list of keyframes."""
    (sample,) = run(two_scenes_file, {"FFProbe": {}}).samples
    metadata = sample.meta["video_metadata"]
    assert [stream["codec_type"] for stream in metadata["streams"]] == ["video", "audio"]
    assert "keyframe_timestamps" not in metadata


def test_keyframes_are_listed_on_request(
    two_scenes: MadeVideo, two_scenes_file: bytes, run: Run
) -> None:
    """extract_keyframes lists the keyframes' times and, last, the duration."""
    (sample,) = run(two_scenes_file, {"FFProbe": {"extract_keyframes": True}}).samples
    *keyframes, end = sample.meta["video_metadata"]["keyframe_timestamps"]
    assert np.allclose(keyframes, two_scenes.frame_times[::12], atol=1e-3)
    assert abs(end - two_scenes.duration) < 0.05


def test_a_picture_says_how_it_is_stored(run: Run) -> None:
    """Colours, reordering, level and disposition have ffprobe's names and words."""
    data = MadeVideo(scenes(1), b_frames=2, pixel_format="yuvj420p").data()
    (sample,) = run(data, {"FFProbe": {}}).samples
    picture = sample.meta["video_metadata"]["streams"][0]
    assert picture["color_range"] == "pc"
    assert picture["has_b_frames"] == 2
    assert picture["level"] >= 10
    assert picture["disposition"]["default"] == 1
    assert picture["disposition"]["attached_pic"] == 0


def test_subtitles_are_named(two_scenes_file: bytes, run: Run) -> None:
    """As pictures and sound are, though nothing here decodes them."""
    text = io.BytesIO(b"1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(two_scenes_file), "r") as video,
        av.open(text, "r", format="srt") as words,
        av.open(file, "w", format="matroska") as output,
    ):
        sources = [(video, video.streams.video[0]), (words, words.streams[0])]
        copies = [output.add_stream_from_template(stream) for _, stream in sources]
        for (container, stream), copy in zip(sources, copies, strict=True):
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    output.mux(packet)
    (sample,) = run(file.getvalue(), {"FFProbe": {}}).samples
    names = [stream.get("codec_name") for stream in sample.meta["video_metadata"]["streams"]]
    assert names == ["h264", "subrip"]
