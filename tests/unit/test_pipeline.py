"""The pipeline: one outcome for each row, whatever the stages do and whenever it is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncv2d.deadline import waiting
from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.types import Cause, Failed, ItemError, Ok, Outcome, Row, RunError

pytestmark = pytest.mark.anyio
In = TypeVar("In")
Out = TypeVar("Out")


def stage(
    operation: Callable[[In], Awaitable[Out]],
    concurrency: int = 3,
    timeout_s: float = 60,
    name: str = "work",
) -> Stage[In, Out]:
    """A stage of one operation."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Callable[[In], Awaitable[Out]]]:
        yield operation

    return Stage(name, opened, concurrency, timeout_s)


async def rows(count: int) -> AsyncIterator[Row]:
    """As many rows."""
    for number in range(count):
        yield Row(number, f"{number:03d}", f"u{number}")


async def endless() -> AsyncIterator[Row]:
    """Rows without end."""
    while True:
        yield Row(0, "0", "u")


async def same(value: In) -> In:
    """Hand on."""
    return value


async def test_nothing_is_held_that_was_handed_on() -> None:
    """A value is gone when its receiver lets go of it, though the stage waits for its next row."""

    class Body:
        """Something large."""

    kept = WeakSet[Body]()

    async def load(_: Row) -> Body:
        body = Body()
        kept.add(body)
        return body

    pipeline = Pipeline.of(stage(load)).then(stage(same))
    send, receive = anyio.create_memory_object_stream[Row](10)
    async with send, receive, pipeline.run(receive) as outcomes:
        for number in range(10):
            await send.send(Row(number, str(number), "u"))
            outcome = await outcomes.receive()
            assert isinstance(outcome, Ok)
            del outcome
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        assert len(kept) == 0


async def collect(pipeline: Pipeline[Out], count: int) -> list[Outcome[Out]]:
    """All outcomes."""
    async with pipeline.run(rows(count)) as outcomes:
        return [outcome async for outcome in outcomes]


def indices(outcomes: Iterable[Outcome[Any]]) -> list[int]:
    """The rows' numbers, sorted."""
    return sorted(outcome.row.index for outcome in outcomes)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
async def test_every_row_comes_out_once(count: int) -> None:
    """As many outcomes as rows, each with its own row's value."""

    async def number(row: Row) -> int:
        await asyncio.sleep(0)
        return row.index

    async def double(value: int) -> int:
        return value * 2

    outcomes = await collect(Pipeline.of(stage(number)).then(stage(double)), count)
    assert indices(outcomes) == list(range(count))
    assert all(isinstance(o, Ok) and o.value == 2 * o.row.index for o in outcomes)


async def test_an_item_error_is_that_rows_failure() -> None:
    """The failure says stage, cause, detail, attempts and facts; other rows go on."""

    async def fail_one(row: Row) -> Row:
        if row.index == 3:
            error = ItemError(Cause.TLS, "no trust", http_status=495)
            error.attempts = 4
            raise error
        return row

    outcomes = await collect(Pipeline.of(stage(fail_one, name="a")).then(stage(same)), 6)
    assert indices(outcomes) == list(range(6))
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    row = Row(3, "003", "u3")
    assert failed == Failed(row, "a", Cause.TLS, "no trust", 4, {"http_status": 495})


@pytest.mark.parametrize("error", [ValueError("odd"), TimeoutError(), KeyError(1), MemoryError()])
async def test_an_unknown_error_is_a_bug_of_that_row(error: Exception) -> None:
    """It costs its row, not the run, and the traceback is kept; so does a stray TimeoutError."""

    async def fail_one(row: Row) -> Row:
        if row.index == 1:
            raise error
        return row

    outcomes = await collect(Pipeline.of(stage(fail_one)), 3)
    assert indices(outcomes) == [0, 1, 2]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.cause is Cause.BUG
    assert "fail_one" in failed.detail
    assert type(error).__name__ in failed.detail


async def test_a_run_error_ends_the_run() -> None:
    """What no row is to blame for stops everything."""

    async def fail(row: Row) -> Row:
        raise RunError("the disk is full")

    with pytest.raises(ExceptionGroup) as caught:
        await collect(Pipeline.of(stage(fail)), 5)
    assert str(RunError.found_in(caught.value)) == "the disk is full"


