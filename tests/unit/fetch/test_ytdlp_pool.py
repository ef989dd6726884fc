"""Who gets the processes that yt-dlp runs in, and how many of them there are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from asyncv2d.ports import Workers
from asyncv2d.workers import open_pool
from asyncv2d_stages.fetch._ytdlp import pool
from asyncv2d_stages.fetch._ytdlp.pool import Process, Processes, open_processes

pytestmark = pytest.mark.anyio

_DEADLINE_S = 60


class _Started:
    """The pools of one process that are open, real ones."""

    def __init__(self) -> None:
        self.open = self.ever = 0

    @asynccontextmanager
    async def workers(self, size: int, warm_up: Callable[[], object]) -> AsyncIterator[Workers]:
        """Workers that are counted."""
        self.open += 1
        self.ever += 1
        try:
            async with open_pool(size, warm_up) as workers:
                yield workers
        finally:
            self.open -= 1


class _Rows:
    """Rows that hold a process each until they are let go."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.holding: dict[str, Process] = {}
        self.order: list[str] = []
        self._let_go: dict[str, anyio.Event] = {}

    async def hold(self, name: str) -> None:
        """A row whose site is the first letter of its name."""
        done = self._let_go[name] = anyio.Event()
        async with self._processes.lend(name[0]) as process:
            self.holding[name] = process
            self.order.append(name)
            await done.wait()
            assert await process.workers.run(os.getpid) != os.getpid()
        del self.holding[name]

    async def is_held(self, name: str) -> None:
        """Wait until a row has its process, and nothing more happens."""
        await _until(partial(self.holding.__contains__, name))
        await anyio.wait_all_tasks_blocked()

    async def let_go(self, name: str) -> None:
        """End a row, and wait until nothing more happens for that."""
        self._let_go[name].set()
        while name in self.holding:
            await anyio.wait_all_tasks_blocked()


@pytest.fixture
def started() -> _Started:
    """What was started."""
    return _Started()


@asynccontextmanager
async def _processes(
    started: _Started, size: int, slow: int, recycle_after: int = 500
) -> AsyncIterator[Processes]:
    with anyio.fail_after(_DEADLINE_S):
        async with open_processes(
            size, slow, recycle_after, 1 << 40, started.workers, os.getpid
        ) as processes:
            yield processes
    assert started.open == 0


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("slow", [0, 1, 3])
async def test_slow_rows(started: _Started, slow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Get so many processes more, and no others; these end with them."""
    monkeypatch.setattr(pool, "LONG_S", 0.0)
    async with _processes(started, 1, slow) as processes, anyio.create_task_group() as tasks:
        rows = _Rows(processes)
        for name in "abcdef":
            tasks.start_soon(rows.hold, name)
        await _until(lambda: len(rows.order) == 1 + slow)
        await anyio.wait_all_tasks_blocked()
        assert (rows.order, started.open) == (list("abcdef")[: 1 + slow], 1 + slow)
        for name in "abcdef":
            await rows.is_held(name)
            await rows.let_go(name)
        await _until(lambda: started.open == 1)
        assert rows.order == list("abcdef")
        assert started.ever == 1 + slow


async def test_quick_rows(started: _Started) -> None:
    """Have no more than the usual number of processes, one after the other, in their order."""
    async with _processes(started, 2, 8) as processes, anyio.create_task_group() as tasks:
        rows = _Rows(processes)
        for name in "abcdef":
            tasks.start_soon(rows.hold, name)
        for done, name in enumerate("abcdef"):
            await rows.is_held(name)
            assert rows.order == list("abcdef")[: done + 2]
            await rows.let_go(name)
        assert started.ever == 2


async def test_rows_of_one_site(started: _Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the further processes to other sites, which go before them, and lose no turn by it."""
    monkeypatch.setattr(pool, "LONG_S", 0.0)
    async with _processes(started, 1, 8) as processes, anyio.create_task_group() as tasks:
        rows = _Rows(processes)
        for name in ("a1", "a2", "a3", "b1", "b2"):
            tasks.start_soon(rows.hold, name)
        await _until(lambda: len(rows.holding) == 2)
        await anyio.wait_all_tasks_blocked()
        assert (rows.order, started.ever) == (["a1", "b1"], 2)
        for name in ("a1", "a2", "b1", "a3", "b2"):
            await rows.is_held(name)
            await rows.let_go(name)


async def test_rows_that_are_cancelled(started: _Started) -> None:
    """Give back what they got in that moment, or their place."""
    async with _processes(started, 1, 8) as processes:
        rows = _Rows(processes)
        async with processes.lend("a"):
            first, second, third = (asyncio.create_task(rows.hold(name)) for name in "bcd")
            await anyio.wait_all_tasks_blocked()
            second.cancel()
        first.cancel()  # it has the process now, and does not know yet
        await rows.is_held("d")
        await rows.let_go("d")
        await third
        assert (first.cancelled(), second.cancelled()) == (True, True)
        assert (rows.order, started.ever) == (["d"], 1)


async def test_processes_that_are_replaced(started: _Started) -> None:
    """Make room for new ones."""
    async with _processes(started, 1, 0, recycle_after=1) as processes:
        seen = set()
        for _ in range(3):
            async with processes.lend("a") as process:
                seen.add(await process.workers.run(os.getpid))
        assert len(seen) == 3
