"""What one of several loops may ask of a host: its part of what the job may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.ports import FetchContext
from asyncv2d_stages.fetch._http.client import Client, open_client
from asyncv2d_stages.fetch.http import HttpFetcher

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.conftest import Clock
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
HOUR_S = 3600.0
PATIENT: Mapping[str, Any] = {"timeout": HOUR_S, "total_timeout": HOUR_S, "retries": 0}
# A request in ten seconds, as the user or the host wants it.
RATES: Mapping[str, tuple[Mapping[str, Any], tuple[int, str]]] = {
    "per_host": ({"per_host": 0.1}, (404, "")),
    "crawl delay": ({"respect_robots_txt": True}, (200, "User-agent: *\nCrawl-delay: 10\n")),
}


@pytest.fixture
def anyio_backend(clock: Clock) -> tuple[str, dict[str, Any]]:
    """With the clock; not in debug mode, which takes the time that is left out for work."""
    return "asyncio", {"loop_factory": clock.loop}


@asynccontextmanager
async def one_of_two(downloads: Downloads, settings: Mapping[str, Any]) -> AsyncIterator[Client]:
    """The client of one of two loops."""
    fetcher = HttpFetcher.model_validate({**PATIENT, **settings})
    async with open_client(fetcher, FetchContext(downloads.spool, 4, share=0.5)) as client:
        yield client


@pytest.mark.parametrize("kind", RATES)
async def test_a_rate_is_shared(
    server: Server, downloads: Downloads, clock: Clock, kind: str
) -> None:
    """With two loops, each leaves twice as much time between its requests, and no more."""
    settings, server.robots["127.0.0.1"] = RATES[kind]

    async def get(host: str, path: str) -> None:
        blob, _ = await client.download(server.url_at(host, path))
        blob.close()

    async with one_of_two(downloads, settings) as client, anyio.create_task_group() as tasks:
        await get("127.0.0.1", "ok/short.mp4?1")
        tasks.start_soon(get, "127.0.0.1", "ok/short.mp4?2")
        await anyio.wait_all_tasks_blocked()
        clock.put_forward(19)
        await get("localhost", "ok/short.mp4?3")
        assert server.count("ok/short.mp4?2") == 0
        clock.put_forward(1)
    assert server.count("ok/short.mp4?2") == 1
