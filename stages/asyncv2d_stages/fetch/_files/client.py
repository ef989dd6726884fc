"""Downloads files from servers that ask who is there: politely, safely, and again if need be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct

from asyncv2d.deadline import waiting
from asyncv2d.ports import FetchContext
from asyncv2d.types import Blob, Fetched, ItemError, Row
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._files.busy import BusyError
from asyncv2d_stages.fetch._files.deadlines import Deadlines
from asyncv2d_stages.fetch._files.urls import Target, target
from asyncv2d_stages.fetch._files.visit import Get, Visit
from asyncv2d_stages.fetch._hosts.dns import HostLookup, UnresolvedError, open_lookup
from asyncv2d_stages.fetch._hosts.host import SILENT, HostGivenUpError, Limits
from asyncv2d_stages.fetch._hosts.limits import Hosts, NoTurnError, Turn
from asyncv2d_stages.fetch._hosts.safety import Policy, plain_address
from asyncv2d_stages.fetch._hosts.slots import Slots
from asyncv2d_stages.fetch._http.transfer import NoRoomError, Transfer

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.remote import RemoteFetcher

_MOST_AT_A_TIME = 64
_LONGEST_HOLD_S = 10.0  # that room is kept while its row waits
_TURNED_AWAY = 20  # times, by a host that serves others, which is no failure


@asynccontextmanager
async def open_client(
    settings: RemoteFetcher, context: FetchContext, port: int, get: Get
) -> AsyncIterator[FilesClient]:
    """A client for servers that usually listen at ``port``, and that ``get`` talks to.

    Nothing is left of its connections afterwards.
    """
    dns_s = min(settings.dns_timeout, settings.timeout)
    policy = Policy(settings.private_addresses)
    async with open_lookup(policy, dns_s, socket.AF_UNSPEC, None) as lookup:
        yield FilesClient(settings, context, policy, lookup, port, get)


class FilesClient:
    """An open client: ``fetch`` brings the file of one row."""

    def __init__(
        self,
        settings: RemoteFetcher,
        context: FetchContext,
        policy: Policy,
        lookup: HostLookup,
        port: int,
        get: Get,
    ) -> None:
        self._settings = settings
        self._port = port
        self._get = get
        self._spool = context.spool
        self._policy = policy
        self._lookup = lookup
        most = min(context.concurrency, _MOST_AT_A_TIME)
        self._hosts = Hosts(_limits(settings, most, context.share))
        self._slots = Slots(most)

    async def fetch(self, row: Row) -> Fetched:
        """Raises ItemError, with the number of attempts."""
        wanted = target(row.url, self._port)
        tries = _Tries(self._settings.retries)
        async with Transfer(self._spool, self._settings.max_bytes) as transfer:
            for attempt in count(1):
                try:
                    blob = await self._attempt(wanted, transfer)
                    return Fetched(row, {"video": blob}, {}, attempt)
                except ItemError as error:
                    tries.failed(error, attempt)
                await transfer.drop()
                with waiting():
                    await asyncio.sleep(_backoff.seconds(max(1, tries.failures)))
        raise AssertionError("it ends with a file or an error")

    async def _attempt(self, wanted: Target, transfer: Transfer) -> Blob:
        """Ask for the file when it is its turn, and again when there is room for it."""
        deadlines = Deadlines(self._settings.total_timeout)
        addresses = await self._addresses(wanted.host)
        while True:
            holds = transfer.body is not None
            await transfer.wait_for_room()
            try:
                async with (
                    self._hosts.turn(wanted.place, _LONGEST_HOLD_S if holds else None) as turn,
                    self._slots.one(transfer, at_once=holds),
                ):
                    if not transfer.open():
                        continue
                    with _telling(turn):
                        is_whole = await self._get(
                            Visit(self._settings, wanted, addresses, deadlines, turn, transfer)
                        )
            except NoTurnError:
                await transfer.drop()
                continue
            except NoRoomError as error:
                await transfer.expect(error.size)
                continue
            if is_whole:
                return await transfer.finish()
            assert transfer.whole is not None
            await transfer.expect(transfer.whole)

    async def _addresses(self, host: str) -> Sequence[str]:
        """Where the host may be asked: it is connected to there, whatever its name leads to then.

        Refuses a public name that leads to a machine of this network.
        """
        self._policy.check_host(host, from_local=True)
        if plain_address(host) is not None:
            return [host]
        return [address for _, address in await self._lookup.addresses(host)]


def _limits(settings: RemoteFetcher, most: int, share: float) -> Limits:
    """How much one loop may ask of a host."""
    rate, at_a_time = settings.per_host, settings.host_connections
    return Limits(
        most=min(most, max(1, int(at_a_time * share))) if at_a_time else most,
        interval_s=1 / (rate * share) if rate else 0.0,
        patience_s=settings.host_patience,
    )


@contextmanager
def _telling(turn: Turn) -> Iterator[None]:
    """Let the host's limits know how it did."""
    turn.begin()
    try:
        yield
    except BusyError as error:
        error.serves_others = turn.host.answers > 0
        turn.failed(error, None)
        raise
    except NoRoomError:
        turn.done()
        raise
    except ItemError as error:
        if error.cause in SILENT:
            turn.failed(error, None)
        else:
            turn.done()
        raise
    turn.done()


class _Tries(Struct):
    """How often a row failed, and may."""

    retries: int
    failures: int = 0
    turned_away: int = 0
    last: ItemError | None = None

    def failed(self, error: ItemError, attempt: int) -> None:
        """Raise the error that is the row's end, if this was its last attempt."""
        if isinstance(error, HostGivenUpError):  # before it was asked again
            raise _with_attempts(self.last or error, attempt - 1) from error
        self.last = _with_attempts(error, attempt)
        if isinstance(error, BusyError) and error.serves_others and self.turned_away < _TURNED_AWAY:
            self.turned_away += 1
            return
        self.failures += 1
        is_final = isinstance(error, UnresolvedError) and error.is_final
        if is_final or not error.cause.worth_retrying or self.failures > self.retries:
            raise error


def _with_attempts(error: ItemError, attempts: int) -> ItemError:
    error.attempts = attempts
    return error
