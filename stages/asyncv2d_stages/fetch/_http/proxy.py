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
_DOUBT_S = 5.0
_PAUSE_S = 1.0
_MOST_SUSPECTS = 10_000


class ProxyDownError(Exception):
    """The proxy cannot be reached just now, or may have refused to serve: try again soon."""


async def wait_for_proxy() -> None:
    """The pause after a ProxyDownError."""
    with waiting():
        await asyncio.sleep(_PAUSE_S)


class ProxyHealth:
    """Waits for a proxy that is gone for a short while, and ends the run where it stays away.

    A server may send the status with which proxies refuse, too. It is the server's own if meanwhile
    others were reached, and the proxy's if none was.
    """

    def __init__(self, proxy: str | None, patience_s: float) -> None:
        self._proxy = proxy
        self._patience_s = patience_s
        self._down_since: float | None = None
        self._is_http = proxy is not None and urlsplit(proxy).scheme in ("http", "https")
        self._served = 0
        self._last_served: str | None = None
        self._refused_since: float | None = None
        self._suspects: dict[str, int] = {}  # and how many answers had been served before

    def answered(self, status: int, asked: Target) -> None:
        """An answer came through it, or from it.

        Raises RunError where it refuses to serve, and ProxyDownError where that is not sure yet.
        """
        self._down_since = None
        # What comes through a tunnel is the server's.
        if status != _REFUSED or not self._is_http or asked.scheme != "http":
            self._served += 1
            self._last_served = asked.place
            self._refused_since = None
        elif not self._is_of_server(asked.place):
            raise ProxyDownError

    def _is_of_server(self, place: str) -> bool:
        """Whether it is a server that answers as a proxy does.

        Raises RunError if it is the proxy.
        """
        now = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = now
        if self._served > self._suspects.setdefault(place, self._served):
            return True
        if len(self._suspects) > _MOST_SUSPECTS:
            self._suspects.pop(next(iter(self._suspects)))
        if now - self._refused_since < _DOUBT_S:
            return False
        # Nothing else was asked. A proxy that served others is taken to serve still.
        refused = [other for other, served in self._suspects.items() if served == self._served]
        if self._served > 0 and refused == [place] and place != self._last_served:
            return True
        raise self.refusal()

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
