"""Worker processes: what a call costs when it goes well, fails, kills, hangs or is cancelled."""

from __future__ import annotations

import math
import operator
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest

from asyncv2d import nursery
from asyncv2d.types import Cause, ItemError, RunError, WorkerError
from asyncv2d.workers import WorkerDiedError, WorkerPool, open_pool

pytestmark = pytest.mark.anyio
Until = Callable[..., None]

# Functions that a worker can import by name: those of the standard library.
KILL_ITSELF = "__import__('os').kill(__import__('os').getpid(), 9)"
RAISE = "[(_ for _ in ()).throw({}) for t in [__import__('asyncv2d.types').types]]"
BLOCK = "__import__('time').sleep(1000)"


@asynccontextmanager
async def pool_of(size: int) -> AsyncIterator[tuple[WorkerPool, list[int]]]:
    """A pool, and the ids of its processes, all of which answered."""
    async with open_pool(size, os.getpid) as pool:
        seen: set[int] = set()
        while len(seen) < size:
            async with anyio.create_task_group() as tasks:
                for _ in range(size):
                    tasks.start_soon(_note_pid, pool, seen)
        yield pool, sorted(seen)


async def _note_pid(pool: WorkerPool, seen: set[int]) -> None:
    seen.add(await pool.run(os.getpid))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_workers_that_wait_for_work() -> None:
    """A pool that starts none at once starts each when a call finds no idle one."""
    async with open_pool(2, os.getpid, at_once=False) as pool:
        assert pool.running == 0
        first = await pool.run(os.getpid)
        assert pool.running == 1
        assert await pool.run(os.getpid) == first
        seen: set[int] = set()
        while len(seen) < 2:
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(_note_pid, pool, seen)
        assert first in seen
        assert pool.running == 2


async def test_calls_run_in_other_processes() -> None:
    """A call gives its value, out of a process that is not this one."""
    async with pool_of(2) as (pool, pids):
        assert os.getpid() not in pids
        assert await pool.run(math.factorial, 20) == math.factorial(20)


async def test_large_values_go_both_ways() -> None:
    """A message may be far larger than a pipe's buffer."""
    async with pool_of(1) as (pool, _):
        assert await pool.run(operator.mul, b"x" * 1_000_000, 5) == b"x" * 5_000_000


async def test_an_exception_comes_back() -> None:
    """What nobody foresaw comes back as a WorkerError with its traceback, and costs no worker."""
    async with pool_of(1) as (pool, pids):
        with pytest.raises(WorkerError, match=r"(?s)worker_main\.py.*ZeroDivisionError"):
            await pool.run(operator.truediv, 1, 0)
        assert [await pool.run(os.getpid)] == pids


async def test_what_stages_raise_comes_back_as_it_is() -> None:
    """An ItemError keeps its cause, its words and its facts."""
    async with pool_of(1) as (pool, _):
        with pytest.raises(ItemError) as caught:
            await pool.run(eval, RAISE.format("t.ItemError(t.Cause.CORRUPT, 'broken', frames=3)"))
        assert caught.value.cause is Cause.CORRUPT
        assert (caught.value.detail, caught.value.facts) == ("broken", {"frames": 3})


async def test_a_timeout_inside_a_call_is_not_the_call_s() -> None:
    """TimeoutError means that the call took too long, never that something in it did."""
    async with pool_of(1) as (pool, _):
        with pytest.raises(WorkerError, match="TimeoutError: a socket's"):
            await pool.run(eval, RAISE.format('TimeoutError("a socket\'s")'), timeout_s=60)


async def test_an_answer_that_cannot_be_sent() -> None:
    """A value that cannot be pickled is an error that shows it, and costs no worker."""
    async with pool_of(1) as (pool, pids):
        with pytest.raises(WorkerError, match=r"<lambda>"):
            await pool.run(eval, "lambda: 0")
        assert [await pool.run(os.getpid)] == pids


