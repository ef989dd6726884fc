"""The conversation with a server about one file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.busy import NobodyError
from asyncv2d_stages.fetch._files.deadlines import Deadlines
from asyncv2d_stages.fetch._files.urls import Target
from asyncv2d_stages.fetch._ftp.causes import Reply, refusal
from asyncv2d_stages.fetch._ftp.control import Control, Streams, connection

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.remote import RemoteFetcher

_ANONYMOUS = b"anonymous"
_NO_PASSWORD = b"anonymous@"
_CHUNK = 1 << 20
_LEAVING_S = 2.0
_READY_SOON = 120
_SIZE = re.compile(r"\s*(\d{1,18})\s*")
_PASSIVE = re.compile(r"\d+,\s*\d+,\s*\d+,\s*\d+,\s*(\d{1,3}),\s*(\d{1,3})")
_EXTENDED = re.compile(r"\((.)\1\1(\d{1,5})\1\)")


class Session(Struct):
    """A conversation at ``address``; all its connections are in ``stack``."""

    wanted: Target
    address: str
    control: Control
    connect_s: float
    stall_s: float
    stack: AsyncExitStack
    data: Streams | None = None
    is_begun: bool = False

    async def log_in(self) -> None:
        """Say who asks, and that files are to be sent as they are."""
        reply = await self.control.reply()
        if reply.code == _READY_SOON:
            reply = await self.control.reply()
        self._expect_good(reply)
        user, password = self.wanted.user, self.wanted.password
        if not user:
            user, password = _ANONYMOUS, password or _NO_PASSWORD
        reply = await self.control.ask(b"USER", user)
        if 300 <= reply.code < 400:
            reply = await self.control.ask(b"PASS", password)
        if 300 <= reply.code < 400:  # it wants an account, too
            reply = Reply(532, reply.text)
        self._expect_good(reply)
        self._expect_good(await self.control.ask(b"TYPE", b"I"))

    async def size(self) -> int | None:
        """How large the file is, if the server tells."""
        reply = await self.control.ask(b"SIZE", self.wanted.path)
        found = _SIZE.fullmatch(reply.text) if reply.code == 213 else None
        if reply.is_busy:
            raise refusal(reply, self.wanted.url)
        return int(found[1]) if found else None

    async def ask_for_file(self) -> Reply:
        """Have the file sent; gives what the server says to that."""
        port = await self._data_port()
        self.data = await _reach(
            self.stack, port, self.connect_s, self.control.deadlines, self.address
        )
        reply = await self.control.ask(b"RETR", self.wanted.path)
        # Some say first that they understood.
        return await self.control.reply() if reply.is_good else reply

    async def _data_port(self) -> int:
        """Where the file will be sent; whatever host is named, it can only be this one."""
        port, is_older = 0, ":" not in self.address
        if is_older:
            reply = await self.control.ask(b"PASV")
            found = _PASSIVE.search(reply.text) if reply.code == 227 else None
            port = int(found[1]) * 256 + int(found[2]) if found else 0
        if not is_older or reply.code >= 500:  # or it knows the newer way alone
            reply = await self.control.ask(b"EPSV")
            found = _EXTENDED.search(reply.text) if reply.code == 229 else None
            port = int(found[2]) if found else 0
        if not 0 < port < 1 << 16:
            raise refusal(reply, self.wanted.url)
        return port

    async def piece(self) -> bytes:
        """What came of the file; nothing at its end."""
        assert self.data is not None
        limit, late = self.stall_s, ItemError(Cause.STALLED, f"no byte came for {self.stall_s:g} s")
        if not self.is_begun:
            limit = self.control.answer_s
            late = ItemError(Cause.TIMEOUT, f"no byte came within {limit:g} s")
        with self.control.deadlines.step(limit, late, Cause.TRUNCATED):
            piece = await self.data[0].read(_CHUNK)
        self.is_begun = True
        if not piece:
            self.data[1].close()  # some say that they are done only then
        return piece

    async def confirm(self) -> None:
        """Make sure that this was all: where no size is known, only the server can tell."""
        reply = await self.control.reply(Cause.TRUNCATED)
        if not reply.is_good:
            error = refusal(reply, self.wanted.url)
            raise ItemError(Cause.TRUNCATED, error.detail)

    async def leave(self) -> None:
        """Hang up in good manners, if the server lets us do so soon."""
        with anyio.move_on_after(_LEAVING_S):
            await self.control.hang_up()

    def _expect_good(self, reply: Reply) -> None:
        if not reply.is_good:
            raise refusal(reply, self.wanted.url)


@asynccontextmanager
async def open_session(
    settings: RemoteFetcher, wanted: Target, addresses: Sequence[str], deadlines: Deadlines
) -> AsyncIterator[Session]:
    """A conversation at the first address where there is somebody."""
    connect_s = min(settings.connect_timeout, settings.timeout)
    async with AsyncExitStack() as stack:
        reach = partial(_reach, stack, wanted.port, connect_s, deadlines)
        try:
            address, streams = await _first(addresses, reach)
        except ItemError as error:
            raise NobodyError(error.cause, error.detail) from error
        control = Control(streams, deadlines, settings.answer_timeout or settings.timeout)
        stall_s = settings.stall_timeout or settings.timeout
        yield Session(wanted, address, control, connect_s, stall_s, stack)


async def _first(
    addresses: Sequence[str], reach: Callable[[str], Awaitable[Streams]]
) -> tuple[str, Streams]:
    *others, last = addresses
    for address in others:
        with suppress(ItemError):
            return address, await reach(address)
    return last, await reach(last)


async def _reach(
    stack: AsyncExitStack, port: int, limit_s: float, deadlines: Deadlines, address: str
) -> Streams:
    late = ItemError(Cause.TIMEOUT, f"no connection to port {port} within {limit_s:g} s")
    with deadlines.step(limit_s, late):
        return await stack.enter_async_context(connection(address, port))
