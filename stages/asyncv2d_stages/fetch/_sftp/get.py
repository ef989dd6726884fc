"""Gets one file over SFTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from getpass import getuser
from typing import Any

import anyio
import asyncssh
from asyncssh.constants import FILEXFER_TYPE_DIRECTORY

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.busy import NobodyError, before_asking
from asyncv2d_stages.fetch._files.urls import Target
from asyncv2d_stages.fetch._files.visit import Visit
from asyncv2d_stages.fetch._sftp.causes import explaining
from asyncv2d_stages.fetch._sftp.reads import Reads, reads


async def get(visit: Visit) -> bool:
    """Get a file; False: there is no room now for what it is said to be. Raises ItemError."""
    async with AsyncExitStack() as stack:
        with before_asking(visit.turn):
            connection = await _first(stack, visit)
            files = await _files(connection, visit)
        visit.turn.answered()
        return await _take(files, visit)


async def _first(stack: AsyncExitStack, visit: Visit) -> asyncssh.SSHClientConnection:
    """A connection to the first address where there is somebody."""
    *others, last = visit.addresses
    for address in others:
        with suppress(NobodyError):
            return await stack.enter_async_context(_connection(address, visit))
    return await stack.enter_async_context(_connection(last, visit))


@asynccontextmanager
async def _connection(address: str, visit: Visit) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection that is gone afterwards."""
    wanted, settings = visit.wanted, visit.settings
    limit = min(settings.connect_timeout, settings.timeout)
    late = NobodyError(Cause.TIMEOUT, f"no connection within {limit:g} s")
    options = {
        "known_hosts": None,
        "config": None,
        "compression_algs": ["none"],  # media has no use for it, and unpacking has no bounds
        **_login(wanted),
    }
    with visit.deadlines.step(limit, late), explaining(wanted.url):
        try:
            connection = await asyncssh.connect(address, wanted.port, **options)
        except ConnectionResetError:
            raise  # there is somebody, who hung up
        except OSError as error:
            raise NobodyError(Cause.CONNECT, error.strerror or str(error)) from error
    try:
        yield connection
    finally:
        connection.abort()
        with anyio.CancelScope(shield=True):
            await connection.wait_closed()


def _login(wanted: Target) -> dict[str, Any]:
    """Who asks: with the password in the URL, or else with the user's own keys.

    Never with both: servers hang up after a few keys that they do not know, before they ask for a
    password, and whom a table names need not get to know the keys.
    """
    login: dict[str, Any] = {"username": wanted.user.decode(errors="replace") or getuser()}
    if wanted.password:
        login |= {
            "password": wanted.password.decode(errors="replace"),
            "preferred_auth": ["password", "keyboard-interactive"],
            "client_keys": None,
            "agent_path": None,
        }
    return login


async def _files(connection: asyncssh.SSHClientConnection, visit: Visit) -> asyncssh.SFTPClient:
    """What answers there if files are asked for; raises ItemError (connect) if nothing does."""
    try:
        with _answering(visit):
            return await connection.start_sftp_client()
    except ItemError as error:
        if error.cause is Cause.TIMEOUT:
            raise
        raise ItemError(Cause.CONNECT, f"no SFTP after the login: {error.detail}") from error


@contextmanager
def _answering(visit: Visit) -> Iterator[None]:
    """What the server has to answer in time."""
    answer_s = visit.settings.answer_timeout or visit.settings.timeout
    late = ItemError(Cause.TIMEOUT, f"no answer came within {answer_s:g} s")
    with visit.deadlines.step(answer_s, late), explaining(visit.wanted.url):
        yield


async def _take(files: asyncssh.SFTPClient, visit: Visit) -> bool:
    transfer = visit.transfer
    with _answering(visit):
        file, transfer.whole = await _open(files, visit.wanted.path)
    transfer.check_size(transfer.whole or 0)
    assert transfer.body is not None
    if transfer.whole is not None and not transfer.body.fits(transfer.whole):
        return False
    all_of_it = reads(file, files.limits.max_read_len)
    while piece := await _next(all_of_it, visit):
        await transfer.write(piece)
        transfer.check_end()
    return True


async def _open(
    files: asyncssh.SFTPClient, path: bytes
) -> tuple[asyncssh.SFTPClientFile, int | None]:
    """A file, and its size if the server tells."""
    try:
        file = await files.open(path, "rb", block_size=0)  # a read is one request
        found = await file.stat()
        is_file = found.type != FILEXFER_TYPE_DIRECTORY  # some open folders, too
    except asyncssh.SFTPFailure:
        if await _may_be_file(files, path):
            raise
        is_file = False
    if not is_file:
        raise ItemError(Cause.NOT_FOUND, "it is a folder, or a link that leads nowhere")
    return file, found.size


async def _may_be_file(files: asyncssh.SFTPClient, path: bytes) -> bool:
    """Whether it is neither a folder nor a link in a circle: servers say no more than a failure."""
    try:
        return not await files.isdir(path)
    except asyncssh.SFTPFailure:
        return not await files.islink(path)


async def _next(all_of_it: Reads, visit: Visit) -> bytes:
    """What follows what came; nothing at the end of the file."""
    stall_s = visit.settings.stall_timeout or visit.settings.timeout
    late = ItemError(Cause.STALLED, f"no byte came for {stall_s:g} s")
    step = visit.deadlines.step(stall_s, late, Cause.TRUNCATED)
    with step, explaining(visit.wanted.url, Cause.TRUNCATED):
        return await all_of_it.after(visit.transfer.received)
