"""From a stream's timestamps to seconds since the start of its file."""

from __future__ import annotations

from fractions import Fraction

LONGEST_STILL = 600.0  # seconds: no frame is on the screen for longer


class Clock:
    """Seconds of timestamps in units of ``base`` (seconds), counted from ``origin`` (seconds).

    The result is the float nearest to the exact time, so equal times are equal wherever they come
    from; whole numbers make that many times faster than fractions, and it is done for every packet.
    """

    def __init__(self, base: Fraction, origin: Fraction) -> None:
        self._factor = base.numerator * origin.denominator
        self._shift = origin.numerator * base.denominator
        self._divisor = base.denominator * origin.denominator
        self._numerator, self._denominator = base.numerator, base.denominator

    def time(self, timestamp: int) -> float:
        """When something stamped so is to be seen or heard (seconds)."""
        return (timestamp * self._factor - self._shift) / self._divisor

    def length(self, duration: int | None) -> float:
        """Seconds that ``duration`` units last; 0 where it is not known."""
        return (duration or 0) * self._numerator / self._denominator
