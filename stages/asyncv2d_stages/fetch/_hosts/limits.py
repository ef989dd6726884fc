"""How much a host is asked at a time: adaptive, with an optional rate, and pauses when it fails.

A host that has too much to do (429, 503, no answer in time) gets half as many requests at a time;
one that does well gets more, while its answers stay as quick as they were. After failures in a row,
or when it says so (Retry-After), it is paused: its rows wait here, and other hosts go on. State is
kept for hosts in use, and for a bounded number of others.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from asyncv2d.deadline import waiting
from asyncv2d.types import Cause, ItemError

_FIRST_LIMIT = 8.0
_FAILURES = 5  # in a row, until the host is paused
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_PROBES = 3  # that fail in the same way, until the host is given up for a while
_ALIKE = 0.8  # of its failures
_GIVEN_UP_S = 60.0
_LONGEST_AWAY_S = 3600.0
_SLOWER = 2.0  # answers that take so many times as long as before: more requests do not help
_SLOWER_BY_S = 0.1
_SMOOTHING = 8  # answers that count for how long they usually take, roughly
_FORGETTING = 128
_REMEMBERED = 10_000
_LEAST_WAITING = 256
SILENT = (Cause.CONNECT, Cause.TIMEOUT, Cause.STALLED)
"""Causes for which a host is paused, and in the end given up."""


class HostGivenUpError(ItemError):
    """The host failed for others until it was given up; this row did not get its turn."""


class NoTurnError(Exception):
    """The turn did not come in time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is the same for all hosts: requests at a time, seconds between two, patience."""

    most: int
    interval_s: float = 0.0
    patience_s: float = 60.0


@dataclass(slots=True)
class Failures:
    """How often a host failed for one cause, and how at last."""

    count: int
    last: ItemError


@dataclass(eq=False, slots=True)
class Host:
    """A host's state."""

    place: str
    limit: float
    interval_s: float
    active: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    is_new: bool = True
    answers: int = 0
    quick_s: float = 0.0
    usual_s: float = 0.0
    failures: int = 0
    pauses: int = 0
    is_on_trial: bool = False
    failing_since: float | None = None
    paused_at: float = 0.0
    paused_until: float = 0.0
    next_at: float = 0.0
    halved_at: float = 0.0
    causes: dict[Cause, Failures] = field(default_factory=dict)
    is_given_up: bool = False
    timer: asyncio.TimerHandle | None = None

    def may_start(self, now: float) -> bool:
        """Whether one more request may be sent now; a host that was paused gets one to begin."""
        limit = 1 if self.is_on_trial else max(1, int(self.limit))
        return self.active < limit and now >= self.next_at and now >= self.paused_until


