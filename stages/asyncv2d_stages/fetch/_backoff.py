"""How long a row waits before it is tried again."""

from __future__ import annotations

import random

FIRST_S = 0.5
LAST_S = 20.0


def longest(attempts: int) -> float:
    """The most seconds to wait after so many attempts: they double."""
    return min(LAST_S, FIRST_S * 2.0 ** (attempts - 1))


def seconds(attempts: int) -> float:
    """Seconds to wait: with jitter, so that rows of one host do not come back at once."""
    return random.uniform(longest(attempts) / 2, longest(attempts))
