"""Adds the headers' facts to each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asyncv2d.media import Probe
from asyncv2d.ports import Settings


class FFProbeSubsampler(Settings):
    """Adds ``video_metadata`` with the field names of ffprobe's JSON, read without decoding."""

    extract_keyframes: bool = False
    """Also list the times of all keyframes and the end (seconds), as ``keyframe_timestamps``."""

    @property
    def needs_headers(self) -> bool:
        """Always."""
        return True

    @property
    def needs_keyframes(self) -> bool:
        """Whether the engine has to collect keyframe times."""
        return self.extract_keyframes

    def describe(self, probe: Probe, keyframe_times: Sequence[float]) -> Mapping[str, Any]:
        """The facts for the sample's JSON."""
        document = dict(probe.document)
        if self.extract_keyframes:
            document["keyframe_timestamps"] = list(keyframe_times)
        return {"video_metadata": document}
