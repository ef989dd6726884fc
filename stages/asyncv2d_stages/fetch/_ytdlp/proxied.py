"""Whether it was the proxy that failed, and not the site: yt-dlp tells them apart badly."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.proxy import ProxyHealth
from asyncv2d_stages.fetch._http.urls import Target

_MAY_BE_ITS = (Cause.CONNECT, Cause.DNS, Cause.TIMEOUT, Cause.STALLED)
_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080


class PagesProxy:
    """Looks at the proxy, if there is one, after failures that may be its own."""

    def __init__(self, proxy: str | None, patience_s: float, connect_s: float) -> None:
        self._proxy = None if proxy is None else urlsplit(proxy)
        self._health = ProxyHealth(proxy, patience_s, connect_s)
        self._connect_s = connect_s

    async def served(self, asked: Target) -> None:
        """Something came through it."""
        await self._health.answered(200, asked)

    async def judge(self, error: ItemError, asked: Target) -> None:
        """Return where the failure is the row's.

        Raises ProxyDownError where the row is to be tried again for the proxy's sake, and RunError
        where the proxy refuses to serve, or is away for too long.
        """
        if self._proxy is None:
            return
        if error.facts.get("proxy_refused"):
            raise self._health.refusal() from error
        if (status := error.facts.get("http_status")) is not None:
            await self._health.answered(status, asked)
        elif error.cause in _MAY_BE_ITS and not await self._is_there():
            self._health.missed(error)

    async def _is_there(self) -> bool:
        assert self._proxy is not None
        port = self._proxy.port or _PORTS.get(self._proxy.scheme, _SOCKS_PORT)
        try:
            with anyio.fail_after(self._connect_s):
                stream = await anyio.connect_tcp(self._proxy.hostname or "", port)
        except (OSError, TimeoutError):
            return False
        await stream.aclose()
        return True
