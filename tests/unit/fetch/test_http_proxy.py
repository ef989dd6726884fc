"""Requests through a proxy, which looks hosts up itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncv2d.types import Cause, ItemError, RunError, UserError
from asyncv2d_stages.fetch._http import proxy as http_proxy
from asyncv2d_stages.fetch.http import HttpFetcher
from tests.unit.fetch.proxies import Proxy, listening

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio


async def test_http(
    server: Server, downloads: Downloads, names: Names, videos: Mapping[str, bytes]
) -> None:
    """An ordinary proxy gets the whole URL; no name is looked up here."""
    proxy = Proxy(server)
    url = "http://far.example/ok/short.mp4"
    async with listening(proxy.http) as address:
        data, _ = await downloads.one(url, proxy=f"http://{address}")
    assert data == videos["short.mp4"]
    assert proxy.asked == [url]


async def test_socks(
    server: Server, downloads: Downloads, names: Names, videos: Mapping[str, bytes]
) -> None:
    """A SOCKS proxy gets the host's name."""
    proxy = Proxy(server)
    async with listening(proxy.socks) as address:
        data, _ = await downloads.one(
            "http://far.example/ok/short.mp4", proxy=f"socks5://{address}"
        )
    assert data == videos["short.mp4"]
    assert proxy.asked == ["far.example:80"]


async def test_the_networks_own_addresses(server: Server, downloads: Downloads) -> None:
    """Are not to be had through it either."""
    proxy = Proxy(server)
    async with listening(proxy.http) as address:
        error = await downloads.failure("http://169.254.169.254/latest", proxy=f"http://{address}")
    assert error.cause is Cause.FORBIDDEN_ADDRESS
    assert not proxy.asked


async def test_what_is_not_installed(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said in one line, before the first row."""
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(UserError, match=r"pip install 'asyncv2d\[socks\]'"):
        await downloads.one("http://far.example/", proxy="socks5://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "protego", None)
    with pytest.raises(UserError, match=r"pip install 'asyncv2d\[robots\]'"):
        await downloads.one("http://far.example/", respect_robots_txt=True)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Want credentials, in the words of either kind of proxy."""
    head = await reader.readexactly(2)
    is_socks = head[0] == 5
    writer.write(b"\5\xff" if is_socks else b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("proxy", "url"),
    [
        ("http", "http://far.example/a.mp4"),
        ("http", "https://far.example/a.mp4"),
        ("socks5", "http://far.example/a.mp4"),
    ],
)
async def test_a_proxy_that_refuses(downloads: Downloads, proxy: str, url: str) -> None:
    """Ends the run with a line that says so, without the password: no row would fare better."""
    async with listening(refuse) as address:
        through = f"{proxy}://user:s3cret@{address}"
        with pytest.raises(RunError, match="wants another user or password") as caught:
            await downloads.one(url, proxy=through)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_server_that_answers_as_a_proxy_does(
    server: Server, downloads: Downloads, names: Names, kind: str
) -> None:
    """Fails its row, and not the run, whatever else is asked."""
    proxy = Proxy(server)
    handler = proxy.http if kind == "http" else proxy.socks
    async with (
        listening(handler) as address,
        downloads.client(proxy=f"{kind}://{address}", retries=0) as client,
    ):
        for _ in range(2):
            with pytest.raises(ItemError) as caught:
                await client.download("http://trick.example/status/407/a.mp4")
            assert caught.value.cause is Cause.HTTP_4XX
            assert caught.value.facts["http_status"] == 407
    asked_itself = {url for url in proxy.asked if "trick.example" not in url}
    assert asked_itself == ({"http://asyncv2d.invalid/"} if kind == "http" else set())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200"])
async def test_a_proxy_that_hangs_up(
    downloads: Downloads, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On everybody is none, though somebody is there."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    monkeypatch.setattr(http_proxy, "_PAUSE_S", 0.01)
    async with (
        listening(hang_up) as address,
        downloads.client(proxy=f"http://{address}", host_patience=0.05) as client,
    ):
        with pytest.raises(RunError, match="has not been reached"):
            await client.download("http://far.example/a.mp4")


async def test_a_proxy_that_says_nothing_itself(
    server: Server, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But serves others: a server that is gone is one, and no proxy."""
    proxy = Proxy(server)
    is_asked = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"far.example" in head:
            await proxy.forward(head, writer)
        else:
            if b"asyncv2d.invalid" in head:
                is_asked.set()
            writer.close()

    async def get_one_that_is_there() -> None:
        await is_asked.wait()
        blob, _ = await client.download("http://far.example/ok/short.mp4")
        blob.close()

    monkeypatch.setattr(http_proxy, "_PAUSE_S", 0.01)
    async with (
        listening(serve) as address,
        downloads.client(proxy=f"http://{address}", retries=0) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(get_one_that_is_there)
        with pytest.raises(ItemError) as caught:
            await client.download("http://gone.example/a.mp4")
    assert caught.value.cause is Cause.CONNECT


@pytest.mark.parametrize("kind", ["http", "socks"])
async def test_a_proxy_that_is_gone_for_a_while(
    server: Server,
    downloads: Downloads,
    videos: Mapping[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Is waited for, and costs no row an attempt; one that stays away ends the run."""
    monkeypatch.setattr(http_proxy, "_PAUSE_S", 0.01)
    proxy = Proxy(server)
    handler, scheme = (proxy.http, "http") if kind == "http" else (proxy.socks, "socks5")
    async with listening(handler) as address:
        pass  # now there is nobody
    url = f"{scheme}://{address}"
    async with downloads.client(proxy=url, retries=0) as client, anyio.create_task_group() as tasks:
        got: list[bytes] = []
        has_come = anyio.Event()

        async def get() -> None:
            blob, facts = await client.download("http://far.example/ok/short.mp4")
            assert facts["attempts"] == 1
            got.append(blob.read())
            blob.close()
            has_come.set()

        tasks.start_soon(get)
        await anyio.wait_all_tasks_blocked()
        assert not got
        port = int(address.rpartition(":")[2])
        async with await asyncio.start_server(handler, "127.0.0.1", port):
            await has_come.wait()
    assert got == [videos["short.mp4"]]
    async with downloads.client(proxy=url, host_patience=0.1) as client:
        with pytest.raises(RunError, match=r"has not been reached for 0\.1 s"):
            await client.download("http://far.example/ok/short.mp4")


@pytest.mark.parametrize("proxy", [None, "", "127.0.0.1:1"])
async def test_no_proxy_that_could_be_looked_at(proxy: str | None) -> None:
    """Is none whose fault anything could be: yt-dlp takes more than URLs."""
    settings = HttpFetcher().model_copy(update={"proxy": proxy})
    error = ItemError(Cause.CONNECT, "nobody is there")
    await http_proxy.ProxyHealth(settings).hear(error, error, 0.0)