class Hosts:
    """All hosts: ``turn`` waits until one may be asked."""

    def __init__(
        self, limits: Limits, tell_pause: Callable[[str, float], None] | None = None
    ) -> None:
        self._limits = limits
        self._tell_pause = tell_pause
        self._used: dict[str, Host] = {}
        self._idle: OrderedDict[str, Host] = OrderedDict()
        self._most_waiting = max(_LEAST_WAITING, 2 * limits.most)

    @property
    def remembered(self) -> int:
        """How many hosts there is state for."""
        return len(self._used) + len(self._idle)

    def is_shared(self, place: str) -> bool:
        """Whether others ask or wait for this host now."""
        host = self._used.get(place)
        return host is not None and host.active + len(host.waiting) > 1

    def pause(self, place: str, pause_s: float) -> None:
        """Leave a host alone that asked others for so many seconds of rest.

        For longer than rows may wait: it will say so itself, and how.
        """
        if pause_s > self._limits.patience_s:
            return
        now = _now()
        host = self._host(place)
        host.paused_at, host.is_on_trial = now, True
        host.paused_until = max(host.paused_until, now + pause_s)
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
            first = min(_FIRST_LIMIT, self._limits.most)
            host = Host(place, limit=first, interval_s=self._limits.interval_s)
        self._used[place] = host
        return host

    async def _wait(self, host: Host, *, holds: bool) -> None:
        now = _now()
        if host.is_given_up and not host.may_start(now):
            raise _given_up(host)
        if not host.waiting and host.may_start(now):
            self._start(host, now)
            return
        if now < host.paused_until and self._is_in_the_way(host):
            raise _given_up(host)
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

    def _is_in_the_way(self, host: Host) -> bool:
        """Whether so many rows wait for a paused host that those of others cannot come in."""
        return len(host.waiting) >= self._most_waiting and len(self._used) > 1

    def _start(self, host: Host, now: float) -> None:
        host.active += 1
        host.next_at = max(now, host.next_at) + host.interval_s

    def _settle(self, host: Host) -> None:
        """Give turns to those who wait, set the clock for the next one, or forget the host."""
        now = _now()
        while host.waiting and host.may_start(now):
            turn = host.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._start(host, now)
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

    def answered(self, host: Host, after_s: float) -> None:
        """It answered ``after_s`` seconds after it was asked."""
        host.is_on_trial = False
        if host.is_given_up:
            host.is_given_up, host.paused_until = False, _now()
        self._learn(host, after_s)
        is_full = host.active >= int(host.limit)
        if is_full and host.usual_s <= _SLOWER * host.quick_s + _SLOWER_BY_S:
            grown = host.limit + (1 if host.is_new else 1 / host.limit)
            host.limit = min(grown, self._limits.most)

    def _learn(self, host: Host, after_s: float) -> None:
        """Take an answer into account for how long they take now, and took when they were quick."""
        host.answers += 1
        host.usual_s += (after_s - host.usual_s) / min(host.answers, _SMOOTHING)
        if host.answers <= _SMOOTHING:
            host.quick_s = host.usual_s
        else:
            host.quick_s += (host.usual_s - host.quick_s) / _FORGETTING
            host.quick_s = min(host.quick_s, host.usual_s)

    def done(self, host: Host) -> None:
        """It sent all that it had to say."""
        host.failures = host.pauses = 0
        host.failing_since = None
        host.causes.clear()

    def failed(self, host: Host, error: ItemError, asked_at: float, pause_s: float | None) -> None:
        """It is too busy or fell silent; ``pause_s``: how long it wants to be left alone."""
        now = _now()
        if asked_at >= host.halved_at:  # else it is about what was asked before it was halved
            host.limit, host.is_new, host.halved_at = max(1.0, host.limit / 2), False, now
        before = host.causes.get(error.cause)
        # Without its traceback, in which a body may be held.
        last = ItemError(error.cause, error.detail, **error.facts)
        host.causes[error.cause] = Failures(before.count + 1 if before else 1, last)
        host.failures += 1
        if host.failing_since is None:
            host.failing_since = now
        if asked_at < host.paused_at:  # it is of the same burst, and says nothing new
            host.paused_until = max(host.paused_until, now + min(pause_s or 0.0, _LONGEST_AWAY_S))
        elif pause_s is not None:
            self._pause(host, now, pause_s)
            if self._tell_pause is not None:
                self._tell_pause(host.place, pause_s)
        elif host.failures >= _FAILURES:
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**host.pauses)
            self._pause(host, now, random.uniform(longest / 2, longest))

    def _pause(self, host: Host, now: float, pause_s: float) -> None:
        host.pauses += 1
        host.paused_at = now
        host.is_on_trial = True
        host.paused_until = max(host.paused_until, now + min(pause_s, _LONGEST_AWAY_S))
        if pause_s > self._limits.patience_s or self._is_hopeless(host, now):
            self._give_up(host, now)

    def _give_up(self, host: Host, now: float) -> None:
        host.is_given_up = True
        host.paused_until = max(host.paused_until, now + _GIVEN_UP_S)
        while host.waiting:
            turn = host.waiting.popleft()
            if not turn.done():
                turn.set_exception(_given_up(host))

    def _is_hopeless(self, host: Host, now: float) -> bool:
        assert host.failing_since is not None
        if now - host.failing_since > self._limits.patience_s:
            return True
        main = _main_failures(host)
        is_dead = main.last.cause in SILENT and main.count >= _ALIKE * host.failures
        return is_dead and host.pauses > _PROBES


@dataclass(eq=False, slots=True)
class Turn:
    """The right to send one request, and the duty to say what became of it."""

    hosts: Hosts
    host: Host
    asked_at: float = 0.0

    def begin(self) -> None:
        """The request is sent now."""
        self.asked_at = _now()

    def answered(self) -> None:
        """The first bytes of a normal answer came."""
        self.hosts.answered(self.host, _now() - self.asked_at)

    def done(self) -> None:
        """The answer came whole, be it a good one or not."""
        self.hosts.done(self.host)

    def failed(self, error: ItemError, pause_s: float | None) -> None:
        """The host is too busy, does not answer, or fell silent."""
        self.hosts.failed(self.host, error, self.asked_at, pause_s)


def _main_failures(host: Host) -> Failures:
    return max(host.causes.values(), key=lambda failures: failures.count)


def _given_up(host: Host) -> HostGivenUpError:
    last = _main_failures(host).last
    detail = f"{host.place} failed {host.failures} times in a row, at last: {last.detail}"
    return HostGivenUpError(last.cause, detail, **last.facts)


def _now() -> float:
    return asyncio.get_running_loop().time()
