"""Limits the requests in flight to all hosts together.

A request whose server keeps silent costs a socket and nothing else, so its slot is lent to another
one until bytes come again: a hundred dead servers do not hold up the good ones.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec import Struct

from asyncv2d.deadline import waiting

_LOOK_EVERY_S = 1.0
_SLOW_BYTES = 1024  # in this time
_MOST_LENT = 2  # times the slots there are
_SHARE_OF_FILES = 4  # a fourth of the files this process may open


class Progress(Protocol):
    """What tells how far a request came."""

    @property
    def progress(self) -> int:
        """Bytes, roughly."""


class _Slot(Struct, eq=False):
    what: Progress
    seen: int
    is_lent: bool = False


class Slots:
    """``limit`` slots, served in order."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: dict[_Slot, None] = {}
        self._may_lend = min(_MOST_LENT * limit, max(0, _open_files() // _SHARE_OF_FILES - limit))
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def one(self, what: Progress, *, at_once: bool) -> AsyncIterator[None]:
        """Hold a slot for ``what``.

        ``at_once`` is for those who hold a part of a body: they must not wait for a slot whose
        holder waits for their room. So the limit may be exceeded by a few.
        """
        if at_once or (self._free > 0 and not self._waiting):
            self._free -= 1
        else:
            await self._wait()
        slot = _Slot(what, what.progress)
        self._held[slot] = None
        self._look_later()
        try:
            yield
        finally:
            del self._held[slot]
            if slot.is_lent:
                self._may_lend += 1
            else:
                self._give_back()
            if not self._held and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            with waiting():
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._give_back()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _give_back(self) -> None:
        self._free += 1
        while self._free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _look_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """Lend the slots of those that did not come on, and take back those of who did."""
        self._timer = None
        self._look_later()
        for slot in self._held:
            progress = slot.what.progress
            is_slow = abs(progress - slot.seen) < _SLOW_BYTES
            slot.seen = progress
            if is_slow and not slot.is_lent and self._may_lend > 0:
                slot.is_lent = True
                self._may_lend -= 1
                self._give_back()
            elif slot.is_lent and not is_slow:
                slot.is_lent = False
                self._may_lend += 1
                self._free -= 1


def _open_files() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 1 << 20
