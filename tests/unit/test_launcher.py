"""The shards that a launcher hands out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from threading import Event

import anyio
import pytest
from anyio import to_thread

from asyncv2d.launch.launcher import Control, ShardQueue
from asyncv2d.types import ShardSpec

pytestmark = pytest.mark.anyio


def queue(shards: int) -> ShardQueue:
    """A queue of so many shards."""
    return queue_of(ShardSpec(number, "-", 0, 1) for number in range(shards))


def queue_of(shards: Iterator[ShardSpec], max_retry: int = 0) -> ShardQueue:
    """A queue of these shards."""
    nothing = Control(lambda _: None, lambda _: None, lambda _: None)
    return ShardQueue(shards, max_retry, nothing)


class SlowInput:
    """An input whose shards are told only when they are released."""

    def __init__(self) -> None:
        self._asked, self._released = Event(), Event()

    def shards(self, count: int) -> Iterator[ShardSpec]:
        """So many shards."""
        for number in range(count):
            self._asked.set()
            assert self._released.wait(60)
            yield ShardSpec(number, "-", 0, 1)

    async def is_read(self) -> None:
        """Wait until somebody reads it."""
        assert await to_thread.run_sync(self._asked.wait, 60)

    def release(self) -> None:
        """Tell all shards."""
        self._released.set()


async def test_a_shard_that_comes_back_while_the_input_is_read_to_its_end() -> None:
    """Is handed out again: who asked meanwhile is not told that all is done."""
    slow, found = SlowInput(), list[ShardSpec | None]()
    only = ShardSpec(0, "-", 0, 1)
    shards = queue_of(chain([only], (spec for spec in slow.shards(1) if spec.id != only.id)), 1)
    assert await shards.take() == only

    async def take() -> None:
        found.append(await shards.take())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await slow.is_read()
            await shards.done({"shard": 0, "error": "the disk was full"})
            slow.release()
    assert found == [only]


async def test_a_shard_that_is_read_for_somebody_who_is_gone_by_then() -> None:
    """Is in hand, and so is done again as that of any other who dies."""
    slow = SlowInput()
    shards = queue_of(slow.shards(1), 1)
    taken = list[ShardSpec | None]()

    async def take() -> None:
        taken.append(await shards.take())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await slow.is_read()
            tasks.cancel_scope.cancel()
            slow.release()
    assert taken == [ShardSpec(0, "-", 0, 1)]


async def test_a_shard_that_was_not_begun() -> None:
    """Is handed out again without a failure to its name."""
    shards = queue(1)
    with anyio.fail_after(60):
        for _ in range(3):
            assert await shards.take() == ShardSpec(0, "-", 0, 1)
            shards.put_back(0)
        assert await shards.take() == ShardSpec(0, "-", 0, 1)


async def test_who_has_a_shard_leaves_one_to_others_that_have_none_yet() -> None:
    """The last ones of a table are not all taken by who comes first, however early it asks."""
    shards, starting, found = queue(3), [1, 1], list[ShardSpec | None]()

    async def take_another() -> None:
        found.append(await shards.take(lambda: len(starting)))

    with anyio.fail_after(60):
        assert await shards.take() == ShardSpec(0, "-", 0, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_another)
            for number in (1, 2):
                await anyio.wait_all_tasks_blocked()
                assert found == []
                starting.pop()
                assert await shards.take() == ShardSpec(number, "-", 0, 1)
            for number in range(3):
                await shards.done({"shard": number, "error": None})
    assert found == [None]


async def test_who_leaves_shards_to_others_gets_those_beyond() -> None:
    """And gets one that comes back once all others have theirs."""
    shards, starting = queue_of((ShardSpec(n, "-", 0, 1) for n in range(3)), 1), [1]
    with anyio.fail_after(60):
        for number in range(2):
            assert await shards.take(lambda: len(starting)) == ShardSpec(number, "-", 0, 1)
        await shards.done({"shard": 1, "error": "the disk was full"})
        assert await shards.take(lambda: len(starting)) == ShardSpec(1, "-", 0, 1)
        starting.pop()
        assert await shards.take(lambda: len(starting)) == ShardSpec(2, "-", 0, 1)


async def test_shards_that_are_looked_for_are_still_handed_out_in_order() -> None:
    """Looking whether there are more takes none away."""
    shards = queue(3)
    assert await shards.has(2)
    first = await shards.take()
    assert await shards.has(2)
    assert not await shards.has(3)
    assert first is not None
    found = [first.id]
    for _ in range(2):
        spec = await shards.take()
        assert spec is not None
        found.append(spec.id)
    assert found == [0, 1, 2]
    assert not await shards.has(1)


@pytest.mark.parametrize(("looked_for", "there_are"), [(1, 5), (2, 5), (5, 5), (2, 1)])
async def test_shards_that_are_taken_while_some_are_looked_for(
    looked_for: int, there_are: int
) -> None:
    """Each one is handed out once, though the input is read for both; also the only one."""
    slow, found = SlowInput(), list[ShardSpec | None]()
    shards = queue_of(slow.shards(there_are))

    async def take() -> None:
        found.append(await shards.take())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shards.has, looked_for)
            try:
                await slow.is_read()
                for _ in range(min(3, there_are)):
                    tasks.start_soon(take)
                await anyio.wait_all_tasks_blocked()
            finally:
                slow.release()
        while len(found) < there_are:
            await take()
    assert sorted(spec.id for spec in found if spec is not None) == list(range(there_are))
    assert not await shards.has(1)


async def test_looking_for_shards_reads_no_more_than_it_needs() -> None:
    """What an input has beyond them is not asked for, and what is known is not asked for again."""
    told = list[int]()

    def endless() -> Iterator[ShardSpec]:
        while True:
            told.append(len(told))
            yield ShardSpec(told[-1], "-", 0, 1)

    shards = queue_of(endless())
    assert await shards.has(3)
    assert await shards.has(3)
    assert await shards.has(2)
    assert told == [0, 1, 2]
