"""Downloads that are cancelled, and downloads beside servers that keep silent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.types import ItemError
from asyncv2d_stages.fetch._hosts import slots as host_slots

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio
PATIENT: Mapping[str, Any] = {
    "private_addresses": "allow",
    "timeout": 60,
    "total_timeout": 60,
    "retries": 9,
}
PATHS = (
    *("ok/large.mp4", "silent/a", "stall/large.mp4", "drip/a", "broken/range/large.mp4"),
    *("status/503/a", "busy/1/429/short.mp4?Retry-After=59", "cut/large.mp4", "loop/a"),
)


@pytest.mark.parametrize("asked", [1, 5, 20, 60])
async def test_cancelled(server: Server, downloads: Downloads, names: Names, asked: int) -> None:
    """Whatever they wait for at that moment, nothing is left behind."""
    server.videos["large.mp4"] = bytes(range(256)) * 20_000
    async with downloads.client(concurrency=8, **PATIENT) as client:

        async def get(url: str) -> None:
            try:
                blob, _ = await client.download(url)
                blob.close()
            except ItemError:
                pass

        async with anyio.create_task_group() as tasks:
            for number in range(90):
                name = f"host-{number % 30}.example"
                names[name] = ["127.0.0.1"]
                tasks.start_soon(get, server.url_at(name, PATHS[number % len(PATHS)]))
            while server.hits.total() < asked:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dns")]


async def test_silent_servers_hold_up_nobody(
    server: Server,
    downloads: Downloads,
    names: Names,
    videos: Mapping[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though there are as many of them as downloads at a time."""
    monkeypatch.setattr(host_slots, "_LOOK_EVERY_S", 0.05)
    names.update({name: ["127.0.0.1"] for name in ("dead.example", "good.example")})
    async with (
        downloads.client(concurrency=2, **PATIENT) as client,
        anyio.create_task_group() as tasks,
    ):
        for path in ("silent/a", "stall/short.mp4"):
            tasks.start_soon(client.download, server.url_at("dead.example", path))
        while server.hits.total() < 2:
            await anyio.lowlevel.checkpoint()
        for number in range(20):
            blob, _ = await client.download(server.url_at("good.example", f"ok/short.mp4?{number}"))
            assert blob.read() == videos["short.mp4"]
            blob.close()
        tasks.cancel_scope.cancel()


async def test_a_body_on_disk(server: Server, downloads: Downloads) -> None:
    """Is deleted when its download is cancelled."""
    server.videos["large.mp4"] = bytes(1 << 23)
    async with downloads.client(**PATIENT) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.download, server.url("stall/large.mp4"))
        while not downloads.files():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