async def test_an_error_is_not_lost_while_its_stage_closes() -> None:
    """A stage that takes its time to close after an error does not look like the end of rows."""

    async def fail(row: Row) -> Row:
        raise RunError("the disk is full")

    @asynccontextmanager
    async def slow_to_close() -> AsyncIterator[Callable[[Row], Awaitable[Row]]]:
        try:
            yield fail
        finally:
            await anyio.sleep(0.01)

    with pytest.raises(ExceptionGroup) as caught:
        await collect(Pipeline.of(Stage("x", slow_to_close, 2, 60)).then(stage(same)), 5)
    assert RunError.found_in(caught.value) is not None


async def test_what_takes_too_long_fails() -> None:
    """An operation that hangs is cancelled at its deadline, and the others are not."""

    async def hang_one(row: Row) -> Row:
        if row.index == 1:
            await anyio.sleep_forever()
        return row

    outcomes = await collect(Pipeline.of(stage(hang_one, timeout_s=0.05)), 4)
    assert indices(outcomes) == [0, 1, 2, 3]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.cause is Cause.TIMEOUT
    assert "0.05 s" in failed.detail


async def test_a_wait_for_a_turn_is_not_too_long() -> None:
    """An operation that waits for its turn has all its time when that has come."""
    turn = anyio.Event()

    async def one_hangs_others_wait(row: Row) -> Row:
        if row.index == 0:
            await anyio.sleep_forever()
        with waiting():
            await turn.wait()
        return row

    pipeline = Pipeline.of(stage(one_hangs_others_wait, timeout_s=0.05))
    async with pipeline.run(rows(3)) as outcomes:
        assert isinstance(await outcomes.receive(), Failed)
        turn.set()
        assert [isinstance(outcome, Ok) async for outcome in outcomes] == [True, True]


async def test_concurrency_is_bounded() -> None:
    """Exactly as many operations run at a time as the stage says."""
    running, go_on = 0, anyio.Event()

    async def wait(row: Row) -> Row:
        nonlocal running
        running += 1
        await go_on.wait()
        return row

    async with Pipeline.of(stage(wait, concurrency=5)).run(rows(60)) as outcomes:
        await anyio.wait_all_tasks_blocked()
        assert running == 5
        go_on.set()
        assert len([outcome async for outcome in outcomes]) == 60


async def test_a_slow_end_holds_back_the_start() -> None:
    """Rows are not taken faster than they can be used."""
    taken = 0

    async def counted() -> AsyncIterator[Row]:
        nonlocal taken
        async for row in endless():
            taken += 1
            yield row

    async with Pipeline.of(stage(same)).then(stage(same)).run(counted()) as outcomes:
        await outcomes.receive()
        await anyio.wait_all_tasks_blocked()
        assert taken < 30


async def test_draining() -> None:
    """After a drain no row is taken, those in hand come out, and the stream ends."""
    drain, started, go_on = anyio.Event(), anyio.Event(), anyio.Event()

    async def wait(row: Row) -> Row:
        started.set()
        await go_on.wait()
        return row

    closed = False

    async def source() -> AsyncIterator[Row]:
        nonlocal closed
        try:
            async for row in endless():
                yield row
        finally:
            closed = True

    async with Pipeline.of(stage(wait)).run(source(), drain=drain) as outcomes:
        await started.wait()
        drain.set()
        await anyio.wait_all_tasks_blocked()
        assert closed
        go_on.set()
        assert all([isinstance(outcome, Ok) async for outcome in outcomes])


@pytest.mark.parametrize("leaves_queue", [True, False])
async def test_draining_leaves_what_waits_for_its_turn(leaves_queue: bool) -> None:
    """If that is asked for; what waits with something in its hands is finished in any case."""
    drain, turn, begun = anyio.Event(), anyio.Event(), set[int]()

    async def wait(row: Row) -> Row:
        begun.add(row.index)
        with waiting(holds=row.index == 0):
            await turn.wait()
        return row

    pipeline = Pipeline.of(stage(wait, concurrency=3)).then(stage(same))
    async with pipeline.run(rows(3), drain=drain, leaves_queue=leaves_queue) as outcomes:
        await anyio.wait_all_tasks_blocked()
        assert begun == {0, 1, 2}
        drain.set()
        await anyio.wait_all_tasks_blocked()
        turn.set()
        done = [outcome async for outcome in outcomes]
    assert indices(done) == ([0] if leaves_queue else [0, 1, 2])
    assert all(isinstance(outcome, Ok) for outcome in done)


