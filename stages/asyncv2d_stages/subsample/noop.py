"""Does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asyncv2d.media import Probe
from asyncv2d.ports import Settings


class NoOpSubsampler(Settings):
    """Passes everything through as it is."""

    @property
    def needs_headers(self) -> bool:
        """No."""
        return False

    @property
    def needs_keyframes(self) -> bool:
        """No."""
        return False

    def describe(self, probe: Probe, keyframe_times: Sequence[float]) -> Mapping[str, Any]:
        """No facts."""
        return {}
