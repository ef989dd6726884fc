"""Whether the proxy can be reached: if not, that is no fault of any row."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn
from urllib.parse import urlsplit

import anyio

from asyncv2d.deadline import waiting
from asyncv2d.redact import redacted
from asyncv2d.types import RunError
from asyncv2d_stages.fetch._http.urls import Target

_REFUSED = 407
_AUTH = "authentication"
_PAUSE_S = 1.0
# A name that nobody has: what is said to a request for it, the proxy says itself.
_NOBODY = "http://asyncv2d.invalid/"
_TIMES = 3
_LONGEST_ANSWER_S = 15.0
_SOCKS_PORT = 1080


class ProxyDownError(Exception):
    """The proxy cannot be reached just now."""


async def wait_for_proxy() -> None:
    """The pause after a ProxyDownError."""
    with waiting():
        await asyncio.sleep(_PAUSE_S)


class ProxyHealth:
    """Waits for a proxy that is gone for a short while, and ends the run where it stays away.

    It ends the run as well where the proxy refuses to serve. A server that sends the status with
    which proxies do that fails its own row alone.
    """

    def __init__(self, proxy: str | None, patience_s: float, answer_s: float) -> None:
        self._proxy = proxy or None
        self._patience_s = patience_s
        self._answer_s = min(answer_s, _LONGEST_ANSWER_S)
        self._down_since: float | None = None
        self._is_http = proxy is not None and urlsplit(proxy).scheme in ("http", "https")
        self._looking = asyncio.Lock()
        self._looked_at = -1.0
        self._said: int | None = None
        self._was_silent = self._is_mute = False

    async def answered(self, status: int, asked: Target) -> None:
        """An answer came through it, or from it. Raises RunError where it refuses to serve."""
        self._down_since = None
        self._is_mute |= self._was_silent
        # What comes through a tunnel is the server's.
        may_be_its_own = status == _REFUSED and self._is_http and asked.scheme == "http"
        if may_be_its_own and await self._refuses():
            raise self.refusal()

    async def _refuses(self) -> bool:
        """Whether it does so time and again: of a pool of proxies one may."""
        for _ in range(_TIMES):
            if await self._look() != _REFUSED:
                return False
        return True

    async def hear(self, error: Exception, *, is_silence: bool) -> None:
        """Take what a request raised; ``is_silence``: no answer came, or it broke off.

        Raises ProxyDownError where that is the proxy's doing, and RunError where it has been away
        for longer than the patience, or refuses to serve.
        """
        if self._proxy is None:
            return
        if _is_refusal(error):
            raise self.refusal() from error
        if isinstance(error, _of_proxies()) or (is_silence and not await self._is_well()):
            self._missed(error)

    async def _is_well(self) -> bool:
        """Whether it answers now; of a socks proxy no more is known than that somebody is there."""
        if self._is_http:
            is_silent = await self._look() is None
            # One that serves others and says nothing itself cannot be told from one that is gone.
            self._was_silent = is_silent
            return self._is_mute or not is_silent
        proxy = urlsplit(self._proxy or "")
        if proxy.hostname is None:  # yt-dlp takes more than URLs
            return True
        try:
            with anyio.fail_after(self._answer_s):
                stream = await anyio.connect_tcp(proxy.hostname, proxy.port or _SOCKS_PORT)
        except (OSError, TimeoutError):
            return False
        await stream.aclose()
        return True

    def _missed(self, error: Exception) -> NoReturn:
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self._patience_s:
            raise RunError(
                f"reading.proxy: {redacted(self._proxy or '')} has not been reached for"
                f" {self._patience_s:g} s; what is finished is kept: run the same command again"
            ) from error
        raise ProxyDownError from error

    async def _look(self) -> int | None:
        """The status with which it answers what only it can answer; None if it does not."""
        asked_at = asyncio.get_running_loop().time()
        async with self._looking:
            if self._looked_at < asked_at:  # else somebody asked meanwhile
                self._looked_at = asyncio.get_running_loop().time()
                self._said = await self._ask()
            return self._said

    async def _ask(self) -> int | None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._answer_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(_NOBODY, proxy=self._proxy, allow_redirects=False) as response,
            ):
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    def refusal(self) -> RunError:
        """The end of a run whose proxy refuses to serve."""
        return RunError(
            f"reading.proxy: {redacted(self._proxy or '')} refuses to serve: it wants another user"
            " or password in its URL; what is finished is kept: run the same command again"
        )


def _is_refusal(error: Exception) -> bool:
    """Whether the proxy wants other credentials, which is no fault of any row."""
    import aiohttp

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status == _REFUSED
    socks = sys.modules.get("aiohttp_socks")
    # Its errors have no codes.
    return socks is not None and isinstance(error, socks.ProxyError) and _AUTH in str(error).lower()


def _of_proxies() -> tuple[type[Exception], ...]:
    import aiohttp

    socks = sys.modules.get("aiohttp_socks")  # only there where it is used
    further = () if socks is None else (socks.ProxyConnectionError,)
    return (aiohttp.ClientProxyConnectionError, *further)
