"""Tests of CutDetectionSubsampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.types import Processed

Run = Callable[..., Processed]
VIDEOS = {
    "plain": MadeVideo(scenes(1, 1.5, 1)),
    "uneven": MadeVideo(scenes(1.5, 2, 1.5), uneven=True),
    "vp8": MadeVideo(scenes(1, 1.5, 1), codec="libvpx", audio=None, container="webm"),
    "ten-bit": MadeVideo(scenes(1, 1.5, 1), (320, 240), pixel_format="yuv420p10le"),
    "rotated": MadeVideo(scenes(1, 1.5, 1), (120, 160), rotation=90),
    "tiny": MadeVideo(scenes(1, 1.5, 1), (48, 32)),
    "moving": MadeVideo(scenes(6), (320, 180)),
}


def cuts(run: Run, video: MadeVideo, **args: Any) -> dict[str, Any]:
    """The facts that are found in ``video``."""
    (sample,) = run(video.data(), {"CutDetection": args}).samples
    return dict(sample.meta)


@pytest.mark.parametrize("name", VIDEOS)
def test_exactly_the_cuts_are_found(name: str, run: Run) -> None:
    """Every scene is found at its frame and time; motion inside a scene is no cut."""
    video = VIDEOS[name]
    facts = cuts(run, video)
    starts = [0, *video.cut_frames]
    ends = [*video.cut_frames, len(video.frame_times)]
    assert facts["cuts"]["cuts_original_fps"] == [
        list(pair) for pair in zip(starts, ends, strict=True)
    ]
    times = np.array(facts["cuts_seconds"])
    assert np.allclose(times[:, 0], [0, *video.cut_times], atol=2e-3)


def test_a_cut_too_soon_after_the_last_is_ignored(run: Run) -> None:
    """A scene shorter than min_scene_len frames is no scene of its own."""
    video = MadeVideo(scenes(1, 0.4, 1), audio=None)
    assert len(cuts(run, video)["cuts"]["cuts_original_fps"]) == 2
    assert len(cuts(run, video, min_scene_len=5)["cuts"]["cuts_original_fps"]) == 3


def test_a_threshold_above_every_difference_finds_nothing(run: Run) -> None:
    """Only differences above the threshold count."""
    facts = cuts(run, VIDEOS["plain"], threshold=200)
    assert facts["cuts"]["cuts_original_fps"] == [[0, 88]]


def test_only_the_longest_scene_is_listed_on_request(run: Run) -> None:
    """With mode longest one scene is left."""
    facts = cuts(run, VIDEOS["plain"], cut_detection_mode="longest")
    assert facts["cuts"]["cuts_original_fps"] == [VIDEOS["plain"].cut_frames]


def test_lower_frame_rates_are_looked_at_too(run: Run) -> None:
    """Each further rate gives a list of its own, in frames of the source."""
    facts = cuts(run, VIDEOS["plain"], framerates=[12.5], min_scene_len=5)["cuts"]
    assert facts["original_fps"] == 25
    starts = [start for start, _ in facts["cuts_12.5"]]
    assert all(
        0 <= ours - true <= 1
        for ours, true in zip(starts, [0, *VIDEOS["plain"].cut_frames], strict=True)
    )
