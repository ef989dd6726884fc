"""Deadlines that leave out the wait for a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.deadline import Deadline, waiting

if TYPE_CHECKING:
    from tests.unit.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(clock: Clock) -> tuple[str, dict[str, Any]]:
    """With the clock; not in debug mode, which takes the time that is left out for work."""
    return "asyncio", {"loop_factory": clock.loop}


async def timers_ring() -> None:
    """Let the loop see what time it is, and those that it wakes do something about it."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


class Operation:
    """Waits for its turn, then works; both last as long as a test wants."""

    def __init__(self) -> None:
        self.turn, self.result = anyio.Event(), anyio.Event()
        self.done = self.ended = False

    async def run(self, seconds: float) -> None:
        """With a deadline after so many seconds."""
        with Deadline(seconds):
            with waiting():
                await self.turn.wait()
            await self.result.wait()
            self.done = True
        self.ended = True


@pytest.mark.parametrize(("work_s", "is_done"), [(9, True), (11, False)])
async def test_the_wait_is_not_counted(clock: Clock, work_s: float, is_done: bool) -> None:
    """However long it lasts, the work has its whole time."""
    operation = Operation()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(operation.run, 10)
        await anyio.wait_all_tasks_blocked()
        clock.put_forward(1000)
        await timers_ring()
        operation.turn.set()
        await anyio.wait_all_tasks_blocked()
        clock.put_forward(work_s)
        await timers_ring()
        operation.result.set()
    assert operation.ended
    assert operation.done == is_done


async def test_work_before_the_wait_is_counted(clock: Clock) -> None:
    """What is left of the time is left after the wait."""
    began = anyio.current_time()
    with Deadline(10):
        clock.put_forward(4)
        with waiting():
            clock.put_forward(1000)
        clock.put_forward(5)
        await anyio.lowlevel.checkpoint()
        clock.put_forward(2)
        await anyio.sleep_forever()
    assert anyio.current_time() - began == 1011


async def test_a_wait_within_a_wait(clock: Clock) -> None:
    """Is one wait."""
    done = False
    with Deadline(10):
        with waiting():
            clock.put_forward(20)
            with waiting():
                clock.put_forward(20)
        clock.put_forward(9)
        await anyio.lowlevel.checkpoint()
        done = True
    assert done


async def test_a_wait_outside_of_any_operation() -> None:
    """Is a wait like any other."""
    with waiting():
        await anyio.lowlevel.checkpoint()
