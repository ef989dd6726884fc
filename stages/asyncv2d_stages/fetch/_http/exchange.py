"""One request and its answer: either a redirect, or a body that is what it should be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._hosts.dns import UnresolvedError
from asyncv2d_stages.fetch._hosts.host import SILENT
from asyncv2d_stages.fetch._hosts.limits import Hosts, Turn
from asyncv2d_stages.fetch._http.body import (
    ENOUGH,
    Unpacker,
    check_start,
    encoding_of,
    is_plain,
)
from asyncv2d_stages.fetch._http.body_watch import LOOK_EVERY_S, BodyWatch
from asyncv2d_stages.fetch._http.causes import (
    explained,
    foreseen,
    is_busy,
    is_nonsense,
    of_status,
    retry_after,
)
from asyncv2d_stages.fetch._http.consent import product_token, refusal
from asyncv2d_stages.fetch._http.cookies import Cookies
from asyncv2d_stages.fetch._http.least import least
from asyncv2d_stages.fetch._http.proxy import ProxyHealth
from asyncv2d_stages.fetch._http.session import user_agent
from asyncv2d_stages.fetch._http.transfer import NoRoomError, Transfer
from asyncv2d_stages.fetch._http.urls import Target

if TYPE_CHECKING:
    import aiohttp

    from asyncv2d_stages.fetch.http import HttpFetcher

_REDIRECTS = (301, 302, 303, 307, 308)
_KEPT_S = 5.0
_LEAST_KEPT = 64
# For the server that a row names, and for no other that it is sent on to.
_PERSONAL = frozenset({"authorization", "cookie", "proxy-authorization"})


class Call(Struct, frozen=True):
    """A request to be made."""

    target: Target
    headers: Mapping[str, str]
    cookies: Cookies

    def redirected(self, target: Target) -> Call:
        """The request that follows a redirect."""
        headers = self.headers
        if target.origin != self.target.origin:
            headers = {
                name: text for name, text in headers.items() if name.lower() not in _PERSONAL
            }
        return Call(target, headers, self.cookies)


class _BusyError(ItemError):
    """The host wants to be left alone for a while."""

    @classmethod
    def of(cls, error: ItemError) -> _BusyError:
        """The same as ``error``."""
        return cls(error.cause, error.detail, **error.facts)


class Exchange:
    """Makes requests."""

    def __init__(
        self,
        settings: HttpFetcher,
        session: aiohttp.ClientSession,
        hosts: Hosts,
        proxy: ProxyHealth,
        concurrency: int,
    ) -> None:
        self._settings = settings
        self._session = session
        self._hosts = hosts
        self._agent = product_token(user_agent(settings))
        self._stall_s = settings.stall_timeout or settings.timeout
        wait_s = settings.answer_timeout or settings.timeout
        before = (settings.dns_timeout, settings.connect_timeout)
        self._sets_stall = self._stall_s != wait_s
        # aiohttp's own deadlines begin anew with each answer that is none yet, such as 100.
        begin_s = sum(min(limit, settings.timeout) for limit in before)
        self._head_s = begin_s + wait_s + LOOK_EVERY_S
        self._proxy = proxy
        self._watch = BodyWatch(self._stall_s, least(settings))
        self._kept: deque[float] = deque()
        self._most_kept = max(_LEAST_KEPT, concurrency)

    async def ask(self, call: Call, transfer: Transfer, turn: Turn) -> Target | None:
        """Receive the body into ``transfer``, or say where it is.

        Raises ItemError, and NoRoomError where the server was hung up on for want of room.
        """
        transfer.status = None
        headers = self._headers(call, transfer)
        begin = asyncio.get_running_loop().time()
        end = begin + self._settings.total_timeout - transfer.took_s
        # Not asyncio's: that would end a wait for a thread which goes on writing the body.
        limit = anyio.CancelScope(deadline=min(begin + self._head_s, end))
        turn.begin()
        try:
            with limit:
                request = self._session.get(
                    call.target.as_yarl(), headers=headers, allow_redirects=False
                )
                async with request as response:
                    limit.deadline = end
                    transfer.status = response.status
                    await self._proxy.answered(response.status, call.target, begin)
                    _hear(response, turn)
                    answer = await self._take(call, response, transfer)
                    turn.done()
                    return answer
            raise TimeoutError
        except NoRoomError:
            turn.done()
            raise
        except ItemError as error:
            if isinstance(error, UnresolvedError):  # with a proxy, the name is the proxy's
                await self._proxy.hear(error, error, begin)
            error.facts.setdefault("http_status", transfer.status)
            error.detail += self._proxy.remark(transfer.status)
            if not isinstance(error, _BusyError):
                turn.done()
            raise
        except foreseen() as error:
            failure = explained(error, transfer.status)
            await self._proxy.hear(error, failure, begin, call.target.place)
            if limit.cancelled_caught and limit.deadline < end:
                failure.detail = f"no answer began within {self._head_s:g} s"
            if failure.cause in SILENT and not is_nonsense(error):
                turn.failed(failure, None)
            raise failure from error
        finally:
            transfer.took_s += asyncio.get_running_loop().time() - begin

    def _headers(self, call: Call, transfer: Transfer) -> Mapping[str, str]:
        headers = {**call.headers, **transfer.headers(call.target)}
        cookie = call.cookies.header(call.target.text)
        if cookie is not None and not any(name.lower() == "cookie" for name in headers):
            headers["Cookie"] = cookie
        if not self._may_keep(call.target.place):
            headers["Connection"] = "close"
        return headers

    def _may_keep(self, place: str) -> bool:
        """Whether the connection may stay open: idle ones to thousands of hosts are too many.

        Those of hosts that say more than they are asked are of no use.
        """
        now = asyncio.get_running_loop().time()
        while self._kept and self._kept[0] < now:
            self._kept.popleft()
        if self._hosts.says_more(place):
            return False
        if self._hosts.is_shared(place):
            return True
        if len(self._kept) >= self._most_kept:
            return False
        self._kept.append(now + _KEPT_S)
        return True

    async def _take(
        self, call: Call, response: aiohttp.ClientResponse, transfer: Transfer
    ) -> Target | None:
        status = response.status
        if status in _REDIRECTS and (location := response.headers.get("Location")) is not None:
            call.cookies.learn(call.target.text, response.headers.getall("Set-Cookie", ()))
            return call.target.redirected(location)
        if status == 416 and transfer.wants_rest:
            await transfer.drop()
            raise ItemError(Cause.TRUNCATED, "the rest of a broken transfer is not to be had")
        _check_status(response)
        self._check_consent(response)
        await transfer.begin(response, call.target)
        size = transfer.whole
        assert transfer.body is not None
        if status != 206 and size is not None and not transfer.body.fits(size):
            raise NoRoomError(size)
        await self._receive(response, transfer)
        return None

    def _check_consent(self, response: aiohttp.ClientResponse) -> None:
        if self._settings.ignore_opt_out:
            return
        rule = refusal(response.headers.getall("X-Robots-Tag", ()), self._agent)
        if rule is not None:
            raise ItemError(Cause.OPTED_OUT, f"the server says X-Robots-Tag: {rule}")

    async def _receive(self, response: aiohttp.ClientResponse, transfer: Transfer) -> None:
        if self._sets_stall and response.connection is not None:
            protocol = response.connection.protocol
            if protocol is not None:
                protocol.read_timeout = self._stall_s
                protocol.start_timeout()
        encoding = encoding_of(response)
        start: bytes | None = b""
        with self._watch.body(response) as body:
            if is_plain(encoding):
                start = b"" if transfer.received == 0 else None
                while chunk := await body.piece():
                    start = await _add(transfer, start, chunk)
            else:
                unpacker = Unpacker(encoding)
                while chunk := await body.piece():
                    for piece in unpacker.feed(chunk):
                        start = await _add(transfer, start, piece)
                unpacker.finish()
        if start:
            check_start(start, transfer.content_type)
            await transfer.write(start)


async def _add(transfer: Transfer, start: bytes | None, piece: bytes) -> bytes | None:
    """Add ``piece`` to the body; its start is kept back until it tells what the body is."""
    if start is None:
        await transfer.write(piece)
        return None
    start += piece
    if len(start) < ENOUGH:
        return start
    check_start(start, transfer.content_type)
    await transfer.write(start)
    return None


def _hear(response: aiohttp.ClientResponse, turn: Turn) -> None:
    """Take from the answer's head how the host fares."""
    pause_s = retry_after(response.headers.get("Retry-After"))
    if not is_busy(response.status) and (response.status < 500 or pause_s is None):
        turn.answered()
        return
    error = _BusyError.of(_of_status(response))
    error.facts["retry_after_s"] = pause_s
    if pause_s is not None and pause_s >= 1:
        error.detail += f"; it asks to wait {pause_s:.0f} s"
    turn.failed(error, pause_s)
    raise error


def _check_status(response: aiohttp.ClientResponse) -> None:
    if not 200 <= response.status < 300:
        raise _of_status(response)
    if response.status in (204, 205):
        raise ItemError(Cause.EMPTY, f"HTTP {response.status}: no content")


def _of_status(response: aiohttp.ClientResponse) -> ItemError:
    status = response.status
    return ItemError(of_status(status), f"HTTP {status} {response.reason}", http_status=status)
