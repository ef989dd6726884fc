"""Whose fault it is that no answer comes through a proxy."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme

from asyncv2d.config import build
from asyncv2d.fetching import open_fetchers
from asyncv2d.ports import FetchContext
from asyncv2d.types import Cause, ItemError, Row, RunError
from asyncv2d_stages.fetch._http import proxy as http_proxy
from tests.unit.fetch.proxies import Handler, MoodyProxy, Proxy, be_silent, hang_up, listening
from tests.unit.fetch.test_http_tls import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncv2d_stages.fetch._http.client import Client
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio

_GOOD = "http://far.example/ok/short.mp4"
_GONE = "http://gone.example/a.mp4"
_NOBODY = "http://asyncv2d.invalid/"
_REFUSAL = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
_HANGS_UP = b""
_NONSENSE = b"no\r\n\r\n"  # no answer either; what hangs up is asked twice by aiohttp


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses between two tries."""
    monkeypatch.setattr(http_proxy, "_PAUSE_S", 0.01)


async def get(client: Client, url: str = _GOOD) -> dict[str, object]:
    """Download what is there; gives what was learnt."""
    blob, facts = await client.download(url)
    blob.close()
    return facts


@pytest.mark.parametrize("has_rules", [False, True])
@pytest.mark.parametrize("handler", [None, hang_up, be_silent])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_one_that_is_dead(
    downloads: Downloads, scheme: str, handler: Handler | None, *, has_rules: bool
) -> None:
    """Ends the run, in whatever way it is dead and whatever is asked for first."""
    async with listening(handler or hang_up) as address:
        port = 1 if handler is None else int(address.rpartition(":")[2])
        async with downloads.client(
            proxy=f"{scheme}://127.0.0.1:{port}",
            respect_robots_txt=has_rules,
            host_patience=0.05,
            timeout=0.2,
            retries=0,
        ) as client:
            with pytest.raises(RunError, match="has not been reached"):
                await client.download(_GOOD)


async def test_one_that_comes_back_in_time_for_the_rules(
    server: Server, downloads: Downloads
) -> None:
    """Is waited for where rules are asked for, too."""
    asked: list[str] = []

    async def say(url: str) -> bytes | None:
        asked.append(url)
        return _HANGS_UP if len(asked) <= 4 else None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", respect_robots_txt=True, retries=0) as client,
    ):
        assert (await get(client))["attempts"] == 1
    assert asked[0] == "http://far.example/robots.txt"


async def test_answers_from_before_it_went_away(server: Server, downloads: Downloads) -> None:
    """Are no proof that it is there: it says nothing to anybody from then on."""
    is_missed, is_back, has_come = anyio.Event(), anyio.Event(), anyio.Event()

    async def say(url: str) -> bytes | None:
        if url == _GOOD:
            await is_back.wait()
            return None
        if url == _NOBODY:
            is_missed.set()
        elif url == _GONE and is_missed.is_set():
            is_back.set()
            await has_come.wait()
        return _HANGS_UP

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, host_patience=0.05) as client,
        anyio.create_task_group() as tasks,
    ):

        async def get_slowly() -> None:
            await get(client)
            has_come.set()

        tasks.start_soon(get_slowly)
        with pytest.raises(RunError, match="has not been reached"):
            await client.download(_GONE)


@pytest.mark.parametrize("is_silent", [False, True])
async def test_the_last_row_of_one_that_is_mute(
    server: Server, downloads: Downloads, *, is_silent: bool
) -> None:
    """Fails alone: what was served before is asked for again, and it is there."""
    proxy = Proxy(server)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"far.example" in head:
            await proxy.forward(head, writer)
        else:
            if is_silent:
                await reader.read()
            writer.close()

    async with (
        listening(serve) as address,
        downloads.client(
            proxy=f"http://{address}", retries=1, host_patience=0.05, timeout=1 if is_silent else 10
        ) as client,
    ):
        await get(client)
        with pytest.raises(ItemError) as caught:
            await client.download(_GONE)
    assert caught.value.cause is (Cause.TIMEOUT if is_silent else Cause.CONNECT)
    assert caught.value.attempts == 2
    assert "http://far.example/robots.txt" in proxy.asked


async def test_the_last_row_of_a_mute_socks_proxy(server: Server, downloads: Downloads) -> None:
    """Fails alone, too."""
    proxy = Proxy(server)
    proxy.knows = "far.example"
    async with (
        listening(proxy.socks) as address,
        downloads.client(proxy=f"socks5://{address}", retries=0, host_patience=0.05) as client,
    ):
        await get(client)
        with pytest.raises(ItemError) as caught:
            await client.download(_GONE)
    assert caught.value.cause is Cause.CONNECT


