"""The jobs that are measured, as all three tools are to do them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Subsampling = Mapping[str, Mapping[str, Any]]

SIDE = 224
FRAME_RATE = 5
_PICTURE: Subsampling = {
    "ResolutionSubsampler": {"args": {"video_size": SIDE, "resize_mode": "scale,crop,pad"}},
    "FrameSubsampler": {"args": {"frame_rate": FRAME_RATE}},
}
_CUTS: Subsampling = {
    "CutDetectionSubsampler": {
        "cuts_are_clips": True,
        "args": {"threshold": 27, "min_scene_len": 15},
    },
    "ClippingSubsampler": {"args": {"min_length": 4.0, "max_length": 20.0, "precision": "low"}},
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its name in the table, and the configuration that asyncv2d and video2dataset share."""

    name: str
    title: str
    subsampling: Subsampling
    encode_formats: Mapping[str, str] = field(default_factory=lambda: {"video": "mp4"})
    given_spans: bool = False


_ALL = (
    Job("J1", "download only", {}),
    Job(
        "J2",
        "clips by given spans, copied",
        {"ClippingSubsampler": {"args": {"precision": "low"}}},
        given_spans=True,
    ),
    Job("J3", "224 × 224 at 5 frames a second", _PICTURE),
    Job("J4", "a clip for every scene, copied", _CUTS),
    Job(
        "J5",
        "the main job: J3 on the clips of J4, and headers",
        {**_PICTURE, **_CUTS, "FFProbeSubsampler": {"args": {"extract_keyframes": False}}},
    ),
    Job("J7", "sound alone, as mp3", {}, encode_formats={"audio": "mp3"}),
)
JOBS: Mapping[str, Job] = {job.name: job for job in _ALL}
"""All jobs by name."""
