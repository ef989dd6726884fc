"""Looks at the frames of one video and notes its cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from asyncv2d.media import Picture, SmallView

if TYPE_CHECKING:
    from scenedetect import FrameTimecode
    from scenedetect.detector import SceneDetector

    from asyncv2d_stages.subsample.cut_detection import CutDetectionSubsampler

# Widths of the pictures that are compared, in pixels: video2dataset has PySceneDetect shrink more
# than it does by itself, but not where it looks at a lower frame rate.
_WIDTH = 64
_LOW_RATE_WIDTH = 256
_SIDE = 256  # what PySceneDetect's other detectors see, which video2dataset has not
_ROUGH_WIDTH = 64
# How far a rough score may be from the true one: over 13,000 frames of real video it was within
# 17 % wherever the true one was near a threshold between 10 and 27.
_ROUGHNESS = 0.25
_LEAST_ROUGHNESS = 1.0


class Watch:
    """One detection at the video's rate, and one for each further frame rate."""

    def __init__(self, settings: CutDetectionSubsampler, rate: float) -> None:
        self._rate = rate
        self._longest_only = settings.cut_detection_mode == "longest"
        self._native = _Detection(settings, rate, 1, _WIDTH)
        self._others = {
            target: _Detection(settings, rate, max(int(rate // target), 1), _LOW_RATE_WIDTH)
            for target in settings.framerates or ()
        }

    def push(self, view: SmallView, index: int) -> bool:
        """Take one frame; True if a scene begins at it."""
        for detection in self._others.values():
            detection.push(view, index)
        return self._native.push(view, index)

    def finish(self, times: Sequence[float], end: float) -> Mapping[str, Any]:
        """``cuts`` in frame numbers for each frame rate, and ``cuts_seconds``."""
        native = self._scenes(self._native, len(times))
        ends = [*times, end]
        cuts: dict[str, Any] = {"original_fps": self._rate, "cuts_original_fps": native}
        for target, detection in self._others.items():
            cuts[f"cuts_{target:g}"] = self._scenes(detection, len(times))
        return {"cuts": cuts, "cuts_seconds": [[ends[a], ends[b]] for a, b in native]}

    def _scenes(self, detection: _Detection, frames: int) -> list[list[int]]:
        starts = detection.finish(frames)
        scenes = [[a, b] for a, b in zip(starts, [*starts[1:], frames], strict=True)]
        if self._longest_only:
            return [max(scenes, key=lambda scene: scene[1] - scene[0])]
        return scenes


class _Detection:
    """The cuts that are found when only every ``step``-th frame is looked at."""

    def __init__(
        self, settings: CutDetectionSubsampler, rate: float, step: int, width: int
    ) -> None:
        self._changes = _changes(settings, rate, width)
        self._step = step
        self._starts = {0}

    def push(self, view: SmallView, index: int) -> bool:
        if index % self._step:
            return False
        found = self._changes.push(view, index)
        self._starts.update(found)
        return index > 0 and index in found

    def finish(self, frames: int) -> list[int]:
        """The first frame of every scene."""
        return sorted(self._starts.union(self._changes.finish(frames - 1)))


class _Changes(Protocol):
    """Says at which frames the picture changes."""

    def push(self, view: SmallView, index: int) -> Sequence[int]:
        """Take a frame; the cuts that are known now, at this frame or before."""

    def finish(self, last: int) -> Sequence[int]:
        """After frame ``last``, the final one: further cuts."""


def _changes(settings: CutDetectionSubsampler, rate: float, width: int) -> _Changes:
    if settings.detector == "content":
        return _ContentChanges(settings.level, settings.min_scene_len, width)
    return _DetectedChanges(_detector(settings), rate)


def _detector(settings: CutDetectionSubsampler) -> SceneDetector:
    # Imported here: it takes each worker 0.2 s, which most jobs can do without.
    from scenedetect import detectors

    level, shortest = settings.level, settings.min_scene_len
    match settings.detector:
        case "adaptive":
            return detectors.AdaptiveDetector(level, shortest)
        case "hash":
            return detectors.HashDetector(level, min_scene_len=shortest)
        case "histogram":
            return detectors.HistogramDetector(level, min_scene_len=shortest)
        case _:
            return detectors.ThresholdDetector(level, shortest)


class _DetectedChanges:
    """What one of PySceneDetect's detectors says."""

    def __init__(self, detector: SceneDetector, rate: float) -> None:
        self._detector = detector
        self._rate = rate

    def push(self, view: SmallView, index: int) -> Sequence[int]:
        found = self._detector.process_frame(self._timecode(index), view.fitted(_SIDE))
        return [cut.frame_num for cut in found]

    def finish(self, last: int) -> Sequence[int]:
        return [cut.frame_num for cut in self._detector.post_process(self._timecode(last))]

    def _timecode(self, index: int) -> FrameTimecode:
        from scenedetect import FrameTimecode

        return FrameTimecode(index, self._rate)


class _ContentChanges:
    """The cuts of PySceneDetect's ContentDetector, at a tenth of its cost.

    The difference of two frames is first taken on a few of their pixels. Only where that is too
    near to the threshold to tell are they compared as PySceneDetect does. What follows a cut too
    soon is suppressed, as in the release that video2dataset uses.
    """

    def __init__(self, threshold: float, min_scene_len: int, width: int) -> None:
        self._threshold = threshold
        self._width = width
        self._roughness = max(_LEAST_ROUGHNESS, _ROUGHNESS * threshold)
        self._min_scene_len = min_scene_len
        self._last_cut: int | None = None
        self._before: SmallView | None = None
        self._rough_before: Picture | None = None

    def push(self, view: SmallView, index: int) -> Sequence[int]:
        before, self._before = self._before, view
        if before is None or self._last_cut is None:
            self._last_cut = index
            return []
        if index - self._last_cut < self._min_scene_len:
            self._rough_before = None
            return []
        if self._score(before, view) < self._threshold:
            return []
        self._last_cut = index
        return [index]

    def _score(self, before: SmallView, view: SmallView) -> float:
        known, self._rough_before = self._rough_before, _hsv(view.sampled(_ROUGH_WIDTH))
        rough_before = _hsv(before.sampled(_ROUGH_WIDTH)) if known is None else known
        rough = _difference(rough_before, self._rough_before)
        if abs(rough - self._threshold) > self._roughness:
            return rough
        return _difference(*(_hsv(frame.shrunk(self._width)) for frame in (before, view)))

    def finish(self, last: int) -> Sequence[int]:
        return []


def _hsv(picture: Picture) -> Picture:
    converted: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
    return converted


def _difference(before: Picture, after: Picture) -> float:
    """Mean absolute difference of hue, saturation and brightness (0 to 255)."""
    return float(cv2.norm(before, after, cv2.NORM_L1)) / before.size
