"""Finds the cuts of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from asyncv2d.media import Picture, VideoInfo
from asyncv2d.ports import Settings

if TYPE_CHECKING:
    from scenedetect.detectors import ContentDetector

_VIEW_WIDTH = 64


class CutDetectionSubsampler(Settings):
    """Finds cuts with PySceneDetect's content detection, and adds them to each sample as ``cuts``.

    A cut is a frame whose hue, saturation and brightness differ from the frame before by more than
    ``threshold`` on average (PySceneDetect, ``ContentDetector``; https://www.scenedetect.com). A
    cut that comes within ``min_scene_len`` frames of the last one is ignored.
    """

    without_args: ClassVar[Mapping[str, Any]] = {"source": "metadata"}

    source: Literal["video", "metadata"] = "video"
    """``metadata``: use the ``cuts`` that the row has already; this is what leaving ``args`` out
    means."""
    cuts_are_clips: bool = False
    """Make a clip of every scene. Stands beside ``args``, not inside."""
    cut_detection_mode: Literal["all", "longest"] = "all"
    """Keep all scenes, or only the longest."""
    framerates: tuple[float, ...] | None = None
    """Detect again as if the video had each of these lower frame rates."""
    threshold: float = Field(default=27, gt=0)
    """Mean difference (0 to 255) from which a frame begins a new scene."""
    min_scene_len: int = Field(default=15, ge=0)
    """Shortest scene, in frames of the source."""

    @property
    def view_width(self) -> int:
        """Width of the small picture that is compared, in pixels."""
        return _VIEW_WIDTH

    @property
    def scenes(self) -> Literal["all", "longest"]:
        """Which scenes count."""
        return self.cut_detection_mode

    def watch(self, video: VideoInfo) -> _Watch:
        """Begin to watch one video."""
        return _Watch(self, float(video.rate))


class _Watch:
    """One detector at the source's rate, and one for each further frame rate."""

    def __init__(self, settings: CutDetectionSubsampler, rate: float) -> None:
        self._mode = settings.cut_detection_mode
        self._rate = rate
        self._native = _Detection(settings, rate, step=1)
        self._others = {
            target: _Detection(settings, rate, step=max(int(rate // target), 1))
            for target in settings.framerates or ()
        }

    def push(self, view: Picture, index: int) -> bool:
        """Take one frame; True if a scene begins at it."""
        for detection in self._others.values():
            detection.push(view, index)
        return self._native.push(view, index)

    def finish(self, times: Sequence[float], end: float) -> Mapping[str, Any]:
        """``cuts`` in frame numbers for each frame rate, and ``cuts_seconds``."""
        frames = len(times)
        native = self._native.scenes(frames, self._mode)
        ends = [*times, end]
        cuts: dict[str, Any] = {"original_fps": self._rate, "cuts_original_fps": native}
        for target, detection in self._others.items():
            cuts[f"cuts_{target:g}"] = detection.scenes(frames, self._mode)
        return {"cuts": cuts, "cuts_seconds": [[ends[a], ends[b]] for a, b in native]}


class _Detection:
    def __init__(self, settings: CutDetectionSubsampler, rate: float, step: int) -> None:
        self._detector = _detector(settings)
        self._rate = rate
        self._step = step
        self._starts = [0]

    def push(self, view: Picture, index: int) -> bool:
        from scenedetect import FrameTimecode

        if index % self._step:
            return False
        found = self._detector.process_frame(FrameTimecode(index, self._rate), view)
        if not found or index == 0:
            return False
        self._starts.append(index)
        return True

    def scenes(self, frames: int, mode: Literal["all", "longest"]) -> list[list[int]]:
        ends = [*self._starts[1:], frames]
        scenes = [[a, b] for a, b in zip(self._starts, ends, strict=True)]
        if mode == "longest":
            return [max(scenes, key=lambda scene: scene[1] - scene[0])]
        return scenes


def _detector(settings: CutDetectionSubsampler) -> ContentDetector:
    # Imported here: OpenCV and PySceneDetect take 0.3 s, and only a worker needs them. SUPPRESS
    # is what video2dataset's release of PySceneDetect does, and it needs no look-ahead.
    from scenedetect.detector import FlashFilter
    from scenedetect.detectors import ContentDetector

    return ContentDetector(
        threshold=settings.threshold,
        min_scene_len=settings.min_scene_len,
        filter_mode=FlashFilter.Mode.SUPPRESS,
    )
