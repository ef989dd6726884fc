"""Proxies of this machine, to be asked for what is elsewhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Server

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """A proxy that leads every host to one server."""

    def __init__(self, server: Server) -> None:
        self.port = int(server.address.rpartition(":")[2])
        self.asked: list[str] = []
        self.knows: str | None = None  # the only host that it speaks of; else all of them

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request as it is."""
        await self.forward(await reader.readuntil(b"\r\n\r\n"), writer)

    async def forward(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        """Forward a request that was read already."""
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
        if self.knows not in (None, name.decode()):
            await _close(writer)
            return
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


class MoodyProxy(Proxy):
    """One that says something of its own to some: what ``says`` gives, and then it hangs up."""

    def __init__(self, server: Server, says: Callable[[str], Awaitable[bytes | None]]) -> None:
        super().__init__(server)
        self._says = says

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request, if nothing is to be said to it."""
        head = await reader.readuntil(b"\r\n\r\n")
        said = await self._says(head.split()[1].decode())
        if said is None:
            again = asyncio.StreamReader()
            again.feed_data(head)
            await super().http(again, writer)
        else:
            writer.write(said)
            await _close(writer)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what is asked, and say nothing."""
    await reader.read(1)
    await _close(writer)


async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side has had enough."""
    with suppress(ConnectionError):
        await reader.read()
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
