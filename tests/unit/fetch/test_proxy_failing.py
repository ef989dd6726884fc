"""Proxies that answer, but say of all servers that they cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncv2d.types import Cause, ItemError, RunError
from asyncv2d_stages.fetch._http import proxy as http_proxy
from tests.unit.fetch.proxies import MoodyProxy, listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncv2d_stages.fetch._http.client import Client
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio

SERVED = [f"http://served-{number}.example/ok/short.mp4" for number in (1, 2)]
OTHERS = [f"http://other-{number}.example/ok/short.mp4" for number in range(8)]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses between two tries."""
    monkeypatch.setattr(http_proxy, "_PAUSE_S", 0.01)


class Failing(MoodyProxy):
    """One that fails while ``is_well`` is false, for all but a few."""

    def __init__(self, server: Server, status: int, spared: Sequence[str] = ()) -> None:
        super().__init__(server, self._say)
        self._status = status
        self._spared = spared
        self.is_well = True
        self.looks = 0
        self.asked_of: list[str] = []
        self.looked = anyio.Event()

    async def _say(self, url: str) -> bytes | None:
        self.asked_of.append(url)
        if self.is_well or url.startswith(tuple(self._spared)):
            return None
        if url in SERVED:
            self.looks += 1
            self.looked.set()
        return f"HTTP/1.1 {self._status} No\r\nContent-Length: 0\r\n\r\n".encode()


async def get(client: Client, url: str) -> int:
    """Download what is there; gives the attempts that this took."""
    blob, facts = await client.download(url)
    blob.close()
    assert isinstance(facts["attempts"], int)
    return facts["attempts"]


async def fail_all(client: Client, urls: Sequence[str]) -> list[Cause]:
    """The causes for which downloads fail, one after the other."""
    causes = []
    for url in urls:
        with pytest.raises(ItemError) as caught:
            await client.download(url)
        causes.append(caught.value.cause)
    return causes


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_one_that_fails_for_a_while(
    server: Server, downloads: Downloads, status: int
) -> None:
    """Is waited for: it costs no row more than an attempt."""
    proxy = Failing(server, status)
    attempts: list[int] = []
    async with (
        listening(proxy.http) as address,
        downloads.client(concurrency=8, proxy=f"http://{address}", retries=1) as client,
        anyio.create_task_group() as tasks,
    ):
        for url in SERVED:
            await get(client, url)
        proxy.is_well = False

        async def get_one(url: str) -> None:
            attempts.append(await get(client, url))

        for url in OTHERS:
            tasks.start_soon(get_one, url)
        await proxy.looked.wait()
        while proxy.looks < 4:
            proxy.looked = anyio.Event()
            await proxy.looked.wait()
        proxy.is_well = True
    assert len(attempts) == len(OTHERS)
    assert max(attempts) <= 2


@pytest.mark.parametrize("retries", [0, 3])
async def test_one_that_fails_for_good(server: Server, downloads: Downloads, retries: int) -> None:
    """Ends the run, and says what it said."""
    proxy = Failing(server, 502)
    async with (
        listening(proxy.http) as address,
        downloads.client(
            proxy=f"http://me:s3cret@{address}", retries=retries, host_patience=0.05
        ) as client,
    ):
        for url in SERVED:
            await get(client, url)
        proxy.is_well = False
        with pytest.raises(RunError, match=r"has failed for 0.05 s, at last: HTTP 502") as caught:
            await fail_all(client, OTHERS)
    assert "s3cret" not in str(caught.value)


async def test_one_that_opens_no_tunnel_any_more(server: Server, downloads: Downloads) -> None:
    """Fails as well."""
    proxy = Failing(server, 503)
    async with (
        listening(proxy.http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, host_patience=0.05) as client,
    ):
        for url in SERVED:
            await get(client, url)
        proxy.is_well = False
        with pytest.raises(RunError, match="at last: the proxy says HTTP 503"):
            await fail_all(client, [url.replace("http:", "https:") for url in OTHERS])


@pytest.mark.parametrize("served", [SERVED, SERVED[:1]])
async def test_servers_that_are_gone(
    server: Server, downloads: Downloads, served: Sequence[str]
) -> None:
    """Fail alone where what was served is served still, or too little ever was to tell."""
    is_sure = len(served) > 1
    proxy = Failing(server, 502, ["http://served-1.example/ok/"] if is_sure else [])
    async with (
        listening(proxy.http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, host_patience=0.05) as client,
    ):
        for url in served:
            await get(client, url)
        proxy.is_well = False
        causes = await fail_all(client, OTHERS)
    assert causes == [Cause.HTTP_5XX] * len(OTHERS)
    assert proxy.looks == (2 if is_sure else 0)  # of the other one


async def test_one_that_never_served(server: Server, downloads: Downloads) -> None:
    """Is waited for once, and then rows fail alone, and say so: their servers may all be gone."""
    proxy = Failing(server, 502)
    proxy.is_well = False
    async with (
        listening(proxy.http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, host_patience=0.05) as client,
    ):
        causes = await fail_all(client, OTHERS)
        with pytest.raises(ItemError, match="nothing was served through"):
            await client.download(OTHERS[0])
    assert causes == [Cause.HTTP_5XX] * len(OTHERS)
    again = [url for url in OTHERS[1:] if proxy.asked_of.count(url) > 1]
    assert again == OTHERS[3:4]


async def test_one_that_serves_after_a_while(server: Server, downloads: Downloads) -> None:
    """Costs the rows nothing that came when it was known to fail."""
    proxy = Failing(server, 502)
    proxy.is_well = False
    async with (
        listening(proxy.http) as address,
        downloads.client(concurrency=8, proxy=f"http://{address}", retries=0) as client,
        anyio.create_task_group() as tasks,
    ):
        await fail_all(client, OTHERS[:3])
        for url in OTHERS[3:]:
            tasks.start_soon(get, client, url)
        while proxy.asked_of.count(OTHERS[3]) < 3:
            await anyio.lowlevel.checkpoint()
        proxy.is_well = True
