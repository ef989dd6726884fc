"""Blocking work in threads of one's own."""

from __future__ import annotations

import threading

import anyio
import pytest

from asyncv2d.own_threads import OwnThreads

pytestmark = pytest.mark.anyio


async def test_no_more_threads_than_asked_for() -> None:
    """However much is to be done; and they are gone afterwards."""
    used: set[int] = set()
    with OwnThreads(2) as threads:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(threads.run, lambda: used.add(threading.get_ident()))
    assert 1 <= len(used) <= 2
    assert not used & {thread.ident for thread in threading.enumerate()}


async def test_values_and_errors() -> None:
    """Come back as they are."""
    with OwnThreads(1) as threads:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 7, 0)


async def test_cancelled() -> None:
    """What has begun is waited for: nobody may touch its files while it writes them."""
    begun, done, go_on = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)
        done.set()

    with OwnThreads(1) as threads:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, work)
            await anyio.to_thread.run_sync(begun.wait)
            tasks.cancel_scope.cancel()
            assert not done.is_set()
            go_on.set()
        assert done.is_set()
