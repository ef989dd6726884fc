"""Downloads bodies over HTTP: politely, safely, and again where that may help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from asyncv2d.deadline import waiting
from asyncv2d.ports import FetchContext
from asyncv2d.redact import redacted
from asyncv2d.types import Blob, Cause, ItemError
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._hosts.dns import UnresolvedError, open_lookup
from asyncv2d_stages.fetch._hosts.host import HostGivenUpError, Limits
from asyncv2d_stages.fetch._hosts.limits import Hosts, NoTurnError
from asyncv2d_stages.fetch._hosts.safety import Policy, is_local
from asyncv2d_stages.fetch._hosts.slots import Slots
from asyncv2d_stages.fetch._hosts.way import Way
from asyncv2d_stages.fetch._http.consent import product_token
from asyncv2d_stages.fetch._http.cookies import Cookies, read_cookies
from asyncv2d_stages.fetch._http.exchange import Call, Exchange
from asyncv2d_stages.fetch._http.proxy import Outages, ProxyDownError, ProxyHealth, proxy_health
from asyncv2d_stages.fetch._http.robots import Robots
from asyncv2d_stages.fetch._http.session import family, open_session, proxy_host, user_agent
from asyncv2d_stages.fetch._http.small import SmallFiles
from asyncv2d_stages.fetch._http.transfer import NoRoomError, Transfer
from asyncv2d_stages.fetch._http.urls import Target, target

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.http import HttpFetcher

_LONGEST_HOLD_S = 10.0  # that a part of a body is kept while its row waits


@asynccontextmanager
async def open_client(settings: HttpFetcher, context: FetchContext) -> AsyncIterator[Client]:
    """Open connections. Raises UserError where a setting needs what is not there."""
    policy = Policy(settings.private_addresses)
    dns_s = min(settings.dns_timeout, settings.timeout)
    hosts = Hosts(limits(settings, context), context.pauses.tell)
    async with (
        open_lookup(policy, dns_s, family(settings), proxy_host(settings)) as lookup,
        open_session(settings, lookup, hosts) as session,
    ):
        context.pauses.listen(hosts.pause)
        slots = Slots(context.concurrency)
        proxy = proxy_health(settings, context)
        exchange = Exchange(settings, session, hosts, proxy, context.concurrency)
        way = Way(policy, None if settings.proxy else lookup)
        robots = None
        if settings.respect_robots_txt:
            small = SmallFiles(settings, session, hosts, slots, way, proxy)
            robots = Robots(product_token(user_agent(settings)), small.read)
        try:
            yield Client(settings, context, exchange, hosts, slots, way, robots, proxy)
        finally:
            if robots is not None:
                await robots.close()


def limits(settings: HttpFetcher, context: FetchContext) -> Limits:
    """How much one loop may ask of a host."""
    most, rate = settings.host_connections or context.concurrency, settings.per_host
    if settings.host_connections:
        most = max(1, int(most * context.share))
    return Limits(
        most=min(most, context.concurrency),
        interval_s=1 / (rate * context.share) if rate else 0.0,
        patience_s=settings.host_patience,
    )


class Client:
    """An open client: ``download`` brings one body."""

    def __init__(
        self,
        settings: HttpFetcher,
        context: FetchContext,
        exchange: Exchange,
        hosts: Hosts,
        slots: Slots,
        way: Way,
        robots: Robots | None,
        proxy: ProxyHealth,
    ) -> None:
        self._settings = settings
        self._spool = context.spool
        self._share = context.share
        self._exchange = exchange
        self._hosts = hosts
        self._slots = slots
        self._way = way
        self._robots = robots
        self._proxy = proxy
        self._own_cookies = read_cookies(settings.cookies)

    async def download(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        from_local: bool = True,
        more_to_come: bool = False,
    ) -> tuple[Blob, dict[str, object]]:
        """The body of ``url``, and what was learnt: status, type, attempts, the URL it came from.

        ``from_local``: a row names it, or a page of this network does. ``more_to_come``: its row
        needs a further body. Raises ItemError, with the number of attempts.
        """
        first = Call(target(url), headers or {}, Cookies(self._own_cookies))
        last: ItemError | None = None
        failures = 0
        async with Transfer(self._spool, self._settings.max_bytes, more_to_come) as transfer:
            for attempt in count(1):
                before = transfer.received
                try:
                    blob, facts = await self._attempt(first, transfer, from_local=from_local)
                except HostGivenUpError as error:
                    raise _with_attempts(last or error, attempt - 1) from error
                except ItemError as error:
                    last = _with_attempts(error, attempt)
                    failures += not transfer.came_on_since(before)
                    if self._is_over(error, failures):
                        raise
                else:
                    return blob, {**facts, "attempts": attempt}
                await transfer.keep_if_resumable()
                await self._back_off(max(1, failures), transfer, _asked_s(last))
        raise AssertionError("it ends with a body or an error")

    async def check_robots(self, url: str, *, from_local: bool = True) -> None:
        """Raise ItemError (opted_out) where a host that others ask does not allow ``url``."""
        if self._robots is not None:
            wanted = target(url)
            await self._way.check(wanted, from_local=from_local)
            await self._ask_robots(wanted)

    def _is_over(self, error: ItemError, failures: int) -> bool:
        """Whether this attempt was the last; so is one whose server asks to wait for long."""
        is_too_long = _asked_s(error) > self._settings.host_patience
        return is_too_long or failures > self._settings.retries or not self._may_pass(error)

    def _may_pass(self, error: ItemError) -> bool:
        if isinstance(error, UnresolvedError) and error.is_final:
            return False
        status = error.facts.get("http_status")
        return error.cause.worth_retrying or self._proxy.may_be_refused(status)

    async def _back_off(self, attempts: int, transfer: Transfer, asked_s: float) -> None:
        """Wait before the next attempt, and for as long as the server asks to."""
        if max(_backoff.longest(attempts), asked_s) > _LONGEST_HOLD_S:
            await transfer.drop()
        with waiting():
            await asyncio.sleep(max(asked_s, _backoff.seconds(attempts)))

    async def _attempt(
        self, call: Call, transfer: Transfer, *, from_local: bool
    ) -> tuple[Blob, dict[str, object]]:
        """Follow the redirects from ``call`` to the body."""
        first = call
        transfer.took_s = 0.0
        try:
            for _ in range(self._settings.max_redirects):
                await self._way.check(call.target, from_local=from_local)
                from_local = from_local and is_local(call.target.host)
                await self._ask_robots(call.target)
                following = await self._visit(call, transfer)
                if following is None:
                    return await transfer.finish(), _facts(first, call, transfer)
                call = call.redirected(following)
            detail = f"redirected {self._settings.max_redirects} times"
            raise ItemError(Cause.REDIRECTS, detail, http_status=transfer.status)
        except ItemError as error:
            if call is not first:
                error.facts.setdefault("final_url", redacted(call.target.text))
            raise

    async def _ask_robots(self, wanted: Target) -> None:
        if self._robots is not None:
            delay_s = await self._robots.check(wanted)
            if delay_s:
                self._hosts.slow_down(wanted.place, delay_s / self._share)

    async def _visit(self, call: Call, transfer: Transfer) -> Target | None:
        """Make the request when it is its turn, and again when there is room for its body."""
        outages = Outages()
        while True:
            # What holds a part of a body gives its room back if its turn does not come soon.
            holds = transfer.body is not None
            await transfer.wait_for_room()
            try:
                async with (
                    self._hosts.turn(call.target.place, _LONGEST_HOLD_S if holds else None) as turn,
                    self._slots.one(transfer, at_once=holds),
                ):
                    if not transfer.open():
                        continue
                    return await self._exchange.ask(call, transfer, turn)
            except NoTurnError:
                await transfer.drop()
            except NoRoomError as error:
                await transfer.expect(error.size)
            except ProxyDownError as error:
                await outages.wait(error)


def _asked_s(error: ItemError) -> float:
    """Seconds that the server asks to wait."""
    return error.facts.get("retry_after_s") or 0.0


def _with_attempts(error: ItemError, attempts: int) -> ItemError:
    error.attempts = attempts
    return error


def _facts(first: Call, last: Call, transfer: Transfer) -> dict[str, object]:
    facts: dict[str, object] = {
        "http_status": transfer.status,
        "content_type": transfer.content_type,
    }
    if last is not first:
        facts["final_url"] = redacted(last.target.text)
    return facts