async def test_one_whose_name_is_unknown(downloads: Downloads, names: Names) -> None:
    """Is not there: no row's host is."""
    async with downloads.client(proxy="http://proxy.example:3128", host_patience=0.05) as client:
        with pytest.raises(RunError, match="has not been reached"):
            await client.download(_GOOD)


async def test_what_one_fetcher_was_served(server: Server, downloads: Downloads) -> None:
    """Is known to the other: a page that is gone fails alone, though only files were served."""

    async def say(url: str) -> bytes | None:
        return None if "far.example" in url else _HANGS_UP

    async with listening(MoodyProxy(server, say).http) as address:
        reading = {"proxy": f"http://{address}", "retries": 0, "host_patience": 0.05}
        context = FetchContext(downloads.spool, 4)
        async with open_fetchers(build({"reading": reading}), context) as fetch:
            (await fetch(Row(0, "0", _GOOD))).close()
            with pytest.raises(ItemError) as caught:
                await fetch(Row(1, "1", "http://gone.example/list.m3u8"))
    assert caught.value.cause is Cause.CONNECT


async def test_a_row_for_which_it_is_always_away(server: Server, downloads: Downloads) -> None:
    """Is not asked for without end where others are served in between."""
    is_wanted, has_come = asyncio.Event(), asyncio.Event()
    times = 0

    async def say(url: str) -> bytes | None:
        nonlocal times
        if url == _GOOD:
            return None
        if url == _GONE:
            times += 1
            is_wanted.set()
            await has_come.wait()
            has_come.clear()
        return _HANGS_UP

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0) as client,
        anyio.create_task_group() as tasks,
    ):

        async def serve_others() -> None:
            while True:
                await is_wanted.wait()
                is_wanted.clear()
                await get(client)
                has_come.set()

        tasks.start_soon(serve_others)
        with pytest.raises(ItemError) as caught:
            await client.download(_GONE)
        tasks.cancel_scope.cancel()
    assert caught.value.cause is Cause.CONNECT
    assert times > 1


async def test_a_silence_of_a_short_outage(server: Server, downloads: Downloads) -> None:
    """Is the proxy's also where it is noticed when all is well again."""
    is_asked, has_come = anyio.Event(), anyio.Event()
    asked: list[str] = []

    async def say(url: str) -> bytes | None:
        asked.append(url)
        if asked.count(url) > 1:
            return None
        if url.endswith("first.mp4"):
            is_asked.set()
            await has_come.wait()
        return _NONSENSE

    server.videos["first.mp4"] = server.videos["short.mp4"]
    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0) as client,
        anyio.create_task_group() as tasks,
    ):

        async def get_first() -> None:
            facts = await get(client, "http://near.example/ok/first.mp4")
            assert facts["attempts"] == 1

        tasks.start_soon(get_first)
        await is_asked.wait()
        await get(client)
        has_come.set()


@pytest.mark.parametrize("was_there", [False, True])
async def test_one_that_comes_back_while_it_is_looked_at(
    server: Server, downloads: Downloads, *, was_there: bool
) -> None:
    """Was away, and not the server: the row is asked for again without counting that."""
    asked: list[str] = []

    async def say(url: str) -> bytes | None:
        asked.append(url)
        is_lost = url == _GOOD and asked.count(url) <= 2
        is_lost |= url == _NOBODY and asked.count(url) == 1
        return _NONSENSE if is_lost else None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0) as client,
    ):
        if was_there:
            await get(client, "http://near.example/ok/short.mp4")
        assert (await get(client))["attempts"] == 1


async def test_an_outage_that_is_over_before_the_look_at_it(
    server: Server, downloads: Downloads
) -> None:
    """Is known by what was served while the look stayed without an answer: no row is to blame."""
    is_looked_at, is_over = anyio.Event(), anyio.Event()
    asked: list[str] = []

    async def say(url: str) -> bytes | None:
        asked.append(url)
        if url == _NOBODY:
            is_looked_at.set()
        if url in (_NOBODY, _GOOD) and asked.count(url) == 1:
            await is_over.wait()
            return _NONSENSE
        return None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, timeout=1) as client,
        anyio.create_task_group() as tasks,
    ):

        async def serve_another() -> None:
            await is_looked_at.wait()
            await get(client, "http://near.example/ok/short.mp4")

        tasks.start_soon(serve_another)
        assert (await get(client))["attempts"] == 1
        is_over.set()
        await get(client)


