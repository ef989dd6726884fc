"""Tests of CutDetectionSubsampler without args: the cuts that a row has already."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest

from asyncv2d.config import build
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.task import Task
from asyncv2d.types import Blob, Cause, ItemError, Sample
from asyncv2d.work import process

CUTS = {"original_fps": 25.0, "cuts_original_fps": [[0, 20], [20, 80], [80, 100]]}
ENCODED = {"ClippingSubsampler": {"args": {"precision": "exact"}}}


@pytest.fixture(scope="module")
def data() -> bytes:
    """A video of one scene: what is cut can only come from the row."""
    return MadeVideo(scenes(4), (64, 48)).data()


def made(
    data: bytes,
    folder: Path,
    cuts: Any,
    others: dict[str, Any] | None = None,
    clips: Any = None,
    **beside: Any,
) -> Sequence[Sample]:
    """The samples of a video whose row has ``cuts``; ``beside`` stands where args would."""
    named = {"CutDetectionSubsampler": {"cuts_are_clips": True, **beside}}
    plan = build({"subsampling": {**named, **(ENCODED if others is None else others)}}).plan()
    metadata = {"cuts": cuts, "clips": clips}
    return process(Task("00007", Blob.of(data), metadata, plan, folder)).samples


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("as_text", [False, True])
def test_each_scene_of_the_row_is_a_clip(as_text: bool, data: bytes, tmp_path: Path) -> None:
    """Clips hold exactly the frames between the cuts, which may be given as JSON text."""
    samples = made(data, tmp_path, json.dumps(CUTS) if as_text else CUTS)
    assert [numbers(sample) for sample in samples] == [
        list(range(20)),
        list(range(20, 80)),
        list(range(80, 100)),
    ]
    assert [sample.key for sample in samples] == [f"00007_0000{n}" for n in range(3)]
    assert [sample.meta["clips"] for sample in samples] == [
        [[0, 0.8]],
        [[0.8, 3.2]],
        [[3.2, 4.0]],
    ]


UNEVEN = MadeVideo(scenes(2, 2), (64, 48), uneven=True)
LATE = MadeVideo(scenes(2, 2), (64, 48), video_delay=0.4)


@pytest.mark.parametrize("video", [UNEVEN, LATE])
def test_frames_are_counted_and_not_their_time(video: MadeVideo, tmp_path: Path) -> None:
    """Where they do not come evenly, or late, the scenes that were found are found again."""
    found = made(video.data(), tmp_path, None, {**ENCODED}, args={})
    again = made(video.data(), tmp_path, found[0].meta["cuts"])
    assert [sample.meta["clips"] for sample in again] == [s.meta["clips"] for s in found]
    assert [numbers(sample) for sample in again] == [numbers(sample) for sample in found]
    assert len(again) == 2


def test_scenes_past_the_end(data: bytes, tmp_path: Path) -> None:
    """Are none, and one that goes on beyond it ends with the video."""
    cuts = {"original_fps": 25.0, "cuts_original_fps": [[50, 150], [150, 200]]}
    (sample,) = made(data, tmp_path, cuts)
    assert numbers(sample) == list(range(50, 100))


def test_cuts_at_another_rate_mean_the_same_times(data: bytes, tmp_path: Path) -> None:
    """Frames are counted at the rate that stands beside them, not at that of this file."""
    cuts = {"original_fps": 12.5, "cuts_original_fps": [[0, 10], [10, 40]]}
    samples = made(data, tmp_path, cuts)
    assert [numbers(sample) for sample in samples] == [list(range(20)), list(range(20, 80))]


def test_only_the_longest_scene_on_request(data: bytes, tmp_path: Path) -> None:
    """With mode longest there is one clip."""
    args = {"source": "metadata", "cut_detection_mode": "longest"}
    (sample,) = made(data, tmp_path, CUTS, args=args)
    assert numbers(sample) == list(range(20, 80))


def test_scenes_are_cut_to_allowed_lengths(data: bytes, tmp_path: Path) -> None:
    """The clipper does with these scenes what it does with those that are found."""
    args = {"precision": "exact", "min_length": 0.9, "max_length": 1.0}
    samples = made(data, tmp_path, CUTS, {"ClippingSubsampler": {"args": args}})
    assert [numbers(sample) for sample in samples] == [list(range(20, 45)), list(range(45, 70))]


def test_clips_are_copied_where_nothing_else_is_asked_for(data: bytes, tmp_path: Path) -> None:
    """Known cuts need no decoding: clips are copied from keyframe to keyframe."""
    args = {"ClippingSubsampler": {"args": {"precision": "keyframe_adjusted"}}}
    samples = made(data, tmp_path, CUTS, args)
    assert [numbers(sample) for sample in samples] == [
        list(range(12)),
        list(range(24, 72)),
        list(range(84, 100)),
    ]
    assert {sample.meta["receipt"]["precision"] for sample in samples} == {"keyframe_adjusted"}


def test_cuts_stand_above_clips(data: bytes, tmp_path: Path) -> None:
    """A row that has both is cut at its cuts, since the job says that cuts are clips."""
    samples = made(data, tmp_path, CUTS, clips=[[1, 2]])
    assert len(samples) == 3


def test_cuts_that_are_no_clips_change_nothing(data: bytes, tmp_path: Path) -> None:
    """Where cuts are not clips the row's clips count, or else the whole video."""
    args = {"source": "metadata"}
    (whole,) = made(data, tmp_path, CUTS, cuts_are_clips=False, args=args)
    assert whole.parts["mp4"].read() == data
    (clip,) = made(data, tmp_path, CUTS, clips=[[1, 2]], cuts_are_clips=False, args=args)
    assert numbers(clip) == list(range(25, 50))


@pytest.mark.parametrize(
    "cuts", [None, "none", 7, {}, {"cuts_original_fps": [[0, 9]]}, {"original_fps": 25.0}]
)
def test_a_row_without_cuts_is_bad_clips(cuts: Any, data: bytes, tmp_path: Path) -> None:
    """A row whose cuts are missing or cannot be read fails with that cause."""
    with pytest.raises(ItemError) as caught:
        made(data, tmp_path, cuts)
    assert caught.value.cause is Cause.BAD_CLIPS


def test_cuts_past_the_end_are_no_clips(data: bytes, tmp_path: Path) -> None:
    """Cuts of another, longer video give what this one has of them, or nothing."""
    cuts = {"original_fps": 25.0, "cuts_original_fps": [[90, 200], [200, 300]]}
    (sample,) = made(data, tmp_path, cuts)
    assert numbers(sample) == list(range(90, 100))
    with pytest.raises(ItemError) as caught:
        made(data, tmp_path, {"original_fps": 25.0, "cuts_original_fps": [[200, 300]]})
    assert caught.value.cause is Cause.NO_CLIPS
