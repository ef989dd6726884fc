"""Tests of leaving frames out that only repeat others while cuts are looked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from asyncv2d.index import read_index
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.probe import open_media
from asyncv2d.repeats import find_repeats
from asyncv2d.types import Blob, Processed

Run = Callable[..., Processed]
SIZE = (640, 360)
CUTS = {"CutDetection": {"cuts_are_clips": True}}
CLIPS = {**CUTS, "Frame": {"frame_rate": 5}, "Resolution": {"height": 90, "resize_mode": "scale"}}


def slides(*seconds: float, flash: int | None = None) -> bytes:
    """Still pictures of these lengths at 30 frames a second; frame ``flash`` is white."""
    buffer, number = io.BytesIO(), 0
    generator = np.random.default_rng(2)
    with av.open(buffer, "w", format="mp4") as output:
        options = {"x264-params": "bframes=3:b-adapt=0:threads=1:keyint=90:scenecut=0"}
        stream = output.add_stream("libx264", rate=30, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for length in seconds:
            picture = _slide(generator)
            for _ in range(round(length * 30)):
                shown = np.full_like(picture, 255) if number == flash else picture
                frame = VideoFrame.from_ndarray(shown, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                output.mux(stream.encode(frame))
                number += 1
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _slide(generator: np.random.Generator) -> NDArray[np.uint8]:
    blocks = generator.integers(0, 255, (SIZE[1] // 40, SIZE[0] // 40, 3), np.uint8)
    return np.ascontiguousarray(np.kron(blocks, np.ones((40, 40, 1), np.uint8)))


def decoded(processed: Processed) -> int:
    """How many frames were decoded."""
    return int(processed.facts["frames_decoded"])


def test_a_still_picture_is_decoded_in_part_only(run: Run) -> None:
    """Slides of two seconds: their cuts are found at their frames with far fewer decoded."""
    done = run(slides(2, 2, 2), CUTS)
    assert done.samples[0].meta["cuts"]["cuts_original_fps"] == [[0, 60], [60, 120], [120, 180]]
    assert decoded(done) < 120


def test_clips_are_the_same_as_from_a_full_decode(run: Run) -> None:
    """What is shown at each tick is decoded, so the clips' pictures are the very same."""
    data = slides(2, 1.3, 2.2)
    done = run(data, CLIPS)
    whole = run(data, {**CLIPS, "CutDetection": {"cuts_are_clips": True, "framerates": [10]}})
    assert decoded(done) < decoded(whole) == 165
    assert [clip.parts["mp4"].read() for clip in done.samples] == [
        clip.parts["mp4"].read() for clip in whole.samples
    ]


@pytest.mark.parametrize("flash", range(31, 35))
def test_a_flash_is_not_missed(flash: int, run: Run) -> None:
    """A single frame unlike the others is seen, whatever place it has in its group."""
    data = slides(3, flash=flash)
    (sample,) = run(data, {"CutDetection": {"min_scene_len": 1}}).samples
    starts = [start for start, _ in sample.meta["cuts"]["cuts_original_fps"]]
    assert starts == [0, flash, flash + 1]


@pytest.mark.parametrize(
    "video",
    [
        MadeVideo(scenes(2), (64, 48), b_frames=2),
        MadeVideo(scenes(2), codec="libvpx-vp9", audio="libopus", container="webm"),
    ],
    ids=["much detail for its size", "a codec whose frames cannot be left out"],
)
def test_other_videos_are_decoded_whole(video: MadeVideo, run: Run) -> None:
    """Where it cannot be told, or is not worth while, nothing is left out."""
    assert decoded(run(video.data(), CUTS)) == len(video.frame_times)


@pytest.mark.parametrize("args", [{"framerates": [10]}, {"detector": "hash"}])
def test_detectors_that_need_every_frame_get_it(args: dict[str, Any], run: Run) -> None:
    """Only the comparison of neighbours can do without frames that repeat them."""
    assert decoded(run(slides(2), {"CutDetection": args})) == 60


def test_a_needed_frame_is_never_left_out() -> None:
    """Everything that a clip asks for is decoded."""
    with open_media(Blob.of(slides(1))) as media:
        assert media.probe.video is not None
        repeats = find_repeats(read_index(media), media.probe.video)
        assert repeats is not None
        efforts = list(repeats.efforts(lambda start, end: start <= 0.5 < end))
        assert len(efforts) == 30
        left_out = [time for time in repeats.times if time in repeats.left_out]
    assert left_out
    assert not any(time <= 0.5 < time + 1 / 30 for time in left_out)


def test_the_whole_of_a_still_video_can_be_one_clip(run: Run) -> None:
    """Where the clip is the whole video, its end is not known before the last frame."""
    jobs = {"CutDetection": {}, "Frame": {"frame_rate": 5}}
    (sample,) = run(slides(2, 1), jobs).samples
    assert sample.meta["receipt"]["frames"] == 15
