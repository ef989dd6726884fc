"""Whether the proxy can be reached: if not, that is no fault of any row.

A request that stays without an answer may be the server's fault or the proxy's. So the proxy is
asked for a name that nobody has, which it must answer itself. One that gives no answer to that may
be one that says nothing of what it cannot reach: it is asked for what it served last. Where that
stays without an answer too, and so do all that were asked meanwhile, the proxy is away: its rows
wait, and when nothing has been served for longer than the patience, the run ends. So it is with one
that says of several servers that it cannot reach them, and then of those that it served last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from msgspec import Struct

from asyncv2d.deadline import waiting
from asyncv2d.ports import FetchContext
from asyncv2d.redact import redacted
from asyncv2d.types import Cause, ItemError, RunError
from asyncv2d_stages.fetch._hosts.host import SILENT
from asyncv2d_stages.fetch._http.proxy_look import (
    ANSWERED,
    FAILED,
    REFUSED,
    ask_through,
    is_answer,
    is_refusal,
    is_unreached,
)
from asyncv2d_stages.fetch._http.proxy_record import ProxyRecord
from asyncv2d_stages.fetch._http.urls import Target

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.http import HttpFetcher

_PAUSE_S = 1.0
_REFUSES = "refuses to serve: it wants another user or password in its URL"
_NOBODY = "http://asyncv2d.invalid/"
_TIMES = 3
_MOST_OUTAGES = 3  # that a row sits through: one in more of them may be about the row itself
_LONGEST_ANSWER_S = 15.0
_SCHEMES = ("http", "https", "socks4", "socks5", "socks5h")
_DOUBTFUL = frozenset((*SILENT, Cause.DNS, Cause.TLS, Cause.TRUNCATED))


class ProxyDownError(Exception):
    """The proxy is away just now.

    ``failure`` is what that looked like to the row, ``since`` tells one outage from another.
    """

    def __init__(self, failure: ItemError, since: float) -> None:
        super().__init__()
        self.failure = failure
        self.since = since


class Outages:
    """Those that one row has to sit through."""

    def __init__(self) -> None:
        self._seen: set[float] = set()

    async def wait(self, error: ProxyDownError) -> None:
        """The pause before the next try; raises the failure of a row for which that has no end."""
        self._seen.add(error.since)
        if len(self._seen) > _MOST_OUTAGES:
            raise error.failure from None
        await wait_for_proxy()


async def wait_for_proxy() -> None:
    """The pause after a ProxyDownError."""
    with waiting():
        await asyncio.sleep(_PAUSE_S)


class _Outage(Struct):
    """When it began, and until when the proxy may have been away."""

    began: float
    until: float
    is_over: bool = False


def proxy_health(settings: HttpFetcher, context: FetchContext) -> ProxyHealth:
    """The health of the settings' proxy: one for all fetchers here that go through it."""
    key = f"proxy {settings.proxy}"
    health: ProxyHealth = context.shared.setdefault(key, ProxyHealth(settings))
    return health


