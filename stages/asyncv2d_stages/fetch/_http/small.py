"""Reads small files about a host, such as its robots.txt, with the same care as bodies."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from asyncv2d.types import ItemError
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._hosts.dns import UnresolvedError
from asyncv2d_stages.fetch._hosts.host import SILENT
from asyncv2d_stages.fetch._hosts.limits import Hosts, Turn
from asyncv2d_stages.fetch._hosts.safety import is_local
from asyncv2d_stages.fetch._hosts.slots import Slots
from asyncv2d_stages.fetch._hosts.way import Way
from asyncv2d_stages.fetch._http.body import Unpacker, encoding_of, is_plain
from asyncv2d_stages.fetch._http.causes import explained, foreseen, is_busy, of_status, retry_after
from asyncv2d_stages.fetch._http.proxy import Outages, ProxyDownError, ProxyHealth
from asyncv2d_stages.fetch._http.robots import LONGEST
from asyncv2d_stages.fetch._http.urls import Target

if TYPE_CHECKING:
    import aiohttp

    from asyncv2d_stages.fetch.http import HttpFetcher

_MOST_REDIRECTS = 5
_DEADLINE_S = 60.0
_NOT_THERE = 404


class _Progress:
    """A small file is all there or nothing."""

    progress = 0


class SmallFiles:
    """Reads small files."""

    def __init__(
        self,
        settings: HttpFetcher,
        session: aiohttp.ClientSession,
        hosts: Hosts,
        slots: Slots,
        way: Way,
        proxy: ProxyHealth,
    ) -> None:
        self._deadline_s = min(_DEADLINE_S, settings.timeout, settings.total_timeout)
        self._session = session
        self._hosts = hosts
        self._slots = slots
        self._way = way
        self._proxy = proxy
        self._retries = settings.retries

    async def read(self, wanted: Target) -> tuple[int, bytes]:
        """The status and the first bytes of a file. Raises ItemError if there is no answer."""
        from_local = True
        for _ in range(_MOST_REDIRECTS):
            await self._way.check(wanted, from_local=from_local)
            from_local = from_local and is_local(wanted.host)
            status, text, location = await self._answer(wanted)
            if location is None:
                return status, text
            wanted = wanted.redirected(location)
        return _NOT_THERE, b""

    async def _answer(self, wanted: Target) -> tuple[int, bytes, str | None]:
        """Ask when it is its turn, and again where the proxy may have failed."""
        outages = Outages()
        for attempt in count(1):
            try:
                async with (
                    self._hosts.turn(wanted.place) as turn,
                    self._slots.one(_Progress(), at_once=False),
                ):
                    answer = await self._ask(wanted, turn)
            except ProxyDownError as error:
                await outages.wait(error)
                continue
            if not self._proxy.may_be_refused(answer[0]) or attempt > self._retries:
                return answer
            await asyncio.sleep(_backoff.seconds(attempt))
        raise AssertionError("it ends with an answer or an error")

    async def _ask(self, wanted: Target, turn: Turn) -> tuple[int, bytes, str | None]:
        turn.begin()
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._session.get(wanted.as_yarl(), allow_redirects=False) as response,
            ):
                await self._proxy.answered(response.status, wanted, turn.asked_at)
                if is_busy(response.status):
                    busy = ItemError(of_status(response.status), f"HTTP {response.status}")
                    turn.failed(busy, retry_after(response.headers.get("Retry-After")))
                else:
                    turn.answered()
                    turn.done()
                if 300 <= response.status < 400:
                    return response.status, b"", response.headers.get("Location")
                return response.status, await _start(response, LONGEST), None
        except UnresolvedError as error:  # with a proxy, the name is the proxy's
            await self._proxy.hear(error, error, turn.asked_at)
            raise
        except foreseen() as error:
            failure = explained(error, None)
            await self._proxy.hear(error, failure, turn.asked_at, wanted.place)
            if failure.cause in SILENT:
                turn.failed(failure, None)
            raise failure from error


async def _start(response: aiohttp.ClientResponse, longest: int) -> bytes:
    """The first bytes of a file, unpacked."""
    encoding = encoding_of(response)
    unpacker = None if is_plain(encoding) else Unpacker(encoding)
    text = bytearray()
    async for chunk in response.content.iter_any():
        for piece in (chunk,) if unpacker is None else unpacker.feed(chunk):
            text += piece
            if len(text) >= longest:
                return bytes(text[:longest])
    if unpacker is not None:
        unpacker.finish()
    return bytes(text)
