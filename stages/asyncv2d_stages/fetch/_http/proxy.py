"""Whether the proxy can be reached: if not, that is no fault of any row."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn
from urllib.parse import urlsplit

from asyncv2d.deadline import waiting
from asyncv2d.redact import redacted
from asyncv2d.types import RunError
from asyncv2d_stages.fetch._http.urls import Target

_REFUSED = 407
_AUTH = "authentication"
_PAUSE_S = 1.0
# A name that nobody has: what is said to a request for it, the proxy says itself.
_NOBODY = "http://asyncv2d.invalid/"
_LOOK_AGAIN_S = 10.0


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
        self._proxy = proxy
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._down_since: float | None = None
        self._is_http = proxy is not None and urlsplit(proxy).scheme in ("http", "https")
        self._served_at = -_LOOK_AGAIN_S
        self._looking = asyncio.Lock()

    async def answered(self, status: int, asked: Target) -> None:
        """An answer came through it, or from it. Raises RunError where it refuses to serve."""
        self._down_since = None
        # What comes through a tunnel is the server's.
        is_open = status == _REFUSED and self._is_http and asked.scheme == "http"
        if is_open and await self._refuses():
            raise self.refusal()

    async def _refuses(self) -> bool:
        """Ask it for what only it can answer; not again for a while after it served."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._served_at < _LOOK_AGAIN_S:
                return False
            if await self._status() == _REFUSED:
                return True
            self._served_at = now
            return False

    async def _status(self) -> int | None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._answer_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(_NOBODY, proxy=self._proxy, allow_redirects=False) as response,
            ):
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None  # it did not refuse

    def hear(self, error: Exception) -> None:
        """Take what a request raised.

        Raises ProxyDownError where the proxy was not reached, and RunError where it has not been
        for longer than the patience, or refuses to serve.
        """
        if self._proxy is None:
            return
        if _is_refusal(error):
            raise self.refusal() from error
        if isinstance(error, _of_proxies()):
            self.missed(error)

    def missed(self, error: Exception) -> NoReturn:
        """It was not reached. Raises ProxyDownError, and RunError beyond the patience."""
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self._patience_s:
            raise RunError(
                f"reading.proxy: {redacted(self._proxy or '')} has not been reached for"
                f" {self._patience_s:g} s; what is finished is kept: run the same command again"
            ) from error
        raise ProxyDownError from error

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
