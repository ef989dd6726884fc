"""Reads bodies, and ends those that drip, or stand still without aiohttp seeing it.

Where it cannot make sense of an answer's middle, it neither says so nor looks at the clock any
more. One look at all bodies every second costs less than a deadline for each of their pieces.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.least import Least

if TYPE_CHECKING:
    import aiohttp

LOOK_EVERY_S = 1.0


class IncomingBody:
    """A body that is being received."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._protocol = response.connection.protocol if response.connection else None
        self._loop = asyncio.get_running_loop()
        self._waits_since = math.inf
        self._waited_s = 0.0  # for less than has to come in a while
        self._had = 0

    async def piece(self) -> bytes:
        """What has come; nothing at the end. Raises ItemError (truncated, stalled)."""
        self._waits_since = self._loop.time()
        try:
            return await self._content.readany()
        finally:
            self._waits_since = math.inf

    def check(self, stall_s: float, least: Least) -> None:
        """Have ``piece`` raise an error where it waits in vain, or for too little."""
        content, protocol = self._content, self._protocol
        waits_s = self._loop.time() - self._waits_since
        if waits_s < 0 or content.is_eof() or content.exception() is not None:
            return
        if protocol is not None and (protocol.exception() or not protocol.connected):
            detail = "the answer cannot be read on"
            content.set_exception(ItemError(Cause.TRUNCATED, detail))
        elif waits_s > stall_s + LOOK_EVERY_S:
            detail = f"no byte came for {stall_s:g} s"
            content.set_exception(ItemError(Cause.STALLED, detail))
        elif self._drips(least):
            content.set_exception(least.failure())

    def _drips(self, least: Least) -> bool:
        """Looked at when it waits: for what is kept waiting itself, nobody else is too slow."""
        came = self._content.total_bytes
        if came - self._had >= least.size:
            self._had, self._waited_s = came, 0.0
        self._waited_s += LOOK_EVERY_S
        return least.rate > 0 and self._waited_s > least.within_s


class BodyWatch:
    """Looks at all bodies that are being received; each may stand still for ``stall_s`` seconds."""

    def __init__(self, stall_s: float, least: Least) -> None:
        self._stall_s = stall_s
        self._least = least
        self._bodies: set[IncomingBody] = set()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def body(self, response: aiohttp.ClientResponse) -> Iterator[IncomingBody]:
        """The body of ``response``, watched while it is read."""
        body = IncomingBody(response)
        self._bodies.add(body)
        if self._timer is None:
            self._set_timer()
        try:
            yield body
        finally:
            self._bodies.discard(body)

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = None
        for body in self._bodies:
            body.check(self._stall_s, self._least)
        if self._bodies:
            self._set_timer()