async def test_after_a_drain_nothing_begins_to_wait_for_a_turn() -> None:
    """What would, is left, too."""
    drain, go_on = anyio.Event(), anyio.Event()

    async def work_and_wait(row: Row) -> Row:
        await go_on.wait()
        with waiting():
            await anyio.sleep_forever()
        return row

    pipeline = Pipeline.of(stage(work_and_wait))
    async with pipeline.run(rows(2), drain=drain, leaves_queue=True) as outcomes:
        await anyio.wait_all_tasks_blocked()
        drain.set()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        assert [outcome async for outcome in outcomes] == []


async def test_draining_a_silent_source() -> None:
    """A source that waits for its next row does not hold up a drain."""
    drain = anyio.Event()

    async def silent() -> AsyncIterator[Row]:
        yield Row(0, "0", "u")
        await anyio.sleep_forever()

    async with Pipeline.of(stage(same)).run(silent(), drain=drain) as outcomes:
        assert isinstance(await outcomes.receive(), Ok)
        drain.set()
        assert [outcome async for outcome in outcomes] == []


async def test_a_source_that_fails() -> None:
    """An error of the row source is raised, not swallowed."""

    async def broken() -> AsyncIterator[Row]:
        yield Row(0, "0", "u")
        raise OSError("gone")

    async def consume() -> None:
        async with Pipeline.of(stage(same)).run(broken()) as outcomes:
            async for _ in outcomes:
                pass

    with pytest.raises(ExceptionGroup) as caught:
        await consume()
    assert caught.group_contains(OSError, match="gone")


async def test_a_stage_that_cannot_be_opened() -> None:
    """An error while a stage opens is raised, and nothing hangs."""

    def broken() -> AbstractAsyncContextManager[Callable[[Row], Awaitable[Row]]]:
        raise OSError("no such device")

    with pytest.raises(ExceptionGroup) as caught:
        await collect(Pipeline.of(Stage("x", broken, 1, 1)).then(stage(same)), 3)
    assert caught.group_contains(OSError, match="device")


@dataclass
class Thing:
    """A value with an owner's duties."""

    open: set[int]
    number: int = field(default_factory=iter(range(10**9)).__next__)

    def __post_init__(self) -> None:
        self.open.add(self.number)

    def close(self) -> None:
        """Done with it."""
        self.open.discard(self.number)


@pytest.mark.parametrize("take", [0, 1, 7])
@pytest.mark.parametrize("consumers", [1, 20])
async def test_leaving_early_closes_what_is_on_its_way(take: int, consumers: int) -> None:
    """Values that nobody received are closed when the context is left early."""
    still_open: set[int] = set()

    async def make(row: Row) -> Thing:
        return Thing(still_open)

    pipeline = Pipeline.of(stage(make, consumers)).then(stage(same, consumers))
    async with pipeline.run(endless()) as outcomes:
        for _ in range(take):
            outcome = await outcomes.receive()
            assert isinstance(outcome, Ok)
            outcome.value.close()
        await anyio.wait_all_tasks_blocked()
        assert still_open
    assert not still_open


async def test_meters_count() -> None:
    """Each stage knows how many rows it has done, and none is busy at the end."""
    pipeline = Pipeline.of(stage(same, name="a")).then(stage(same, name="b"))
    await collect(pipeline, 9)
    assert [(meter.name, meter.done, meter.busy) for meter in pipeline.meters] == [
        ("a", 9, 0),
        ("b", 9, 0),
    ]


PLANS = st.lists(st.sampled_from(["ok", "slow", "item", "bug", "hang"]), max_size=30)


@given(first=PLANS, second=PLANS, sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_lost(first: list[str], second: list[str], sizes: tuple[int, int]) -> None:
    """Whatever the operations do, and however many run: one outcome for each row."""

    def acting(plan: list[str]) -> Callable[[Row], Awaitable[Row]]:
        async def act(row: Row) -> Row:
            match plan[row.index] if row.index < len(plan) else "ok":
                case "slow":
                    await asyncio.sleep(0.001)
                case "item":
                    raise ItemError(Cause.EMPTY, "")
                case "bug":
                    raise ZeroDivisionError
                case "hang":
                    await anyio.sleep_forever()
            return row

        return act

    pipeline = Pipeline.of(stage(acting(first), sizes[0], 0.01)).then(
        stage(acting(second), sizes[1], 0.01)
    )
    assert indices(anyio.run(collect, pipeline, 30)) == list(range(30))
