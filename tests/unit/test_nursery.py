"""Processes that are forked from one that has imported what all of them need."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from asyncv2d import child as child_module
from asyncv2d import nursery as nursery_module
from asyncv2d.child import Child
from asyncv2d.nursery import Nursery, StartError
from asyncv2d.nursery_start import LOOP, WORKER, Kind
from asyncv2d.workers import WorkerDiedError, open_pool

pytestmark = pytest.mark.anyio
Until = Callable[..., None]
Code = partial[None]

BLOCK = "__import__('time').sleep(1000)"


def code(text: str) -> Code:
    """What runs ``text`` in another process."""
    return partial(exec, text, {})


@asynccontextmanager
async def open_nursery(kind: Kind, warm_up: Code | None = None) -> AsyncIterator[Nursery]:
    """A nursery that is closed at the end."""
    nursery = Nursery(kind, warm_up)
    try:
        yield nursery
    finally:
        await nursery.close()


def parent(pid: int) -> int:
    """The process that a process was forked from."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def name(pid: int) -> str:
    """What the system calls a process."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_what_all_need_is_done_once() -> None:
    """All workers have what one call of ``warm_up`` left, which was made in none of them."""
    async with open_pool(2, code("import builtins, os; builtins.warm = os.getpid()")) as pool:
        found = {await pool.run(eval, "(__import__('os').getpid(), warm)") for _ in range(50)}
    pids, warm = {pid for pid, _ in found}, {pid for _, pid in found}
    assert len(pids) == 2
    assert len(warm) == 1
    assert not pids & warm


async def test_what_is_random_differs() -> None:
    """Workers do not all draw the same numbers, from Python's generator or numpy's."""
    drawn = "(__import__('os').getpid(), __import__('numpy').random.random())"
    async with open_pool(2, code("import numpy, random; numpy.random.random()")) as pool:
        of_numpy: dict[int, float] = {}
        of_python = set[float]()
        while len(of_numpy) < 2:
            async with anyio.create_task_group() as tasks:
                for _ in range(2):

                    async def draw() -> None:
                        pid, number = await pool.run(eval, drawn)
                        of_numpy.setdefault(pid, number)
                        of_python.add(await pool.run(eval, "__import__('random').random()"))

                    tasks.start_soon(draw)
    assert len(set(of_numpy.values())) == 2
    assert len(of_python) >= 2


async def test_names_and_streams(until: Until) -> None:
    """A process has a name of its own, and its streams are those that its parent holds."""
    async with open_nursery(LOOP) as nursery:
        loop = await nursery.start()
        await to_thread.run_sync(until, lambda: name(_pid(loop)) == "asyncv2d loop")
        assert loop.returncode is None
        await loop.stdin.aclose()  # there is no job after all
        with anyio.fail_after(60):
            assert await loop.wait() == 0
        await loop.kill()


async def test_a_nursery_that_dies_takes_all_with_it(until: Until) -> None:
    """Calls end as where a worker dies, and the pool goes on with others."""
    async with open_pool(2, os.getpid) as pool:
        before = await pool.run(os.getpid)
        nursery = parent(before)
        async with anyio.create_task_group() as tasks:

            async def fail() -> None:
                with pytest.raises(WorkerDiedError, match="code -9"):
                    await pool.run(eval, BLOCK)

            tasks.start_soon(fail)
            tasks.start_soon(fail)
            await anyio.wait_all_tasks_blocked()
            os.kill(nursery, signal.SIGKILL)
        await to_thread.run_sync(until, lambda: is_gone(before))
        with anyio.fail_after(60):
            after = await pool.run(os.getpid)
        assert parent(after) != nursery


async def test_a_nursery_that_stands_still(monkeypatch: pytest.MonkeyPatch, until: Until) -> None:
    """It does not hold up who wants one of its processes gone; another one takes its place."""
    monkeypatch.setattr(child_module, "_KILL_DEADLINE_S", 0.1)
    async with open_nursery(WORKER) as nursery:
        child = await nursery.start()
        os.kill(parent(_pid(child)), signal.SIGSTOP)
        with anyio.fail_after(60):
            await child.kill()
        await to_thread.run_sync(until, lambda: is_gone(_pid(child)))
        with anyio.fail_after(60):
            other = await nursery.start()
        assert other.returncode is None
        await other.kill()


async def test_no_process_can_be_had() -> None:
    """The system's reason is told, and the nursery is there for the next try."""
    text = """
import os
fork = os.fork
def once():
    if not hasattr(os, 'refused'):
        os.refused = True
        raise BlockingIOError(11, 'no')
    return fork()
os.fork = once
"""
    async with open_nursery(WORKER, code(text)) as nursery:
        with pytest.raises(StartError, match="temporarily unavailable"):
            await nursery.start()
        child = await nursery.start()
        assert child.pid is not None
        await child.kill()
        assert child.returncode == -signal.SIGKILL


async def test_several_wait_for_what_never_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each learns that it took too long."""
    monkeypatch.setattr(nursery_module, "_START_DEADLINE_S", 0.2)
    failures = list[str]()
    async with open_nursery(WORKER, code(BLOCK)) as nursery, anyio.create_task_group() as tasks:

        async def start() -> None:
            with pytest.raises(StartError) as caught:
                await nursery.start()
            failures.append(str(caught.value))

        for _ in range(3):
            tasks.start_soon(start)
    assert len(failures) == 3
    assert "not ready within 0.2 s" in failures


async def test_much_to_begin_with() -> None:
    """What is called first may be larger than what a socket holds."""
    text = f"import builtins; builtins.much = {'x' * 3_000_000!r}"
    async with open_pool(1, code(text)) as pool:
        assert await pool.run(eval, "len(much)") == 3_000_000


async def test_what_is_not_there_to_import() -> None:
    """The last line of what Python says is the reason."""
    kind = Kind("asyncv2d.nowhere", dies_with_parent=True, own_session=False, keeps_stderr=True)
    async with open_nursery(kind) as nursery:
        for _ in range(2):
            with pytest.raises(StartError, match=r"No module named 'asyncv2d\.nowhere'"):
                await nursery.start()


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 5, 8, 13])
async def test_a_start_that_is_given_up(rounds: int, until: Until) -> None:
    """Leaves no process, whenever that is."""
    async with open_nursery(WORKER) as nursery:
        started = [await nursery.start()]
        mother = parent(_pid(started[0]))

        async def start() -> None:
            started.append(await nursery.start())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            for _ in range(rounds):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await start()  # whatever was ordered before has been born by now
        expected = {_pid(child) for child in started}
        await to_thread.run_sync(until, lambda: set(_children(mother)) == expected)


def _pid(child: Child) -> int:
    assert child.pid is not None
    return child.pid


def _children(pid: int) -> Sequence[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(number) for number in found if not is_gone(int(number))]
