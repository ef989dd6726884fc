"""Tests of when pictures end: in MP4 files that say too little or too much, and beside stills."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

import asyncv2d
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Sample

JOBS: Mapping[str, Mapping[str, Any]] = {
    "exact": {"ClippingSubsampler": {"args": {"precision": "exact"}}},
    "low": {"ClippingSubsampler": {"args": {"precision": "low"}}},
    "frame rate": {"FrameSubsampler": {"frame_rate": 25}},
    "cuts": {
        "CutDetectionSubsampler": {"cuts_are_clips": True, "args": {}},
        "ClippingSubsampler": {"args": {"precision": "exact"}},
    },
}
FRAGMENTED = (("movflags", "empty_moov+default_base_moof+frag_keyframe"),)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of an MP4 file, by their names."""
    place = 0
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        yield name, data[place : place + size]
        place += size


def without_fragments(data: bytes, count: int) -> bytes:
    """A fragmented file without its first ones, as of a player that joins a stream late."""
    kept, left = [], count
    for name, box in boxes(data):
        left -= name == b"moof"
        if name not in (b"moof", b"mdat") or left < 0:
            kept.append(box)
    return b"".join(kept)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_fragments_from_the_middle_of_a_video(b_frames: int, job: str) -> None:
    """They are as long as they are, though the track counts from the beginning of the video."""
    made = MadeVideo(
        *(scenes(6), (64, 48)),
        keyframe_interval=25,
        b_frames=b_frames,
        audio=None,
        options=FRAGMENTED,
    )
    data = without_fragments(made.data(), 2)
    clips = None if job == "cuts" else [[0, 99]]
    (sample,) = asyncv2d.process(data, JOBS[job], clips=clips).samples
    receipt = sample.meta["receipt"]
    assert receipt["frames"] == 100
    assert receipt["duration"] == pytest.approx(4, abs=0.01)


def shown_at(ticks: Sequence[int]) -> bytes:
    """Frames at these times in 1/25 s, in an MP4 file with B-frames."""
    made, buffer = MadeVideo(scenes(60), (64, 48)), io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        options = {"bf": "2", "preset": "ultrafast", "x264-params": "b-adapt=0:scenecut=0"}
        stream = output.add_stream("libx264", rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for number, tick in enumerate(ticks):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base, frame.duration = tick, Fraction(1, 25), 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("job", ["exact", "low", "frame rate"])
@pytest.mark.parametrize("count", [3, 5])
def test_a_still_before_the_last_frames_does_not_prolong_them(count: int, job: str) -> None:
    """With B-frames packets have the lengths of others, and the track that of its decoding.

    Where that is over before the last frame comes, it is shown for no longer than is usual.
    """
    ticks = [*range(50), *range(200, 200 + 4 * count, 4)]
    (sample,) = asyncv2d.process(shown_at(ticks), JOBS[job], clips=[[0, 99]]).samples
    last, usual = ticks[-1] / 25, ticks[-1] / 25 / len(ticks)
    assert last < sample.meta["receipt"]["real"][1] < last + usual + 0.05


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def test_a_clip_of_a_still_shows_the_still() -> None:
    """Also where that needs the frame after it, so that nothing of the span could be copied."""
    data = shown_at([*range(15), *range(125, 150)])
    spans = [[0, 0.5], [1.1, 3.6], [0.4, 4.0], [5.2, 5.6]]
    samples = asyncv2d.process(data, JOBS["low"], clips=spans).samples
    receipts = [sample.meta["receipt"] for sample in samples]
    assert [receipt["asked"] for receipt in receipts] == sorted(map(tuple, spans))
    assert [receipt["precision"] for receipt in receipts] == ["low", "exact", "exact", "low"]
    assert [numbers(sample)[-1] for sample in samples[1:3]] == [14, 14]
    assert numbers(samples[2]) == [14]
    assert receipts[2]["real"] == pytest.approx((1.1, 3.6), abs=0.01)
