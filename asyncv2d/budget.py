"""A limit on the bytes that all bodies in flight hold together."""

from __future__ import annotations

import asyncio
from collections import deque

import anyio
from msgspec import Struct, field

from asyncv2d.deadline import Deadline, current_operation, waiting
from asyncv2d.overdraft import Overdraft

_TRY_EVERY_S = 0.2


class ByteBudget:
    """Limits the bytes that all bodies in flight hold together in one place.

    Requests are served in order. A body of unknown length grows as it arrives, and a row may need
    several. The row with the oldest body in flight always gets what it asks for, so rows that wait
    for each other cannot come to a standstill, and the limit is exceeded by those of one row at
    most. A lease that is to grow *now* never exceeds it. Where several processes have a budget each
    of the same place, an ``overdraft`` sees to it that one of them exceeds its own at a time.
    """

    def __init__(self, limit: int, overdraft: Overdraft | None = None) -> None:
        self.limit = limit
        self._overdraft = overdraft
        self._next_try: asyncio.TimerHandle | None = None
        self.used = 0
        self._leases: dict[Lease, None] = {}
        self._waiting: deque[tuple[Lease, int, anyio.Event]] = deque()
        self._watching: dict[anyio.Event, tuple[int, Deadline | None]] = {}

    @property
    def waiting(self) -> int:
        """How many bodies wait for a share."""
        return len(self._waiting) + len(self._watching)

    async def lease(self, size: int) -> Lease:
        """Take ``size`` bytes out of the budget; waits until they are there."""
        lease = Lease(self)
        self._leases[lease] = None
        try:
            await lease.grow(size)
        except BaseException:
            lease.close()
            raise
        return lease

    async def has_room(self, size: int, leave: int = 0) -> None:
        """Wait until there are ``size`` bytes and ``leave`` more, without taking them.

        For those who then have to wait for something else, and must not hold room meanwhile.
        """
        operation = current_operation()
        if self._has_room(size + leave, operation):
            return
        there_is = anyio.Event()
        self._watching[there_is] = size + leave, operation
        try:
            with waiting(holds=True):
                await there_is.wait()
        finally:
            self._watching.pop(there_is, None)

    def lease_if_room(self, size: int, leave: int = 0) -> Lease | None:
        """Take ``size`` bytes out of the budget if ``has_room`` would not wait for them."""
        lease = Lease(self)
        if not self._has_room(size + leave, lease.operation):
            return None
        self._leases[lease] = None
        self._grant(lease, size)
        return lease

    def lease_now(self, size: int, leave: int = 0) -> Lease | None:
        """Take ``size`` bytes out of the budget if they are there, and ``leave`` more."""
        lease = Lease(self)
        self._leases[lease] = None
        if lease.grow_now(size, leave):
            return lease
        lease.close()
        return None

    def _take_if_room(self, lease: Lease, size: int, leave: int) -> bool:
        is_there = not self._waiting and self.used + size + leave <= self.limit
        if not is_there and not (self._is_of_oldest(lease) and self._may_overdraw()):
            return False
        self._grant(lease, size)
        return True

    def _take_now(self, lease: Lease, size: int, leave: int) -> bool:
        if self._waiting or self.used + size + leave > self.limit:
            return False
        self._grant(lease, size)
        return True

    async def _take(self, lease: Lease, size: int) -> None:
        if not self._waiting and self._may(lease, size):
            self._grant(lease, size)
            return
        request = (lease, size, anyio.Event())
        self._waiting.append(request)
        self._admit()
        try:
            with waiting(holds=True):
                await request[2].wait()
        finally:
            if request in self._waiting:
                self._waiting.remove(request)
                self._admit()

    def _may(self, lease: Lease, size: int) -> bool:
        if self.used + size <= self.limit:
            return True
        return self._is_of_oldest(lease) and self._may_overdraw()

    def _has_room(self, size: int, operation: Deadline | None) -> bool:
        """Whether a row may take so many bytes; None: a row of which nothing is known."""
        if not self._waiting and self.used + size <= self.limit:
            return True
        oldest = next(iter(self._leases), None)
        is_oldest = oldest is None or (operation is not None and oldest.operation is operation)
        return is_oldest and self._may_overdraw()

    def _may_overdraw(self) -> bool:
        """Whether the limit may be exceeded now; if not, those who wait are looked at again."""
        if self._overdraft is None or self._overdraft.take():
            return True
        if self._next_try is None:
            self._next_try = asyncio.get_running_loop().call_later(_TRY_EVERY_S, self._try_again)
        return False

    def _try_again(self) -> None:
        self._next_try = None
        self._admit()

    def _is_of_oldest(self, lease: Lease) -> bool:
        oldest = next(iter(self._leases))
        is_same_row = oldest.operation is not None and lease.operation is oldest.operation
        return lease is oldest or is_same_row

    def _grant(self, lease: Lease, size: int) -> None:
        lease.size += size
        self.used += size

    def _admit(self) -> None:
        """Serve requests from the front while they fit, and those of the oldest row in any case."""
        while self._waiting and self._may(*self._waiting[0][:2]):
            self._serve(self._waiting[0])
        for request in list(self._waiting):
            if self._is_of_oldest(request[0]) and self._may(*request[:2]):
                self._serve(request)
        for there_is, (size, operation) in self._watching.items():
            if not there_is.is_set() and self._has_room(size, operation):
                there_is.set()
        if self._overdraft is not None and self.used <= self.limit:
            self._overdraft.give_back()

    def _serve(self, request: tuple[Lease, int, anyio.Event]) -> None:
        self._waiting.remove(request)
        self._grant(request[0], request[1])
        request[2].set()

    def _shrink(self, lease: Lease, size: int) -> None:
        lease.size -= size
        self.used -= size
        self._admit()

    def _give_back(self, lease: Lease) -> None:
        if lease in self._leases:
            del self._leases[lease]
            self.used -= lease.size
            self._admit()


class Lease(Struct, eq=False):
    """A share of the budget, taken by an operation on a row, as far as known."""

    budget: ByteBudget
    size: int = 0
    operation: Deadline | None = field(default_factory=current_operation)

    async def grow(self, size: int) -> None:
        """Take ``size`` more bytes."""
        await self.budget._take(self, size)

    def grow_now(self, size: int, leave: int = 0) -> bool:
        """Take ``size`` more bytes if they are there, and ``leave`` beside them; else take none."""
        return self.budget._take_now(self, size, leave)

    def grow_if_room(self, size: int, leave: int = 0) -> bool:
        """Take ``size`` more bytes if ``has_room`` would not wait for them; else take none."""
        return self.budget._take_if_room(self, size, leave)

    def shrink(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self.budget._shrink(self, size)

    def close(self) -> None:
        """Give everything back; closing twice does nothing."""
        self.budget._give_back(self)
