"""How one host does: how much it takes at a time, and when it wants to be left alone."""

from __future__ import annotations

import asyncio
import random
from collections import deque

from msgspec import Struct, field

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
_IN_A_ROW = 3  # failures that cannot be about single files any more
_TWICE = 2  # the same for those that are hardly ever about single files
_TOO_OFTEN = 0.25  # share of answers that say they are too busy, which are about no files either
_RECENT = 16  # answers that count for it, roughly
_LESSONS = 2  # pauses after single failures, until these are taken to be about files
SILENT = (Cause.CONNECT, Cause.TIMEOUT, Cause.STALLED)
"""Causes for which a host is paused, and in the end given up."""


class HostGivenUpError(ItemError):
    """The host failed for others until it was given up; this row did not get its turn."""


class Limits(Struct, frozen=True):
    """What is the same for all hosts: requests at a time, seconds between two, patience."""

    most: int
    interval_s: float = 0.0
    patience_s: float = 60.0


class Failures(Struct):
    """How often a host failed for one cause, and how at last."""

    count: int
    last: ItemError


class Host(Struct, eq=False):
    """A host's state, and those who wait for it."""

    place: str
    limits: Limits
    interval_s: float
    limit: float = 0.0  # adapts
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
    is_there: bool = False  # though it may have time for others alone
    rests_for_one: bool = False
    lessons: int = 0
    busy_share: float = 0.0
    says_more: bool = False  # than it was asked once: its answers may come late
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.limit = min(_FIRST_LIMIT, self.limits.most)

    def may_start(self, now: float) -> bool:
        """Whether one more request may be sent now; a host that was paused gets one to begin."""
        limit = 1 if self.is_on_trial else max(1, int(self.limit))
        return self.active < limit and now >= self.next_at and now >= self.paused_until

    def start(self, now: float) -> None:
        """A request is sent."""
        self.active += 1
        self.next_at = max(now, self.next_at) + self.interval_s

    def answered(self, after_s: float, now: float) -> None:
        """It answered ``after_s`` seconds after it was asked."""
        self.is_on_trial = False
        if self.is_given_up:
            self.is_given_up, self.paused_until = False, now
        self._learn(after_s)
        is_full = self.active >= int(self.limit)
        if is_full and self.usual_s <= _SLOWER * self.quick_s + _SLOWER_BY_S:
            grown = self.limit + (1 if self.is_new else 1 / self.limit)
            self.limit = min(grown, self.limits.most)

    def _learn(self, after_s: float) -> None:
        """Take an answer into account for how long they take now, and took when they were quick."""
        self.answers += 1
        self.usual_s += (after_s - self.usual_s) / min(self.answers, _SMOOTHING)
        if self.answers <= _SMOOTHING:
            self.quick_s = self.usual_s
        else:
            self.quick_s += (self.usual_s - self.quick_s) / _FORGETTING
            self.quick_s = min(self.quick_s, self.usual_s)

    def done(self, asked_at: float) -> None:
        """It sent all that it had to say, having been asked then."""
        self.busy_share -= self.busy_share / _RECENT
        if self.rests_for_one and not self.is_old_news(asked_at):
            self.lessons, self.rests_for_one = self.lessons + 1, False
        self.failures = self.pauses = 0
        self.failing_since = None
        self.causes.clear()

    def failed(
        self, error: ItemError, asked_at: float, pause_s: float | None, now: float
    ) -> float | None:
        """It is too busy or fell silent; ``pause_s``: how long it wants to be left alone.

        Gives how much of that is heeded.
        """
        if asked_at >= self.halved_at:  # else it is about what was asked before it was halved
            self.limit, self.is_new, self.halved_at = max(1.0, self.limit / 2), False, now
        self._count(error)
        if self.failing_since is None:
            self.failing_since = now
        if pause_s is not None:
            pause_s = self._heeded(error, asked_at, pause_s)
        if self.is_old_news(asked_at) and (pause_s or 0.0) <= self.limits.patience_s:
            self.paused_until = max(self.paused_until, now + (pause_s or 0.0))
        elif pause_s is not None:
            self._pause(now, pause_s)
        elif self.failures >= _FAILURES or error.cause is Cause.HTTP_429:
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self.pauses)
            self._pause(now, random.uniform(longest / 2, longest))
        return pause_s

    def _heeded(self, error: ItemError, asked_at: float, pause_s: float) -> float | None:
        """How long to leave a host alone that may have failed about one file.

        One that wants to be left alone for long is asked for others of its files first, one after
        the other: the rows of all of them are at stake. Where one did well, and the answers after
        such pauses are good ones, time and again, a further failure pauses its row alone; but too
        many requests (429) are about no file.
        """
        if pause_s > self.limits.patience_s:
            enough = _TWICE if error.cause is Cause.HTTP_429 else _IN_A_ROW
            is_sure = self.failures >= enough and not self.is_old_news(asked_at)
            return pause_s if is_sure else _FIRST_PAUSE_S
        if self.answers == 0:
            return pause_s
        self.busy_share += (1 - self.busy_share) / _RECENT
        is_often = self.failures >= _IN_A_ROW or self.busy_share > _TOO_OFTEN
        if error.cause is Cause.HTTP_429 or is_often:
            self.rests_for_one, self.lessons = False, 0
        elif self.lessons >= _LESSONS:
            return None
        else:
            self.rests_for_one = True
        return pause_s

    def is_old_news(self, asked_at: float) -> bool:
        """Whether what was asked then is of the burst for which the host was paused last."""
        return asked_at < self.paused_at

    def _count(self, error: ItemError) -> None:
        before = self.causes.get(error.cause)
        # Without its traceback, in which a body may be held.
        last = ItemError(error.cause, error.detail, **error.facts)
        self.causes[error.cause] = Failures(before.count + 1 if before else 1, last)
        self.failures += 1

    def _pause(self, now: float, pause_s: float) -> None:
        self.pauses += 1
        self.rest(now, min(pause_s, _LONGEST_AWAY_S))
        if pause_s > self.limits.patience_s or self._is_hopeless(now):
            self._give_up(now)

    def rest(self, now: float, pause_s: float) -> None:
        """Leave it alone for so many seconds, and then ask it one thing to begin."""
        self.paused_at, self.is_on_trial = now, True
        self.paused_until = max(self.paused_until, now + pause_s)

    def _is_hopeless(self, now: float) -> bool:
        assert self.failing_since is not None
        if now - self.failing_since > self.limits.patience_s:
            return True
        main = self._main_failures()
        is_silent = main.last.cause in SILENT and main.count >= _ALIKE * self.failures
        # One that did answer once may be back soon; what never did is not worth the wait.
        is_unknown = self.answers == 0 and not self.is_there
        return is_silent and is_unknown and self.pauses > _PROBES

    def _give_up(self, now: float) -> None:
        self.is_given_up = True
        self.paused_until = max(self.paused_until, now + _GIVEN_UP_S)
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_exception(self.given_up())

    def given_up(self) -> HostGivenUpError:
        """Why its rows do not get their turn."""
        if not self.causes:  # others heard of it
            return HostGivenUpError(Cause.HTTP_429, f"{self.place} asked for a pause")
        last = self._main_failures().last
        detail = f"{self.place} failed {self.failures} times in a row, at last: {last.detail}"
        return HostGivenUpError(last.cause, detail, **last.facts)

    def _main_failures(self) -> Failures:
        return max(self.causes.values(), key=lambda failures: failures.count)
