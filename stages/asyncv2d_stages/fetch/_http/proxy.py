"""Whether the proxy can be reached: if not, that is no fault of any row."""

from __future__ import annotations

import asyncio
import sys

from asyncv2d.redact import redacted
from asyncv2d.types import RunError

_REFUSED = 407
_AUTH = "authentication"


class ProxyDownError(Exception):
    """The proxy cannot be reached just now."""


class ProxyHealth:
    """Waits for a proxy that is gone for a short while, and ends the run where it stays away."""

    def __init__(self, proxy: str | None, patience_s: float) -> None:
        self._proxy = proxy
        self._patience_s = patience_s
        self._down_since: float | None = None

    def answered(self, status: int) -> None:
        """An answer came through it, or from it. Raises RunError where it refuses to serve."""
        self._down_since = None
        if self._proxy is not None and status == _REFUSED:
            raise self._refusal()

    def hear(self, error: Exception) -> None:
        """Take what a request raised.

        Raises ProxyDownError where the proxy was not reached, and RunError where it has not been
        for longer than the patience, or refuses to serve.
        """
        if self._proxy is None:
            return
        if _is_refusal(error):
            raise self._refusal() from error
        if not isinstance(error, _of_proxies()):
            return
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self._patience_s:
            raise RunError(
                f"reading.proxy: {redacted(self._proxy)} has not been reached for"
                f" {self._patience_s:g} s; what is finished is kept: run the same command again"
            ) from error
        raise ProxyDownError from error

    def _refusal(self) -> RunError:
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
