"""The byte budget: served in order, never at a standstill, and kept."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncv2d.budget import ByteBudget, Lease
from asyncv2d.deadline import Deadline
from asyncv2d.overdraft import Overdraft

LIMIT = 100


@pytest.mark.anyio
async def test_requests_are_served_in_order() -> None:
    """A small request does not overtake a large one for ever."""
    budget = ByteBudget(LIMIT)
    first = await budget.lease(60)
    served: list[int] = []

    async def ask(size: int) -> None:
        await budget.lease(size)
        served.append(size)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 50)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, 10)
        await anyio.wait_all_tasks_blocked()
        assert served == []
        first.close()
    assert served == [50, 10]


@pytest.mark.anyio
async def test_rows_of_two_bodies_do_not_wait_for_each_other() -> None:
    """Where all room is taken by first bodies, the oldest row gets its second one, and so on."""
    budget, done = ByteBudget(LIMIT), list[int]()

    async def row(number: int) -> None:
        with Deadline(60):
            picture = await budget.lease(40)
            await anyio.wait_all_tasks_blocked()
            sound = await budget.lease(40)
            done.append(number)
            picture.close()
            sound.close()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(row, number)
    assert sorted(done) == list(range(5))
    assert budget.used == 0


@pytest.mark.anyio
async def test_rows_that_also_wait_for_their_turn() -> None:
    """Take room when it has come, and none is held by whoever waits; all rows of two get there."""
    budget, turn, done = ByteBudget(LIMIT), anyio.Semaphore(1), list[int]()

    async def take(size: int) -> Lease:
        while True:
            await budget.has_room(size)
            async with turn:
                await anyio.lowlevel.checkpoint()
                if (lease := budget.lease_if_room(size)) is not None:
                    return lease

    async def row(number: int) -> None:
        with Deadline(60):
            picture = await take(40)
            await anyio.wait_all_tasks_blocked()
            sound = await take(40)
            done.append(number)
            picture.close()
            sound.close()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(7):
                tasks.start_soon(row, number)
    assert sorted(done) == list(range(7))
    assert budget.used == 0


@pytest.mark.anyio
async def test_looking_for_room() -> None:
    """Takes none, waits behind those who do, and ends when there is some."""
    budget, seen = ByteBudget(LIMIT), list[str]()
    first, second = await budget.lease(60), await budget.lease(20)
    await budget.has_room(20)
    assert budget.used == 80
    assert budget.lease_if_room(21) is None

    async def grow() -> None:
        await second.grow(60)
        seen.append("grown")

    async def look() -> None:
        await budget.has_room(10)
        seen.append("room")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grow)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(look)
        await anyio.wait_all_tasks_blocked()
        assert (seen, budget.waiting, budget.lease_if_room(10)) == ([], 2, None)
        first.close()
    assert sorted(seen) == ["grown", "room"]
    assert budget.waiting == 0


@pytest.mark.anyio
async def test_the_oldest_row_s_room_is_no_other_row_s() -> None:
    """A row that waits for its first body stays behind, whatever the oldest one gets."""
    budget, served = ByteBudget(LIMIT), list[str]()

    async def other() -> None:
        with Deadline(60):
            lease = await budget.lease(10)
            served.append("other")
            lease.close()

    async with anyio.create_task_group() as tasks:
        with Deadline(60):
            picture = await budget.lease(100)
            tasks.start_soon(other)
            await anyio.wait_all_tasks_blocked()
            sound = await budget.lease(100)
            served.append("oldest")
        await anyio.wait_all_tasks_blocked()
        assert served == ["oldest"]
        picture.close()
        sound.close()
    assert served == ["oldest", "other"]


@pytest.mark.anyio
async def test_one_process_exceeds_its_budget_at_a_time(tmp_path: Path) -> None:
    """Another waits until that one is back within its own."""
    one, other = (ByteBudget(LIMIT, Overdraft(tmp_path / "overdraft")) for _ in range(2))
    large = await one.lease(3 * LIMIT)
    second = list[Lease]()

    async def ask() -> None:
        second.append(await other.lease(2 * LIMIT))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            small = await other.lease(LIMIT)  # its own share is its own
            small.close()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert second == []
            large.shrink(2 * LIMIT)
        assert [lease.size for lease in second] == [2 * LIMIT]
    for lease in (large, *second):
        lease.close()


class _Downloads:
    """Bodies that come in together, some of which are cancelled on their way."""

    def __init__(self) -> None:
        self.budget = ByteBudget(LIMIT)

    def check(self) -> None:
        """The limit holds, but for the oldest body."""
        sizes = [lease.size for lease in self.budget._leases]
        assert self.budget.used == sum(sizes)
        assert self.budget.used - (sizes[0] if sizes else 0) <= LIMIT

    async def download(self, expected: int, chunks: list[int], hold: int) -> None:
        """Take ``expected`` bytes, grow by each of ``chunks``, hold it all for some steps."""
        lease = await self.budget.lease(expected)
        try:
            for chunk in chunks:
                await lease.grow(chunk)
                self.check()
                await anyio.lowlevel.checkpoint()
            for _ in range(hold):
                await anyio.lowlevel.checkpoint()
        finally:
            lease.close()
            lease.close()
            self.check()

    async def break_off(self, body: tuple[int, list[int], int]) -> None:
        """Cancel a download after some steps."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.download, *body)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    async def run(self, bodies: list[tuple[int, list[int], int]], broken_off: set[int]) -> None:
        """All of them, with a deadline."""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number, body in enumerate(bodies):
                    if number in broken_off:
                        tasks.start_soon(self.break_off, body)
                    else:
                        tasks.start_soon(self.download, *body)


BODIES = st.tuples(st.integers(0, 150), st.lists(st.integers(0, 80), max_size=5), st.integers(0, 3))


@given(bodies=st.lists(BODIES, max_size=12), broken_off=st.sets(st.integers(0, 11)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_budget_holds(bodies: list[tuple[int, list[int], int]], broken_off: set[int]) -> None:
    """Whatever comes in whatever order: all are served, and the limit holds but for one body."""
    downloads = _Downloads()
    anyio.run(downloads.run, bodies, broken_off)
    assert downloads.budget.used == 0
    assert not downloads.budget._waiting


@pytest.mark.anyio
async def test_now_means_within_the_limit_and_in_order() -> None:
    """Who does not wait gets only what is free, and does not overtake those who do."""
    budget = ByteBudget(LIMIT)
    first = await budget.lease(60)
    assert budget.lease_now(41) is None
    assert not first.grow_now(41)
    second = budget.lease_now(30)
    assert second is not None
    assert budget.used == 90
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(budget.lease, 50)
        await anyio.wait_all_tasks_blocked()
        assert not second.grow_now(1)
        assert budget.lease_now(1) is None
        first.close()


@pytest.mark.anyio
async def test_what_is_given_back_serves_the_next() -> None:
    """A body that turns out smaller than it was thought makes room at once."""
    budget = ByteBudget(LIMIT)
    first = await budget.lease(90)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(budget.lease, 50)
        await anyio.wait_all_tasks_blocked()
        assert budget.used == 90
        first.shrink(60)
    assert budget.used == 80
