"""Finds the cuts of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from asyncv2d.media import CutWatch, VideoInfo
from asyncv2d.ports import Settings

_DEFAULT_THRESHOLDS = {
    "content": 27.0,
    "adaptive": 3.0,
    "hash": 0.35,
    "histogram": 0.2,
    "threshold": 12.0,
}
_SHARES = ("hash", "histogram")  # their thresholds are shares of a whole
# These place a cut at a frame that was seen before: adaptive looks at the frames around it, and
# threshold puts it between a fade-out and the fade-in that follows.
_LATE = ("adaptive", "threshold")


class CutDetectionSubsampler(Settings):
    """Finds cuts with PySceneDetect's detectors, and adds them to each sample as ``cuts``.

    A cut is a frame whose hue, saturation and brightness differ from the frame before by at least
    ``threshold`` on average (PySceneDetect, ``ContentDetector``; https://www.scenedetect.com), or
    what another of its detectors says. A cut that comes within ``min_scene_len`` frames of the last
    one is ignored.
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
    detector: Literal["content", "adaptive", "hash", "histogram", "threshold"] = "content"
    """What a cut is: ``content``: a change of the picture; ``adaptive``: one that is larger than
    those around it, so that fast motion is none; ``hash``: a change of its structure;
    ``histogram``: a change of its brightnesses; ``threshold``: a fade through black."""
    threshold: float | None = Field(default=None, gt=0)
    """From where on a difference is a cut; null: 27 for content (of 255), 3 for adaptive (times the
    frames around), 0.35 for hash and 0.2 for histogram (of 1), 12 for threshold (brightness below
    which a picture is black, of 255)."""
    min_scene_len: int = Field(default=15, ge=0)
    """Shortest scene, in frames of the source."""

    @model_validator(mode="after")
    def _fits_the_detector(self) -> Self:
        if self.detector in _SHARES and self.level > 1:
            raise ValueError(f"threshold for {self.detector} goes from 0 to 1")
        return self

    @model_validator(mode="after")
    def _rates_are_rates(self) -> Self:
        if any(rate <= 0 for rate in self.framerates or ()):
            raise ValueError("framerates are numbers of frames a second, above 0")
        return self

    @property
    def level(self) -> float:
        """The threshold, or the detector's own where none is given."""
        default = _DEFAULT_THRESHOLDS[self.detector]
        return default if self.threshold is None else self.threshold

    @property
    def scenes(self) -> Literal["all", "longest"]:
        """Which scenes count."""
        return self.cut_detection_mode

    @property
    def immediate(self) -> bool:
        """Whether every scene is known when its first frame is seen."""
        return self.detector not in _LATE

    @property
    def allows_gaps(self) -> bool:
        """Whether frames that only repeat others need not be seen."""
        return self.detector == "content" and not self.framerates

    def watch(self, video: VideoInfo) -> CutWatch:
        """Begin to watch one video."""
        # Imported here: OpenCV takes 0.1 s, and only a worker needs it.
        from asyncv2d_stages.subsample._cut_watch import Watch

        return Watch(self, float(video.rate))
