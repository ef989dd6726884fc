"""The processes that yt-dlp runs in: few, started when needed, replaced before they grow large."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from asyncv2d.deadline import waiting
from asyncv2d.ports import OpenWorkers, Workers
from asyncv2d.types import ItemError, RunError


@dataclass(slots=True)
class Process:
    """One process, lent to one row at a time."""

    workers: Workers
    uses: int = 0
    memory: int = 0
    tired: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Processes:
    """At most ``size`` processes. Use ``open_processes``."""

    size: int
    recycle_after: int
    memory: int
    open_workers: OpenWorkers
    warm_up: Callable[[], object]
    _tasks: TaskGroup
    _started: int = 0
    _idle: list[Process] = field(default_factory=list)
    _wake: anyio.Condition = field(default_factory=anyio.Condition)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Process]:
        """A process for this row alone, as soon as there is one."""
        process = await self._take()
        try:
            yield process
        finally:
            process.uses += 1
            if process.uses >= self.recycle_after or process.memory > self.memory:
                process.tired.set()
            else:
                await self._give(process)

    async def _take(self) -> Process:
        async with self._wake:
            while not self._idle:
                if self._started < self.size:
                    self._started += 1
                    self._tasks.start_soon(self._keep_one)
                with waiting():
                    await self._wake.wait()
            return self._idle.pop()

    async def _give(self, process: Process) -> None:
        with anyio.CancelScope(shield=True):
            async with self._wake:
                self._idle.append(process)
                self._wake.notify()

    async def _keep_one(self) -> None:
        """Run one process after the other."""
        while True:
            async with self.open_workers(1, self.warm_up) as workers:
                process = Process(workers)
                await self._give(process)
                await process.tired.wait()


@asynccontextmanager
async def open_processes(
    size: int,
    recycle_after: int,
    memory: int,
    open_workers: OpenWorkers,
    warm_up: Callable[[], object],
) -> AsyncIterator[Processes]:
    """Processes that first call ``warm_up``; the first starts when the first row asks for one."""
    failure = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Processes(size, recycle_after, memory, open_workers, warm_up, tasks)
        except (ItemError, RunError) as error:  # the group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
