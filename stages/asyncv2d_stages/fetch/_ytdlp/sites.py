"""Paces what is asked of each video site: so much in an hour, and a pause when it objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
from msgspec import Struct, field

from asyncv2d.deadline import waiting
from asyncv2d.types import ItemError

_HOUR_S = 3600.0
_PATIENCE = 4  # pauses in a row; then rows fail at once, but for one trial after each further pause
_TRIALS = 10  # to a pause: what a site that objected is asked while it has not answered well again


class _Site(Struct):
    order: anyio.Lock = field(default_factory=anyio.Lock)
    asked: deque[float] = field(default_factory=deque)
    objections: int = 0
    objection: ItemError | None = None
    objected_at: float = 0.0
    not_before: float = 0.0


class Sites:
    """The pace of each site, by its name."""

    def __init__(
        self,
        per_hour: int | None,
        pause_s: float,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._per_hour = per_hour
        self._pause_s = pause_s
        self._clock = clock
        self._sleep = sleep
        self._sites: dict[str, _Site] = {}

    async def turn(self, name: str, *, counted: bool) -> None:
        """Wait until the site may be asked again; ``counted``: in its budget of an hour.

        Turns come in the order in which they are asked for: so shards get complete one after the
        other, though there are more rows than a day has turns. Raises ItemError where the site goes
        on objecting: a run has to end.
        """
        if not counted and name not in self._sites:
            return
        site = self._sites.setdefault(name, _Site())
        if self._wait(site, counted=counted) > 0:
            self._lose_patience(name, site)
        with waiting():
            await site.order.acquire()
        try:
            await self._first_in_line(name, site, counted=counted)
        finally:
            site.order.release()

    async def _first_in_line(self, name: str, site: _Site, *, counted: bool) -> None:
        while (wait := self._wait(site, counted=counted)) > 0:
            self._lose_patience(name, site)
            with waiting():
                await self._sleep(wait)
        if counted and self._per_hour is not None:
            site.asked.append(self._clock())
        if site.objections:
            site.not_before = self._clock() + self._pause_s / _TRIALS

    def _lose_patience(self, name: str, site: _Site) -> None:
        if site.objections >= _PATIENCE and site.objection is not None:
            last = site.objection
            detail = f"not asked: {name} refused {site.objections} times in a row: {last.detail}"
            raise ItemError(last.cause, detail)

    def objected(self, name: str, objection: ItemError, began: float) -> None:
        """The site wants no more for now; ``began``: when the request that it says so to did.

        Answers to what was asked before it last objected say nothing new.
        """
        site, now = self._sites.setdefault(name, _Site()), self._clock()
        if site.objections and began < site.objected_at:
            return
        asked = float(objection.facts.get("retry_after_s") or 0)
        longest = max(_HOUR_S, self._pause_s)
        pause = min(max(asked, self._pause_s * 2**site.objections), longest)
        site.objections += 1
        site.objection = objection
        site.objected_at, site.not_before = now, now + pause

    def answered(self, name: str) -> None:
        """The site answered as it should."""
        site = self._sites.get(name)
        if site is not None:
            site.objections, site.not_before = 0, 0.0
            if not site.asked and not site.order.locked():
                del self._sites[name]

    def _wait(self, site: _Site, *, counted: bool) -> float:
        now = self._clock()
        while site.asked and site.asked[0] <= now - _HOUR_S:
            site.asked.popleft()
        wait = site.not_before - now
        if counted and self._per_hour is not None and len(site.asked) >= self._per_hour:
            wait = max(wait, site.asked[0] + _HOUR_S - now)
        return wait
