"""Many lengths of time in little memory: their sum, extremes and percentiles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP = 1.02  # so that a percentile is true to one percent
_LEAST = 1e-3
_PERCENTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


class Histogram(Struct):
    """Lengths in seconds, counted in steps of two percent."""

    number: int = 0
    total: float = 0.0
    shortest: float = float("inf")
    longest: float = 0.0
    _bins: Counter[int] = field(default_factory=Counter)

    def count(self, lengths: NDArray[np.float64]) -> None:
        """Count some lengths."""
        import numpy as np

        if not len(lengths):
            return
        self.number += len(lengths)
        self.total += float(lengths.sum())
        self.shortest = min(self.shortest, float(lengths.min()))
        self.longest = max(self.longest, float(lengths.max()))
        steps = np.floor(np.log(np.maximum(lengths, _LEAST)) / np.log(_STEP)).astype(int)
        values, counts = np.unique(steps, return_counts=True)
        self._bins.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def add(self, other: Histogram) -> None:
        """Add all lengths of another one."""
        self.number += other.number
        self.total += other.total
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)
        self._bins.update(other._bins)

    def percentile(self, share: float) -> float | None:
        """The length that this share of all does not exceed, to one percent."""
        below = 0
        for step in sorted(self._bins):
            below += self._bins[step]
            if below >= share * self.number:
                middle: float = _STEP ** (step + 0.5)
                return min(max(middle, self.shortest), self.longest)
        return None

    def to_json(self) -> dict[str, Any]:
        """The figures, in JSON's types; null where nothing was counted."""
        percentiles = {name: self.percentile(share) for name, share in _PERCENTILES.items()}
        return {
            "number": self.number,
            "seconds": self.total,
            "shortest": self.shortest if self.number else None,
            **percentiles,
            "longest": self.longest if self.number else None,
        }
