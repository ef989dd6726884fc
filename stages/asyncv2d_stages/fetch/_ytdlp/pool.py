"""The processes that yt-dlp runs in: few, started when needed, replaced before they grow large.

A row that takes long, as slow servers and enormous pages make it, keeps its process; but then the
rows of other sites get a further one in its place, so that they do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field

from asyncv2d.deadline import waiting
from asyncv2d.ports import OpenWorkers, Workers
from asyncv2d.types import ItemError, RunError

LONG_S = 5.0
"""Seconds after which a row is one that takes long."""


class Process(Struct, eq=False):
    """One process, lent to one row at a time: one of ``site``, which may take long."""

    workers: Workers
    uses: int = 0
    memory: int = 0
    site: str = ""
    is_slow: bool = False
    is_surplus: bool = False
    tired: anyio.Event = field(default_factory=anyio.Event)


class _Wait(Struct, eq=False):
    """A row that waits for a process."""

    site: str
    process: Process | None = None
    came: anyio.Event = field(default_factory=anyio.Event)


class Processes(Struct):
    """At most ``size`` processes, and as many more as rows take long. Use ``open_processes``.

    There are ``slow`` more at most, and one site gets ``size`` of them all.
    """

    size: int
    slow: int
    recycle_after: int
    memory: int
    open_workers: OpenWorkers
    warm_up: Callable[[], object]
    _tasks: TaskGroup
    _running: int = 0  # lent, idle, or about to start
    _lent: set[Process] = field(default_factory=set)
    _idle: list[Process] = field(default_factory=list)
    _waiting: dict[_Wait, None] = field(default_factory=dict)

    @asynccontextmanager
    async def lend(self, site: str) -> AsyncIterator[Process]:
        """A process for this row of ``site`` alone, as soon as there is one."""
        process = await self._take(site)
        timer = asyncio.get_running_loop().call_later(LONG_S, self._takes_long, process)
        try:
            yield process
        finally:
            timer.cancel()
            process.uses += 1
            self._take_back(process)

    async def _take(self, site: str) -> Process:
        wait = _Wait(site)
        self._waiting[wait] = None
        self._settle()
        try:
            if wait.process is None:
                with waiting():
                    await wait.came.wait()
        except BaseException:
            self._waiting.pop(wait, None)
            if wait.process is not None:  # it came at the moment in which this row was cancelled
                self._take_back(wait.process)
            raise
        assert wait.process is not None
        return wait.process

    def _takes_long(self, process: Process) -> None:
        process.is_slow = True
        self._settle()

    def _take_back(self, process: Process) -> None:
        self._lent.remove(process)
        process.is_slow = False
        if self._running > self._most():
            self._running -= 1
            process.is_surplus = True
            process.tired.set()
        elif process.uses >= self.recycle_after or process.memory > self.memory:
            process.tired.set()
        else:
            self._idle.append(process)
        self._settle()

    def _most(self) -> int:
        """How many processes there may be now."""
        return self.size + min(self.slow, sum(process.is_slow for process in self._lent))

    def _settle(self) -> None:
        """Give processes to those who wait, the first of them first, and start what is missing."""
        held = Counter(process.site for process in self._lent)
        missing = 0
        for wait in tuple(self._waiting):
            if held[wait.site] < self.size:  # else the rows of other sites go before it
                held[wait.site] += 1
                if self._idle:
                    self._hand_over(self._idle.pop(), wait)
                else:
                    missing += 1
        starting = self._running - len(self._lent) - len(self._idle)
        for _ in range(min(missing - starting, self._most() - self._running)):
            self._running += 1
            self._tasks.start_soon(self._keep_one)

    def _hand_over(self, process: Process, wait: _Wait) -> None:
        del self._waiting[wait]
        process.site = wait.site
        self._lent.add(process)
        wait.process = process
        wait.came.set()

    async def _keep_one(self) -> None:
        """Run one process after the other."""
        is_needed = True
        while is_needed:
            async with self.open_workers(1, self.warm_up) as workers:
                process = Process(workers)
                self._idle.append(process)
                self._settle()
                await process.tired.wait()
            is_needed = not process.is_surplus


@asynccontextmanager
async def open_processes(
    size: int,
    slow: int,
    recycle_after: int,
    memory: int,
    open_workers: OpenWorkers,
    warm_up: Callable[[], object],
) -> AsyncIterator[Processes]:
    """Processes that first call ``warm_up``; the first starts when the first row asks for one."""
    failure = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Processes(size, slow, recycle_after, memory, open_workers, warm_up, tasks)
        except (ItemError, RunError) as error:  # the group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
