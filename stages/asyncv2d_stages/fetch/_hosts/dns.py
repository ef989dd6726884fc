"""Finds the addresses of hosts: cached, a bounded number at a time, one query for all who wait.

The system's resolver is used, because it knows this network's names; it blocks, so it runs in
threads of its own, as many as there are queries in flight, up to a limit.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from msgspec import Struct

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._hosts.answers import Answers
from asyncv2d_stages.fetch._hosts.loopback import asked_name
from asyncv2d_stages.fetch._hosts.safety import Policy, forbidden, plain_address

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

_QUERIES = 64  # in flight, of those whose answer is not long in coming
_SLOW_S = 1.0
_MOST_THREADS = 256
_REMEMBERED = 20_000
_GOOD_FOR_S = 300.0
_BAD_FOR_S = 60.0  # there is no such host, or its servers do not answer
_UNSURE_FOR_S = 5.0  # the resolver could not tell
_TRIES = 3
_PAUSE_S = 0.3
_CLOSING_S = 2.0
_NO_SUCH_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Found(Struct, frozen=True):
    """What a query found: addresses, or why there are none, and whether that will stay so."""

    addresses: Sequence[tuple[socket.AddressFamily, str]]
    problem: str = ""
    is_final: bool = False


class HostLookup:
    """Looks hosts up, and refuses addresses that ``policy`` does not allow.

    ``exempt`` is the proxy's host, which the user named, not a row.
    """

    def __init__(
        self, policy: Policy, timeout_s: float, family: socket.AddressFamily, exempt: str | None
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._family = family
        self._exempt = exempt
        self._answers = Answers(self._ask, _REMEMBERED)
        self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="dns")
        self._free = asyncio.Semaphore(_QUERIES)

    async def addresses(self, host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
        """The host's addresses, allowed ones only. Raises ItemError where there are none."""
        found = await self._answers.get(host)
        if not found.addresses:
            raise _unresolved(found)
        if host == self._exempt:
            return found.addresses
        allowed = [pair for pair in found.addresses if self._policy.allows(host, pair[1])]
        if not allowed:
            raise forbidden(host, found.addresses[0][1])
        return allowed

    async def _ask(self, host: str) -> tuple[Found, float]:
        for _ in range(_TRIES - 1):
            found = await self._try(host)
            if found.addresses or found.is_final:
                break
            await asyncio.sleep(_PAUSE_S)
        else:
            found = await self._try(host)
        if found.addresses:
            return found, _GOOD_FOR_S
        return found, _BAD_FOR_S if found.is_final else _UNSURE_FOR_S

    async def _try(self, host: str) -> Found:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        query = loop.run_in_executor(self._threads, _getaddrinfo, host, self._family)
        place = _Place(self._free)
        # The thread is busy until it has its answer, also when nobody waits for that any more.
        query.add_done_callback(place.is_answered)
        slow_s = min(_SLOW_S, self._timeout_s)
        done, _ = await asyncio.wait([query], timeout=slow_s)
        if not done:
            place.give_back()  # names whose servers say nothing must not keep others waiting
            done, _ = await asyncio.wait([query], timeout=self._timeout_s - slow_s)
        if not done:
            return Found((), f"the name was not resolved in {self._timeout_s:g} s", is_final=True)
        error = query.exception()
        if error is None:
            return Found(query.result())
        is_final = getattr(error, "errno", None) in _NO_SUCH_HOST or isinstance(error, UnicodeError)
        return Found((), str(error), is_final)

    async def close(self) -> None:
        """Give up what is asked, and end the threads that are idle."""
        await self._answers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        # A thread that still waits for the system's resolver ends by itself when that gives up.
        with anyio.move_on_after(_CLOSING_S):
            await to_thread.run_sync(self._threads.shutdown, abandon_on_cancel=True)


class _Place:
    """A place among the queries in flight, given back once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free

    def give_back(self) -> None:
        """Let another query have it."""
        free, self._free = self._free, None
        if free is not None:
            free.release()

    def is_answered(self, query: asyncio.Future[Any]) -> None:
        """The query ended."""
        self.give_back()
        if not query.cancelled():
            query.exception()  # seen, whether or not somebody still waits


class UnresolvedError(ItemError):
    """A host without an address; ``is_final`` if asking again is of no use."""

    is_final = False


def _unresolved(found: Found) -> UnresolvedError:
    error = UnresolvedError(Cause.DNS, found.problem or "the host has no address")
    error.is_final = found.is_final
    return error


@asynccontextmanager
async def open_lookup(
    policy: Policy, timeout_s: float, family: socket.AddressFamily, exempt: str | None
) -> AsyncIterator[HostLookup]:
    """A lookup whose threads are gone afterwards."""
    lookup = HostLookup(policy, timeout_s, family, exempt)
    try:
        yield lookup
    finally:
        with anyio.CancelScope(shield=True):
            await lookup.close()


def resolver(lookup: HostLookup) -> AbstractResolver:
    """``lookup`` as aiohttp takes it: what it connects to is what was checked."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class _Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=kind,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for kind, address in await lookup.addresses(host)
            ]

        async def close(self) -> None:
            """Closed by who opened it."""

    return _Resolver()


def _getaddrinfo(
    host: str, family: socket.AddressFamily
) -> Sequence[tuple[socket.AddressFamily, str]]:
    found: dict[tuple[socket.AddressFamily, str], None] = {}
    name = asked_name(host)
    for kind, _, _, _, address in socket.getaddrinfo(name, None, family, socket.SOCK_STREAM):
        text = str(address[0]).partition("%")[0]
        if plain_address(text) is not None:
            found[kind, text] = None
    return tuple(found)
