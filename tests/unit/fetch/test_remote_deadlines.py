"""The deadlines of files in stores: of what is asked of a store, not of the rows before it."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from fsspec.implementations.memory import MemoryFileSystem

from asyncv2d.ports import Fetch, FetchContext
from asyncv2d.types import Cause, ItemError, Row
from asyncv2d_stages.fetch.remote import RemoteFetcher

if TYPE_CHECKING:
    from tests.unit.conftest import Clock
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
BODY = os.urandom(3_000_000)


@pytest.fixture
def anyio_backend(clock: Clock) -> tuple[str, dict[str, Any]]:
    """With the clock; not in debug mode, which takes the time that is left out for work."""
    return "asyncio", {"loop_factory": clock.loop}


@asynccontextmanager
async def one_at_a_time(downloads: Downloads, **settings: Any) -> AsyncIterator[Fetch]:
    """Fetch rows one after the other; nothing may be left behind."""
    fetcher = RemoteFetcher.model_validate({"retries": 0, **settings})
    async with fetcher.open(FetchContext(downloads.spool, 1)) as fetch_row:
        yield fetch_row
    assert downloads.spool.budget.used == downloads.spool.disk.used == 0
    assert not downloads.files()


@pytest.mark.parametrize(
    ("limits", "cause"),
    [
        ({"timeout": 10, "total_timeout": 3600}, Cause.STALLED),
        ({"timeout": 3600, "total_timeout": 10}, Cause.TIMEOUT),
    ],
)
async def test_a_row_that_waits_for_its_turn(
    downloads: Downloads,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    limits: Mapping[str, float],
    cause: Cause,
) -> None:
    """Is not given up because the store says nothing to the row before it."""
    asked, gone = Event(), Event()
    outcomes: dict[str, object] = {}

    def open_file(_: object, path: str, *__: object, **___: object) -> io.BytesIO:
        if path.endswith("silent.mp4"):
            asked.set()
            gone.wait(60)
        return io.BytesIO(BODY)

    async def get(name: str) -> None:
        try:
            fetched = await fetch_row(Row(0, "0", f"memory://there/{name}"))
        except ItemError as error:
            outcomes[name] = error.cause
        else:
            outcomes[name] = fetched.media["video"].read()
            fetched.close()

    monkeypatch.setattr(MemoryFileSystem, "open", open_file)
    try:
        async with (
            one_at_a_time(downloads, **limits) as fetch_row,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(get, "silent.mp4")
            await to_thread.run_sync(asked.wait, 60)
            tasks.start_soon(get, "there.mp4")
            await anyio.wait_all_tasks_blocked()
            clock.put_forward(11)
    finally:
        gone.set()
    assert outcomes == {"silent.mp4": cause, "there.mp4": BODY}


async def test_a_transfer_that_goes_on_for_too_long(
    downloads: Downloads, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is given up at ``total_timeout``, though bytes do come."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            clock.put_forward(4)
            return super().read(size)

    monkeypatch.setattr(MemoryFileSystem, "open", lambda *_, **__: Slow(BODY))
    async with one_at_a_time(downloads, timeout=10, total_timeout=10) as fetch_row:
        with pytest.raises(ItemError) as caught:
            await fetch_row(Row(0, "0", "memory://there/slow.mp4"))
    assert caught.value.cause is Cause.TIMEOUT
    assert caught.value.detail == "not read within total_timeout (10 s)"
    async with one_at_a_time(downloads, timeout=10, total_timeout=20) as fetch_row:
        fetched = await fetch_row(Row(0, "0", "memory://there/slow.mp4"))
        assert fetched.media["video"].read() == BODY
        fetched.close()
