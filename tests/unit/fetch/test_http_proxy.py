"""Requests through a proxy, which looks hosts up itself."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncv2d.types import Cause, ItemError, RunError, UserError
from asyncv2d_stages.fetch._http import proxy as http_proxy

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """A proxy that leads every host to one server."""

    def __init__(self, server: Server) -> None:
        self.port = int(server.address.rpartition(":")[2])
        self.asked: list[str] = []

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request as it is."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        _, path = self.asked[-1].removeprefix("http://").split("/", 1)
        line = f"GET /{path} HTTP/1.1\r\n".encode()
        await self._forward(line + head.partition(b"\r\n")[2], writer)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SOCKS 5, then forward one request."""
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\5\0")
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3  # a name, not an address
        name = await reader.readexactly((await reader.readexactly(1))[0])
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append(f"{name.decode()}:{port}")
        writer.write(b"\5\0\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port))
        head = await reader.readuntil(b"\r\n\r\n")
        head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        await self._forward(head, writer)

    async def _forward(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        answer, onward = await asyncio.open_connection("127.0.0.1", self.port)
        onward.write(request)
        writer.write(await answer.read())
        for end in (onward, writer):
            end.close()
            await end.wait_closed()


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """The address at which ``handler`` takes connections."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


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
            again = asyncio.StreamReader()
            again.feed_data(head)
            await proxy.http(again, writer)
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
    health = http_proxy.ProxyHealth(proxy, 0.0, 1.0)
    await health.hear(ConnectionError(), is_silence=True)
