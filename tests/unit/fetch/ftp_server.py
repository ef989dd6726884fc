"""A small FTP server, with the files and the faults that a test gives it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[["Visit"], Awaitable[None]]
"""What a server does instead of what a command asks for."""


class FtpServer:
    """Serves ``files`` by their paths; ``acts`` has what to do instead, by command.

    An act is a text to answer with or a function; of a list, each is for one time. ``most`` is how
    many connections it takes at a time. ``HELLO`` is what it does first.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.files: dict[bytes, bytes] = {}
        self.acts: dict[str, str | Act | list[str | Act]] = {}
        self.users: dict[bytes, bytes] = {b"anonymous": b"anonymous@"}
        self.most: int | None = None
        self.turned_away = 0
        self.visits = 0
        self.busiest = 0
        self.commands: list[bytes] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._changed = anyio.Event()

    def url(self, path: str, user: str = "") -> str:
        """The URL of a file."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ftp://{user}{host}:{self.port}/{path}"

    def asked(self, name: str) -> list[bytes]:
        """The arguments of all commands of this name."""
        return [
            argument
            for command, _, argument in (line.partition(b" ") for line in self.commands)
            if command.upper() == name.encode()
        ]

    async def until_all_left(self) -> None:
        """Wait until no connection is open, be it for commands or for files."""
        while self._open:
            await self._changed.wait()

    def opened(self, writer: asyncio.StreamWriter) -> None:
        """A connection was made."""
        self._open.add(writer)

    def closed(self, writer: asyncio.StreamWriter) -> None:
        """A connection is gone."""
        writer.transport.abort()
        self._open.discard(writer)
        self._changed.set()
        self._changed = anyio.Event()

    def act(self, name: str) -> str | Act | None:
        """What to do instead this time."""
        act = self.acts.get(name)
        if isinstance(act, list):
            return act.pop(0) if act else None
        return act

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.opened(writer)
        self.visits += 1
        visit = Visit(self, (reader, writer))
        try:
            with suppress(OSError, EOFError):
                if self.most is not None and self.visits > self.most:
                    self.turned_away += 1
                    await visit.say("421 Too many connections")
                else:
                    self.busiest = max(self.busiest, self.visits)
                    await visit.serve()
        finally:
            self.visits -= 1
            self.closed(writer)
            visit.close()


class Visit:
    """One client."""

    def __init__(self, server: FtpServer, streams: Streams) -> None:
        self.server = server
        self.argument = b""
        self.reader, self.writer = streams
        self._user = b""
        self._data: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        self._listening: asyncio.Server | None = None

    async def say(self, *lines: str) -> None:
        """Answer."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def serve(self) -> None:
        """Do what the client says."""
        await self._do("HELLO")
        while True:
            line = (await self.reader.readuntil(b"\r\n")).removesuffix(b"\r\n")
            self.server.commands.append(line)
            command, _, self.argument = line.partition(b" ")
            await self._do(command.decode().upper())

    async def _do(self, name: str) -> None:
        act = self.server.act(name)
        if isinstance(act, str):
            await self.say(act)
        elif act is not None:
            await act(self)
        else:
            do = getattr(self, f"do_{name.lower()}", None)
            await (self.say("502 what?") if do is None else do())

    async def do_hello(self) -> None:
        await self.say("220-welcome", "220-", " 220 to this server", "220 of a test")

    async def do_user(self) -> None:
        self._user = self.argument
        await self.say("331 and the password?")

    async def do_pass(self) -> None:
        is_good = self.server.users.get(self._user) == self.argument
        await self.say("230 well" if is_good else f"530 no: {self.argument.decode()}")

    async def do_type(self) -> None:
        await self.say("200 well")

    async def do_size(self) -> None:
        body = self.server.files.get(self.argument)
        await self.say("550 no such file" if body is None else f"213 {len(body)}")

    async def do_pasv(self) -> None:
        port = await self.listen()
        numbers = ",".join([*self.server.host.split("."), str(port >> 8), str(port & 255)])
        await self.say(f"227 here ({numbers}).")

    async def do_epsv(self) -> None:
        await self.say(f"229 here (|||{await self.listen()}|)")

    async def do_retr(self) -> None:
        body = self.server.files.get(self.argument)
        if body is None:
            await self.say("550 no such file")
        else:
            async with self.sending() as data:
                data.write(body)
                await data.drain()
            await self.say("226 done")

    async def do_mlsd(self) -> None:
        async with self.sending() as data:
            folder = b"/" + self.argument.strip(b"/")
            for path, body in self.server.files.items():
                before, _, name = path.rpartition(b"/")
                if (before or b"/") == folder:
                    data.write(b"type=file;size=%d; %b\r\n" % (len(body), name))
            await data.drain()
        await self.say("226 done")

    async def do_quit(self) -> None:
        await self.say("221 bye")
        raise EOFError

    async def listen(self) -> int:
        """Wait for a connection for a file; gives the port."""
        self.close()
        self._data = asyncio.get_running_loop().create_future()
        self._listening = await asyncio.start_server(self._connected, self.server.host, 0)
        return int(self._listening.sockets[0].getsockname()[1])

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server.opened(writer)
        if self._data.done():
            self.server.closed(writer)
        else:
            self._data.set_result((reader, writer))

    @asynccontextmanager
    async def sending(self, reply: str = "150 it comes") -> AsyncIterator[asyncio.StreamWriter]:
        """A connection to send a file over, which is whole at the end."""
        await self.say(reply)
        _, writer = await self._data
        try:
            yield writer
            writer.write_eof()
            with suppress(OSError):
                while await self._data.result()[0].read(1 << 16):
                    pass
        finally:
            self.server.closed(writer)

    def close(self) -> None:
        """Leave the client's other connection."""
        if self._listening is not None:
            self._listening.close()
        if self._data.done() and not self._data.cancelled():
            self.server.closed(self._data.result()[1])


@asynccontextmanager
async def ftp_server(host: str = "127.0.0.1") -> AsyncIterator[FtpServer]:
    """A server on this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        server = FtpServer(host, listening.getsockname()[1])
        async with await asyncio.start_server(server.serve, sock=listening):
            yield server
