"""Servers that say more than they are asked, while nothing is asked or when the next request is."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from tests.unit.fetch.proxies import listening
from tests.unit.fetch.test_http_raw import head

if TYPE_CHECKING:
    from asyncv2d_stages.fetch._http.client import Client
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio


def answer_to(path: str) -> bytes:
    """A file that tells for which request it is meant."""
    body = b"\0\0\0\x10ftyp" + path.encode().ljust(8)
    return head(Content_Length=len(body)) + body


async def get(client: Client, url: str) -> None:
    """Download what is asked for, and nothing else."""
    blob, _ = await client.download(url)
    assert url.rpartition("/")[2].encode() in blob.read()
    blob.close()


async def close(writer: asyncio.StreamWriter) -> None:
    """Hang up."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Babbler:
    """A server that answers, and says more on its first connection when it is told to."""

    def __init__(self, more: bytes) -> None:
        self._more = more
        self.heads: list[str] = []
        self.connections = self.hung_up = 0
        self.may_answer, self.may_say_more, self.was_left = (anyio.Event() for _ in range(3))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.connections += 1
        is_first = self.connections == 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                path = self.heads[-1].split()[1]
                await self.may_answer.wait()
                writer.write(answer_to(path))
                if is_first:
                    await self.may_say_more.wait()
                    writer.write(self._more)
                    await reader.read()
                    self.was_left.set()
                    break
        await close(writer)
        self.hung_up += 1


@pytest.mark.parametrize("more", [answer_to("/0"), answer_to("/0")[:20], b"?"])
async def test_a_host_that_said_more(downloads: Downloads, more: bytes) -> None:
    """Is asked once on each connection from then on, also on those that were open already."""
    babbler = Babbler(more)
    async with listening(babbler.serve) as address, downloads.client(retries=0) as client:
        async with anyio.create_task_group() as tasks:
            for path in ("1", "2"):
                tasks.start_soon(get, client, f"http://{address}/{path}")
            while babbler.connections < 2:
                await anyio.lowlevel.checkpoint()
            babbler.may_answer.set()
        babbler.may_say_more.set()
        await babbler.was_left.wait()
        for path in ("3", "4"):
            await get(client, f"http://{address}/{path}")
        while babbler.hung_up < babbler.connections:
            await anyio.lowlevel.checkpoint()
    assert babbler.connections == 4
    assert ["Connection: close" in sent for sent in babbler.heads] == [False, False, True, True]


async def test_line_ends_behind_an_answer(downloads: Downloads) -> None:
    """Are nothing that was said."""
    asked: list[str] = []
    connections = 0
    is_over = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
                writer.write(answer_to(asked[-1]))
                await writer.drain()
                await let_others_read()
                writer.write(b"\r\n")
        await close(writer)
        is_over.set()

    async with listening(serve) as address:
        async with downloads.client(retries=0) as client:
            await get(client, f"http://{address}/1")
            await let_others_read()
            await get(client, f"http://{address}/2")
        await is_over.wait()
    assert (asked, connections) == (["/1", "/2"], 1)


async def let_others_read() -> None:
    """So that what was written is read on its own."""
    for _ in range(200):
        await anyio.lowlevel.checkpoint()


async def test_what_comes_just_before_the_next_request(downloads: Downloads) -> None:
    """Is seen though nobody has read it yet."""
    received, said_more = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as first:
            first.recv(1 << 16)
            first.sendall(answer_to("/1"))
            received.wait()
            first.sendall(answer_to("/0"))
            said_more.set()
            with listener.accept()[0] as second:
                second.recv(1 << 16)
                second.sendall(answer_to("/2"))

    thread = threading.Thread(target=serve)
    thread.start()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with downloads.client(retries=0) as client:
        await get(client, f"{base}/1")
        received.set()
        said_more.wait()  # the loop stands still: nothing is read meanwhile
        await get(client, f"{base}/2")
    thread.join()