async def test_two_short_outages(server: Server, downloads: Downloads) -> None:
    """Are not one long one: that all was well in between is seen by the look at the proxy."""
    looks = 0

    async def say(url: str) -> bytes | None:
        nonlocal looks
        if url != _NOBODY:
            return _NONSENSE
        looks += 1
        return _NONSENSE if looks % 3 == 1 else None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(proxy=f"http://{address}", retries=0, host_patience=1e-9) as client,
    ):
        for _ in range(2):
            with pytest.raises(ItemError):
                await client.download(_GONE)
    assert looks == 6


@pytest.mark.parametrize("has_rules", [False, True])
async def test_a_pool_of_which_one_refuses(
    server: Server, downloads: Downloads, *, has_rules: bool
) -> None:
    """Is asked again: neither the row nor the run fails."""
    asked: list[str] = []
    server.robots["far.example"] = (200, "User-agent: *\nDisallow: /no")

    async def say(url: str) -> bytes | None:
        asked.append(url)
        return _REFUSAL if asked.count(url) == 1 and url != _NOBODY else None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(
            proxy=f"http://{address}", retries=1, respect_robots_txt=has_rules
        ) as client,
    ):
        assert (await get(client))["attempts"] == 2
    assert asked.count("http://far.example/robots.txt") == 2 * has_rules


async def test_a_pool_of_which_one_opens_no_tunnel(
    downloads: Downloads, videos: Mapping[str, bytes]
) -> None:
    """Is asked again as well."""
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[0])
        if asked.count(b"CONNECT") == 1 and asked[-1] == b"CONNECT":
            writer.write(_REFUSAL)
        elif asked[-1] == b"CONNECT":
            onward, other = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pipe(reader, other), _pipe(onward, writer))
        else:
            writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    certificate = trustme.CA().issue_cert("localhost")
    with serving(videos["short.mp4"], certificate) as port:
        async with listening(tunnel) as address:
            _, facts = await downloads.one(
                "https://far.example/a.mp4",
                proxy=f"http://{address}",
                verify_tls=False,
                retries=1,
            )
    assert facts["attempts"] == 2
    assert asked.count(b"CONNECT") == 2


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def test_one_that_refuses_after_a_while(server: Server, downloads: Downloads) -> None:
    """Is waited for as for one that is away, and then the run ends with what it wants."""
    asked: list[str] = []

    async def say(url: str) -> bytes | None:
        asked.append(url)
        return _REFUSAL if len(asked) > 1 else None

    async with (
        listening(MoodyProxy(server, say).http) as address,
        downloads.client(
            proxy=f"http://me:s3cret@{address}", retries=0, host_patience=0.05
        ) as client,
    ):
        await get(client)
        with pytest.raises(RunError, match="wants another user or password") as caught:
            await get(client)
    assert "s3cret" not in str(caught.value)
    assert asked.count(_GOOD) > 2


class TestTheLookAtIt:
    """Is made with all that requests are made with."""

    @pytest.mark.parametrize("refuses", [False, True])
    async def test_tls(self, server: Server, downloads: Downloads, *, refuses: bool) -> None:
        """A proxy with a certificate of its own is believed where the user says so."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

        async def say(url: str) -> bytes | None:
            if refuses:
                return _REFUSAL
            return _HANGS_UP if url == _GONE else None

        handler = MoodyProxy(server, say).http
        settings: dict[str, Any] = {"verify_tls": False, "retries": 0, "host_patience": 0.05}
        async with await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context) as encrypted:
            port = encrypted.sockets[0].getsockname()[1]
            async with downloads.client(proxy=f"https://127.0.0.1:{port}", **settings) as client:
                with pytest.raises(RunError if refuses else ItemError, match=None) as caught:
                    await client.download(_GONE)
        if isinstance(caught.value, ItemError):
            assert caught.value.cause is Cause.CONNECT
        else:
            assert "wants another user or password" in str(caught.value)

    async def test_headers(self, server: Server, downloads: Downloads) -> None:
        """The proxy's password may be one: a server that answers as a proxy does is none."""
        proxy = Proxy(server)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            again = asyncio.StreamReader()
            again.feed_data(head)
            if b"roxy-Authorization: Basic bWU6bXk=" in head:
                await proxy.http(again, writer)
            else:
                writer.write(_REFUSAL)
                writer.close()

        async with listening(serve) as address:
            error = await downloads.failure(
                "http://trick.example/status/407/a.mp4",
                proxy=f"http://{address}",
                headers={"Proxy-Authorization": "Basic bWU6bXk="},
            )
        assert error.cause is Cause.HTTP_4XX
        assert error.attempts == 3
