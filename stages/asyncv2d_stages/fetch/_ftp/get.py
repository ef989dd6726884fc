"""Gets one file over FTP."""

from __future__ import annotations

from contextlib import AsyncExitStack

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.busy import before_asking
from asyncv2d_stages.fetch._files.visit import Visit
from asyncv2d_stages.fetch._ftp.causes import refusal
from asyncv2d_stages.fetch._ftp.session import Session, open_session
from asyncv2d_stages.fetch._hosts.limits import Turn
from asyncv2d_stages.fetch._http.transfer import Transfer


async def get(visit: Visit) -> bool:
    """Get a file; False: there is no room now for what it is said to be. Raises ItemError."""
    async with AsyncExitStack() as stack:
        with before_asking(visit.turn):
            session = await stack.enter_async_context(
                open_session(visit.settings, visit.wanted, visit.addresses, visit.deadlines)
            )
            await session.log_in()
        return await _take(session, visit.turn, visit.transfer)


async def _take(session: Session, turn: Turn, transfer: Transfer) -> bool:
    transfer.whole = await session.size()
    transfer.check_size(transfer.whole or 0)
    assert transfer.body is not None
    if transfer.whole is not None and not transfer.body.fits(transfer.whole):
        return False
    reply = await session.ask_for_file()
    if not reply.is_busy:
        turn.answered()
    if not 100 <= reply.code < 200:
        raise refusal(reply, session.wanted.url)
    while piece := await _next(session, transfer):
        await transfer.write(piece)
        transfer.check_end()
    if transfer.whole is None:
        await session.confirm()
    await session.leave()
    return True


async def _next(session: Session, transfer: Transfer) -> bytes:
    """A piece of the file; nothing at its end, also where a server forgets to say that it is."""
    try:
        return await session.piece()
    except ItemError as error:
        if error.cause is Cause.STALLED and transfer.received == transfer.whole:
            return b""
        raise
