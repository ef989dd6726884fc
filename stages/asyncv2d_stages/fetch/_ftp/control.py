"""The connection over which a server is told what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from msgspec import Struct

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.deadlines import Deadlines
from asyncv2d_stages.fetch._ftp.causes import Reply

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_LONGEST_REPLY = 64 << 10
_LONGEST_LINE = 16 << 10
_BUFFER = 256 << 10


@asynccontextmanager
async def connection(address: str, port: int) -> AsyncIterator[Streams]:
    """A connection that is gone afterwards, whatever is still on its way."""
    reader, writer = await asyncio.open_connection(address, port, limit=_BUFFER)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with anyio.CancelScope(shield=True), suppress(OSError):
            await writer.wait_closed()


class Control(Struct, frozen=True):
    """Commands, and the replies to them."""

    streams: Streams
    deadlines: Deadlines
    answer_s: float

    async def ask(self, command: bytes, argument: bytes = b"") -> Reply:
        """Send a command; gives the reply."""
        self.streams[1].write(command + (b" " + argument if argument else b"") + b"\r\n")
        return await self.reply()

    async def reply(self, broken: Cause = Cause.CONNECT) -> Reply:
        """The next reply, which has to be there as a whole in time: it may have many lines."""
        late = ItemError(Cause.TIMEOUT, f"no answer came within {self.answer_s:g} s")
        with self.deadlines.step(self.answer_s, late, broken):
            line = await self._line()
            code, mark, text = line[:3], line[3:4], line[4:]
            if not (code.isascii() and code.isdecimal()):
                raise _nonsense()
            while mark == "-" and not (line.startswith(code) and line[3:4] != "-"):
                line = await self._line()
                text += line
                if len(text) > _LONGEST_REPLY:
                    raise _nonsense()
        return Reply(int(code), text)

    async def _line(self) -> str:
        try:
            line = await self.streams[0].readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise _nonsense() from None
        if len(line) > _LONGEST_LINE:
            raise _nonsense()
        return line.decode("utf-8", "replace")

    async def hang_up(self) -> None:
        """Take leave, and wait until the server has done so, too: then its place is free again."""
        self.streams[1].write(b"QUIT\r\n")
        with suppress(OSError):
            while await self.streams[0].read(_LONGEST_LINE):
                pass


def _nonsense() -> ItemError:
    return ItemError(Cause.CONNECT, "the server does not speak FTP")
