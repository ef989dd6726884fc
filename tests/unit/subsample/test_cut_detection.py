"""Tests of CutDetectionSubsampler."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from msgspec.structs import replace
from scenedetect import open_video
from scenedetect.detector import FlashFilter, SceneDetector
from scenedetect.detectors import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)
from scenedetect.scene_manager import SceneManager

from asyncv2d.config import build
from asyncv2d.made_media import MadeVideo, Scene, read_number, scenes
from asyncv2d.types import Processed, Sample, UserError

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


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


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


FADES = MadeVideo(
    (Scene(1.2, (205, 45, 40), 440), Scene(0.8, (0, 0, 0), 880), Scene(1.5, (60, 90, 160), 660)),
    (320, 180),
    audio=None,
)
MILD = MadeVideo(
    tuple(Scene(1, colour, 440) for colour in [(90, 70, 70), (70, 60, 90), (95, 95, 60)]),
    (640, 360),
    audio=None,
)
SUPPRESS = FlashFilter.Mode.SUPPRESS
DETECTORS: dict[str, tuple[dict[str, Any], Callable[[], SceneDetector]]] = {
    "content": ({}, lambda: ContentDetector(27, 15, filter_mode=SUPPRESS)),
    "content-8": (
        {"threshold": 8, "min_scene_len": 0},
        lambda: ContentDetector(8, 0, filter_mode=SUPPRESS),
    ),
    "adaptive": ({"detector": "adaptive"}, AdaptiveDetector),
    "hash": ({"detector": "hash", "threshold": 0.1}, lambda: HashDetector(0.1)),
    "histogram": ({"detector": "histogram"}, HistogramDetector),
    "threshold": ({"detector": "threshold", "threshold": 25}, lambda: ThresholdDetector(25)),
}


@pytest.mark.parametrize("video", [VIDEOS["plain"], VIDEOS["moving"], FADES, MILD])
@pytest.mark.parametrize("name", DETECTORS)
def test_the_cuts_are_those_of_pyscenedetect(
    name: str, video: MadeVideo, run: Run, tmp_path: Path
) -> None:
    """Each detector finds what PySceneDetect itself finds in the file, at the same frames."""
    args, detector = DETECTORS[name]
    source = open_video(str(video.write(tmp_path / "video.mp4")))
    manager = SceneManager()
    manager.auto_downscale = False
    manager.downscale = max(1, source.frame_size[0] // 64)
    manager.add_detector(detector())
    manager.detect_scenes(source)
    theirs = [[a.frame_num, b.frame_num] for a, b in manager.get_scene_list(start_in_scene=True)]
    assert cuts(run, video, **args)["cuts"]["cuts_original_fps"] == theirs


@pytest.mark.parametrize("name", ["adaptive", "threshold"])
def test_cuts_that_are_known_late_make_clips_too(name: str, run: Run) -> None:
    """A detector that places a cut in the past gives the clips that begin there."""
    args = {**DETECTORS[name][0], "cuts_are_clips": True}
    video = FADES if name == "threshold" else VIDEOS["plain"]
    clips = run(video.data(), {"CutDetection": args, "Frame": {"frame_rate": 25}}).samples
    found = clips[0].meta["cuts_seconds"]
    assert len(found) > 1
    assert [list(clip.meta["receipt"]["asked"]) for clip in clips] == [
        pytest.approx(span) for span in found
    ]


def test_a_share_above_one_is_a_mistake() -> None:
    """A threshold that no difference can reach is refused, with the range there is."""
    args = {"detector": "hash", "threshold": 27}
    with pytest.raises(UserError, match="from 0 to 1"):
        build({"subsampling": {"CutDetectionSubsampler": {"args": args}}})


@pytest.mark.parametrize("container", ["mpegts", "avi", "flv"])
@pytest.mark.parametrize("name", ["adaptive", "threshold"])
def test_late_cuts_of_files_that_cannot_be_rewound(name: str, container: str, run: Run) -> None:
    """The second decode, which makes the clips, begins where the first did, at the first frame."""
    args = {**DETECTORS[name][0], "cuts_are_clips": True}
    source = replace(FADES if name == "threshold" else VIDEOS["plain"], audio=None)
    codec = "mpeg4" if container == "avi" else "libx264"
    video = replace(source, size=(160, 120), container=container, codec=codec)
    clips = run(video.data(), {"CutDetection": args, "Clipping": {"precision": "exact"}}).samples
    borders = [0, *(round(b * 25) for _, b in clips[0].meta["cuts_seconds"])]
    assert len(borders) > 2
    shown = [numbers(clip) for clip in clips]
    assert [found[0] for found in shown] == borders[:-1]
    assert [found[-1] + 1 for found in shown] == borders[1:]