async def test_prints_do_not_mix_with_answers() -> None:
    """A library that writes to stdout does no harm."""
    async with pool_of(1) as (pool, _):
        await pool.run(os.write, 1, b"noise on file descriptor 1\n")
        await pool.run(print, "noise through Python")
        assert await pool.run(math.factorial, 3) == 6


async def test_a_death_costs_one_call() -> None:
    """A worker killed in the middle of a call fails that call, and no other; it is replaced."""
    async with pool_of(2) as (pool, pids):
        others: list[int] = []

        async def keep_busy() -> None:
            others.extend([await pool.run(math.factorial, number) for number in range(20)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_busy)
            with pytest.raises(WorkerDiedError, match="code -9"):
                await pool.run(eval, KILL_ITSELF)
        assert others == [math.factorial(number) for number in range(20)]
        seen: set[int] = set()
        while len(seen) < 2:
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(_note_pid, pool, seen)
        assert len(seen & set(pids)) == 1


async def test_last_words() -> None:
    """The message of a death holds the end of what the worker wrote on stderr."""
    async with pool_of(1) as (pool, _):
        with pytest.raises(WorkerDiedError, match=r"code 3; its last words: (?s:.*)farewell"):
            await pool.run(eval, "(print('farewell'), __import__('os')._exit(3))")


async def test_killed_while_idle(until: Until) -> None:
    """A worker that was killed between two calls is replaced."""
    async with pool_of(1) as (pool, (pid,)):
        os.kill(pid, signal.SIGKILL)
        await anyio.to_thread.run_sync(until, lambda: not is_running(pid))
        new = None
        while new is None:
            try:
                new = await pool.run(os.getpid)
            except WorkerDiedError:  # its end had not been noticed yet
                continue
        assert new != pid


async def test_cancelling_kills() -> None:
    """A cancelled call ends its worker, which is replaced."""
    async with pool_of(1) as (pool, (pid,)):
        with anyio.move_on_after(0.2) as scope:
            await pool.run(eval, BLOCK)
        assert scope.cancelled_caught
        assert not is_running(pid)
        assert await pool.run(os.getpid) != pid


async def test_closing_leaves_no_process() -> None:
    """All workers are gone when the pool is left, busy ones too."""
    async with pool_of(2) as (pool, pids), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: pool.run(eval, BLOCK))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_leaving_while_workers_start(after: int) -> None:
    """A pool that is left at any moment of its start leaves no process."""
    before = children()
    async with open_pool(3, os.getpid):
        for _ in range(after):
            await anyio.lowlevel.checkpoint()
    assert children() == before


def children() -> set[int]:
    """The processes that this one started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that ended meanwhile
            found |= set(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if is_running(pid)}


async def test_an_error_inside_leaves_no_process() -> None:
    """All workers are gone when the pool's context is left by an exception."""
    with pytest.raises(ExceptionGroup) as caught:
        async with pool_of(1) as (_, pids):
            raise ValueError("mine")
    assert isinstance(caught.value.exceptions[0], ValueError)
    assert not any(map(is_running, pids))


async def test_workers_that_die_at_their_start() -> None:
    """Workers that never get ready end the run with their reason, not with a wait."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(1, os.abort) as pool:
            await pool.run(os.getpid)
    error = RunError.found_in(caught.value)
    assert error is not None
    assert "cannot be started" in str(error)
    assert f"code -{signal.SIGABRT.value}" in str(error)


async def test_a_warm_up_that_fails() -> None:
    """An installation that does not work ends the run with its reason."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(1, partial(int, "x")) as pool:
            await pool.run(os.getpid)
    error = RunError.found_in(caught.value)
    assert error is not None
    assert "cannot be started: ValueError" in str(error)


async def test_workers_that_start_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a worker has a deadline."""
    monkeypatch.setattr(nursery, "_START_DEADLINE_S", 0.001)
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(1, os.getpid) as pool:
            await pool.run(os.getpid)
    assert "not ready within 0.001 s" in str(RunError.found_in(caught.value))
