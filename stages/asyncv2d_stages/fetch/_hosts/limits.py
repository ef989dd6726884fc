"""How much a host is asked at a time: adaptive, with an optional rate, and pauses when it fails.

A host that has too much to do (429, 503, no answer in time) gets half as many requests at a time;
one that does well gets more, while its answers stay as quick as they were. After failures in a row,
or when it says so (Retry-After), it is paused: its rows wait here, and other hosts go on. State is
kept for hosts in use, and for a bounded number of others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from asyncv2d.deadline import waiting
from asyncv2d.types import ItemError
from asyncv2d_stages.fetch._hosts.host import Host, HostGivenUpError, Limits

_REMEMBERED = 10_000


class NoTurnError(Exception):
    """The turn did not come in time."""


class Hosts:
    """All hosts: ``turn`` waits until one may be asked."""

    def __init__(
        self, limits: Limits, tell_pause: Callable[[str, float], None] | None = None
    ) -> None:
        self._limits = limits
        self._tell_pause = tell_pause
        self._used: dict[str, Host] = {}
        self._idle: OrderedDict[str, Host] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many hosts there is state for."""
        return len(self._used) + len(self._idle)

    def is_shared(self, place: str) -> bool:
        """Whether others ask or wait for this host now."""
        host = self._used.get(place)
        return host is not None and host.active + len(host.waiting) > 1

    def says_more(self, place: str) -> bool:
        """Whether this host said more than it was asked once."""
        host = self._used.get(place) or self._idle.get(place)
        return host is not None and host.says_more

    def hear_more(self, place: str) -> None:
        """A host said more than it was asked."""
        host = self._host(place)
        host.says_more = True
        self._settle(host)

    def pause(self, place: str, pause_s: float) -> None:
        """Leave a host alone that asked others for so many seconds of rest.

        For longer than rows may wait: it will say so itself, and how.
        """
        if pause_s > self._limits.patience_s:
            return
        host = self._host(place)
        host.rest(_now(), pause_s)
        self._settle(host)

    def slow_down(self, place: str, interval_s: float) -> None:
        """Leave at least so much time between two requests from now on."""
        host = self._host(place)
        host.interval_s = max(host.interval_s, interval_s)

    @asynccontextmanager
    async def turn(self, place: str, within_s: float | None = None) -> AsyncIterator[Turn]:
        """Wait until the host may be asked.

        Raises HostGivenUpError if that is of no use, NoTurnError after ``within_s`` seconds, which
        are for rows that hold a part of a body.
        """
        host = self._host(place)
        try:
            if not self._starts_at_once(host):
                async with asyncio.timeout(within_s):
                    await self._wait(host, holds=within_s is not None)
        except TimeoutError:
            raise NoTurnError from None
        except HostGivenUpError:
            self._settle(host)
            raise
        turn = Turn(self, host)
        try:
            yield turn
        finally:
            host.active -= 1
            self._settle(host)

    def _host(self, place: str) -> Host:
        host = self._used.get(place) or self._idle.pop(place, None)
        if host is None:
            host = Host(place, self._limits, self._limits.interval_s)
        self._used[place] = host
        return host

    def _starts_at_once(self, host: Host) -> bool:
        """Whether the host may be asked right now; then it counts as asked."""
        now = _now()
        may_start = host.may_start(now)
        if host.is_given_up and not may_start:
            raise host.given_up()
        if host.waiting or not may_start:
            return False
        host.start(now)
        return True

    async def _wait(self, host: Host, *, holds: bool) -> None:
        turn = asyncio.get_running_loop().create_future()
        host.waiting.append(turn)
        self._settle(host)
        try:
            with waiting(holds=holds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                host.active -= 1  # the turn came at the moment in which this row was cancelled
            elif turn in host.waiting:
                host.waiting.remove(turn)
            self._settle(host)
            raise

    def _settle(self, host: Host) -> None:
        """Give turns to those who wait, set the clock for the next one, or forget the host."""
        now = _now()
        while host.waiting and host.may_start(now):
            turn = host.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                host.start(now)
        if host.waiting:
            self._wake_at(host, max(host.next_at, host.paused_until), now)
        elif not host.active:
            self._lay_aside(host)

    def _wake_at(self, host: Host, when: float, now: float) -> None:
        if host.timer is None and when > now:
            host.timer = asyncio.get_running_loop().call_at(when, self._wake, host)

    def _wake(self, host: Host) -> None:
        host.timer = None
        self._settle(host)

    def _lay_aside(self, host: Host) -> None:
        if host.timer is not None:
            host.timer.cancel()
            host.timer = None
        if self._used.pop(host.place, None) is not None:
            self._idle[host.place] = host
            if len(self._idle) > _REMEMBERED:
                self._idle.popitem(last=False)

    def failed(self, host: Host, error: ItemError, asked_at: float, pause_s: float | None) -> None:
        """A host is too busy or fell silent; ``pause_s``: how long it wants to be left alone."""
        is_news = not host.is_old_news(asked_at)
        heeded_s = host.failed(error, asked_at, pause_s, _now())
        if is_news and heeded_s is not None and self._tell_pause is not None:
            self._tell_pause(host.place, heeded_s)


class Turn(Struct, eq=False):
    """The right to send one request, and the duty to say what became of it."""

    hosts: Hosts
    host: Host
    asked_at: float = 0.0

    def begin(self) -> None:
        """The request is sent now."""
        self.asked_at = _now()

    def answered(self) -> None:
        """The first bytes of a normal answer came."""
        now = _now()
        self.host.answered(now - self.asked_at, now)

    def done(self) -> None:
        """The answer came whole, be it a good one or not."""
        self.host.done(self.asked_at)

    def failed(self, error: ItemError, pause_s: float | None) -> None:
        """The host is too busy, does not answer, or fell silent."""
        self.hosts.failed(self.host, error, self.asked_at, pause_s)


def _now() -> float:
    return asyncio.get_running_loop().time()