class ProxyHealth:
    """Waits for a proxy that is gone for a short while, and ends the run where it stays away.

    It ends the run as well where the proxy refuses to serve. A server that sends the status with
    which proxies do that fails its own row alone.
    """

    def __init__(self, settings: HttpFetcher) -> None:
        scheme = urlsplit(settings.proxy or "").scheme
        self._settings = settings
        # Yt-dlp takes more than URLs, which cannot be asked here.
        self._is_used = scheme in _SCHEMES
        self._is_http = scheme in ("http", "https")
        wait_s = settings.answer_timeout or settings.timeout
        self._answer_s = min(wait_s, _LONGEST_ANSWER_S)
        self._outage: _Outage | None = None
        self._proved_at = -1.0
        self._record = ProxyRecord()
        self._is_mute = False
        self._looking = asyncio.Lock()
        self._looked_at = self._asked_others_at = -1.0
        self._said: int | None = None
        self._failed_at = -1.0
        self._has_waited = False

    async def answered(self, status: int, asked: Target, asked_at: float) -> None:
        """An answer came through it, or from it, to what was asked then.

        Raises RunError or ProxyDownError where it refuses to serve, or cannot.
        """
        if not self._is_used:
            return
        # What comes through a tunnel is the server's.
        if status == REFUSED and self._is_http and asked.scheme == "http":
            await self.refused(ItemError(Cause.HTTP_4XX, f"HTTP {status}", http_status=status))
            return
        if status in FAILED and self._is_http and asked.scheme == "http":
            failure = ItemError(Cause.HTTP_5XX, f"HTTP {status}", http_status=status)
            await self._failed(failure, asked.place)
        self._serves(asked_at)
        if status < 500:
            self._record.add_served(asked.origin, asked.text)
            self._has_waited = False

    def may_be_refused(self, status: object) -> bool:
        """Whether one of many proxies behind one name may have said this: worth another try."""
        return self._is_http and status == REFUSED

    async def refused(self, failure: ItemError) -> None:
        """It wants another user or password: of a pool of proxies one may.

        Raises RunError where it never did otherwise, ProxyDownError where it does so to all now.
        """
        for _ in range(_TIMES):
            if await self._look() != REFUSED:
                return
        if not self._record.served:
            raise self._end(_REFUSES) from failure
        self._missed(failure, _REFUSES)

    async def hear(
        self, error: Exception, failure: ItemError, asked_at: float, place: str | None = None
    ) -> None:
        """Take what a request of then raised, and what that is taken for; ``place`` was asked.

        Raises ProxyDownError where that is the proxy's doing, and RunError where it has been away
        for longer than the patience, or refuses to serve.
        """
        if not self._is_used:
            return
        if is_refusal(error):
            await self.refused(failure)
        elif is_answer(error):
            if place is not None:
                await self._failed(failure, place)
            self._serves(asked_at)
        elif is_unreached(error):
            self._missed(failure)
        elif failure.cause in _DOUBTFUL:
            await self._doubt(failure, asked_at)

    async def _failed(self, failure: ItemError, place: str) -> None:
        """It could not serve this server. Raises as ``hear`` does where it can serve none now.

        Where it served one alone, or never any, they may be gone: for the latter it is waited once.
        """
        record = self._record
        record.add_failed(place)
        if not record.fails or record.served == 1 or self._has_waited:
            return
        if record.served and await self._serves_some():
            record.forgive()
            return
        try:
            self._missed(failure, f"has failed for {self._patience}, at last: {failure.detail}")
        except RunError:
            if record.served:
                raise
            self._has_waited = True

    def remark(self, status: object) -> str:
        """What is to be said of a failure with this status, for which it may be to blame."""
        never_served = self._is_used and status in FAILED and not self._record.served
        return "; nothing was served through reading.proxy so far" if never_served else ""

    async def _serves_some(self) -> bool:
        """Whether any of those is served still that were served last."""
        asked_at = _now()
        with waiting():
            async with self._looking:
                if not self._record.fails or self._failed_at >= asked_at:
                    return self._failed_at < asked_at  # somebody looked meanwhile
                await self._wait_to_ask()
                began = _now()
                said = await asyncio.gather(
                    *(self._ask([url]) for url in self._record.served_files())
                )
                is_served = any(status not in (None, *FAILED) for status in said)
                self._failed_at = -1.0 if is_served else began
                return is_served

    async def _doubt(self, failure: ItemError, asked_at: float) -> None:
        said = await self._look()
        if said in (None, REFUSED):
            self._missed(failure, _REFUSES if said == REFUSED else None)
        # What was sent while it was away is lost, though it may be there again.
        if self._outage is not None and asked_at <= self._outage.until:
            raise ProxyDownError(failure, self._outage.began)

    def _serves(self, asked_at: float) -> None:
        """What was asked then is no proof that it did not go away since."""
        self._proved_at = max(self._proved_at, asked_at)
        outage = self._outage
        if outage is not None and not outage.is_over and asked_at > outage.began:
            outage.until, outage.is_over = max(outage.until, asked_at), True

    def _missed(self, failure: ItemError, problem: str | None = None) -> NoReturn:
        now = _now()
        if self._outage is None or self._outage.is_over:
            self._outage = _Outage(now, now)
        self._outage.until = now
        if now - self._outage.began > self._settings.host_patience:
            raise self._end(problem or f"has not been reached for {self._patience}") from failure
        raise ProxyDownError(failure, self._outage.began) from failure

    async def _look(self) -> int | None:
        """The status of an answer through it now; None if there is none."""
        asked_at = _now()
        with waiting():
            async with self._looking:
                if self._looked_at < asked_at:  # else somebody looked meanwhile
                    began = _now()
                    said = await self._ask_any()
                    if said is None and self._proved_at > began:  # it came back meanwhile
                        said = ANSWERED
                        self._outage = self._outage or _Outage(began, began, is_over=True)
                    # Of one that fails, a failure is no proof.
                    if said not in (None, REFUSED) and not (self._record.fails and said in FAILED):
                        self._serves(began)
                    self._looked_at, self._said = began, said
                return self._said

    async def _ask_any(self) -> int | None:
        """What the proxy says itself, or else through it those who answered last."""
        if self._is_mute and (said := await self._ask_others()) is not None:
            return said
        if (said := await self._ask([_NOBODY])) is not None:
            self._is_mute = False
            return said
        if self._is_mute or not self._record.served:
            return None
        said = await self._ask_others()
        # If it speaks now, it was away a moment ago.
        self._is_mute = said is not None and await self._ask([_NOBODY]) is None
        return said if self._is_mute else None

    async def _ask_others(self) -> int | None:
        """The same of servers, which must not be asked all the time."""
        if not self._record.served:
            return None
        await self._wait_to_ask()
        return await self._ask(self._record.small_files())

    async def _wait_to_ask(self) -> None:
        await asyncio.sleep(self._asked_others_at + _PAUSE_S - _now())
        self._asked_others_at = _now()

    async def _ask(self, urls: Iterable[str]) -> int | None:
        """The first status that comes."""
        asked = [
            asyncio.ensure_future(ask_through(self._settings, url, self._answer_s)) for url in urls
        ]
        try:
            for answer in asyncio.as_completed(asked):
                if (said := await answer) is not None:
                    return said
            return None
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    @property
    def _patience(self) -> str:
        return f"{self._settings.host_patience:g} s"

    def _end(self, problem: str) -> RunError:
        return RunError(
            f"reading.proxy: {redacted(self._settings.proxy or '')} {problem}; what is finished is"
            " kept: run the same command again"
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
