"""Whether the proxy can be reached: if not, that is no fault of any row."""

from __future__ import annotations

import asyncio
import sys

from asyncv2d.redact import redacted
from asyncv2d.types import RunError


class ProxyDownError(Exception):
    """The proxy cannot be reached just now."""


class ProxyHealth:
    """Waits for a proxy that is gone for a short while, and ends the run where it stays away."""

    def __init__(self, proxy: str | None, patience_s: float) -> None:
        self._proxy = proxy
        self._patience_s = patience_s
        self._down_since: float | None = None

    def works(self) -> None:
        """An answer came through it."""
        self._down_since = None

    def hear(self, error: Exception) -> None:
        """Take what a request raised.

        Raises ProxyDownError where the proxy was not reached, and RunError where it has not been
        for longer than the patience.
        """
        if self._proxy is None or not isinstance(error, _of_proxies()):
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


def _of_proxies() -> tuple[type[Exception], ...]:
    import aiohttp

    socks = sys.modules.get("aiohttp_socks")  # only there where it is used
    further = () if socks is None else (socks.ProxyConnectionError,)
    return (aiohttp.ClientProxyConnectionError, *further)
