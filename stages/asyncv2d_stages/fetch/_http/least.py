"""How fast a body has to come: one that drips stands still for nobody, and would take hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asyncv2d.types import Cause, ItemError

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.http import HttpFetcher


_WITHIN_S = 120.0


class Least(Struct, frozen=True):
    """What has to come: ``rate`` bytes a second (0: nothing), taken over ``within_s`` seconds."""

    rate: int
    within_s: float

    @property
    def size(self) -> float:
        """The bytes that have to come in that time."""
        return self.rate * self.within_s

    def failure(self) -> ItemError:
        """What is said of less."""
        detail = f"fewer than {self.rate} bytes a second came for {self.within_s:g} s (least_rate)"
        return ItemError(Cause.STALLED, detail)


def least(settings: HttpFetcher) -> Least:
    """A connection that stands still once, and is opened anew, is no slow one."""
    one_s = settings.timeout + (settings.stall_timeout or settings.timeout)
    return Least(settings.least_rate, max(one_s, _WITHIN_S))
