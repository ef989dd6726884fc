"""Fetches http and https URLs with aiohttp."""

from __future__ import annotations

import errno
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio
from pydantic import Field

from asyncv2d.ports import BodyWriter, Fetch, FetchContext, Settings
from asyncv2d.types import Blob, Cause, Fetched, ItemError, Row, RunError

if TYPE_CHECKING:
    import aiohttp

_CHUNK = 1 << 16
_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 20.0
_MAX_REDIRECTS = 10
_TOO_MANY_FILES = (
    "too many open files for so many downloads at a time: raise the limit (ulimit -n), or lower"
    " distribution.thread_count"
)
_HTML_MARKS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<script")


class HttpFetcher(Settings):
    """Downloads over HTTP: tells the truth about what came, and tries again where that may help."""

    timeout: float = Field(default=60, gt=0)
    """Seconds without a connection, an answer or a byte after which an attempt is given up."""
    total_timeout: float = Field(default=3600, gt=0)
    """Seconds that one attempt may take in all."""
    retries: int = Field(default=2, ge=0, le=100)
    """Further attempts after a failure that may pass (timeouts, 429, 5xx, broken transfers)."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Largest body accepted; null: no limit."""

    @property
    def schemes(self) -> frozenset[str]:
        """URL schemes this fetcher takes."""
        return frozenset({"http", "https"})

    @asynccontextmanager
    async def open(self, context: FetchContext) -> AsyncIterator[Fetch]:
        """Open a connection pool; the result downloads one row."""
        # Imported here: only the process that downloads needs aiohttp, which takes 0.3 s.
        import aiohttp

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=context.concurrency, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(
                total=self.total_timeout, sock_connect=self.timeout, sock_read=self.timeout
            ),
            headers={"User-Agent": f"asyncv2d/{version('asyncv2d')}"},
        ) as session:
            yield _Downloads(self, session, context).fetch


class _Downloads:
    def __init__(
        self, settings: HttpFetcher, session: aiohttp.ClientSession, context: FetchContext
    ) -> None:
        self._settings = settings
        self._session = session
        self._spool = context.spool

    async def fetch(self, row: Row) -> Fetched:
        attempts = 1
        while True:
            try:
                blob, info = await self._attempt(row.url)
            except ItemError as error:
                error.attempts = attempts
                if not error.cause.worth_retrying or attempts > self._settings.retries:
                    raise
            else:
                return Fetched(row, {"video": blob}, info, attempts)
            await anyio.sleep(_backoff(attempts))
            attempts += 1

    async def _attempt(self, url: str) -> tuple[Blob, dict[str, object]]:
        import aiohttp

        progress = _Progress()
        try:
            async with self._spool.body() as body:
                while (size := await self._ask(url, body, progress)) is not None:
                    await body.reserve(size)
                return await body.finish(), {"http_status": progress.status}
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, ValueError, OSError) as error:
            if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):  # not the row's fault
                raise RunError(_TOO_MANY_FILES) from error
            raise _explained(error, progress) from error

    async def _ask(self, url: str, body: BodyWriter, progress: _Progress) -> int | None:
        """Receive the body; or its size, if there is no room for that now."""
        progress.status = None
        async with self._session.get(url, max_redirects=_MAX_REDIRECTS) as response:
            progress.status = response.status
            _check_answer(response)
            size = _announced_size(response)
            _check_size(size or 0, self._settings.max_bytes)
            if size is not None and not body.fits(size):
                return size
            await self._receive(response, body, progress)
        return None

    async def _receive(
        self, response: aiohttp.ClientResponse, body: BodyWriter, progress: _Progress
    ) -> None:
        async for chunk in response.content.iter_chunked(_CHUNK):
            if progress.received == 0:
                _check_start(chunk)
            progress.received += len(chunk)
            _check_size(progress.received, self._settings.max_bytes)
            await body.write(chunk)
        if progress.received == 0:
            raise ItemError(Cause.EMPTY, "the server sent an empty body", http_status=200)


class _Progress:
    """How far an attempt came, to tell what a timeout means."""

    status: int | None = None
    received = 0


def _backoff(attempts: int) -> float:
    """Seconds to wait: doubling, with jitter so that rows of one host do not come back at once."""
    longest = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (attempts - 1))
    return random.uniform(longest / 2, longest)


def _announced_size(response: aiohttp.ClientResponse) -> int | None:
    """The body's length, unless the transfer is compressed: then it is that of what is sent."""
    return None if "Content-Encoding" in response.headers else response.content_length


def _check_answer(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status >= 300:
        raise ItemError(
            _status_cause(status), f"HTTP {status} {response.reason}", http_status=status
        )
    kind = response.content_type
    if status == 204:
        raise ItemError(Cause.EMPTY, "HTTP 204: no content", http_status=status)
    if kind in ("text/html", "application/xhtml+xml"):
        raise ItemError(Cause.NOT_MEDIA, f"the server sent {kind}, a web page", http_status=status)


def _status_cause(status: int) -> Cause:
    known = {
        403: Cause.HTTP_403,
        404: Cause.HTTP_404,
        410: Cause.HTTP_404,
        408: Cause.TIMEOUT,
        429: Cause.HTTP_429,
    }
    if status in known:
        return known[status]
    if status >= 500:
        return Cause.HTTP_5XX
    return Cause.HTTP_4XX if status >= 400 else Cause.REDIRECTS


def _check_start(chunk: bytes) -> None:
    start = chunk[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_HTML_MARKS):
        raise ItemError(Cause.NOT_MEDIA, "the body is a web page", http_status=200)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise ItemError(Cause.TOO_LARGE, f"the body is larger than max_bytes ({limit})")


def _explained(error: Exception, progress: _Progress) -> ItemError:
    """The cause behind what aiohttp raised."""
    import aiohttp

    text = str(error) or type(error).__name__
    status = progress.status
    causes: list[tuple[type[Exception] | tuple[type[Exception], ...], Cause]] = [
        (aiohttp.InvalidURL, Cause.BAD_URL),
        (aiohttp.TooManyRedirects, Cause.REDIRECTS),
        ((aiohttp.ClientSSLError, ssl.SSLError), Cause.TLS),
        (aiohttp.ClientConnectorDNSError, Cause.DNS),
        ((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError), _broken(progress)),
        # aiohttp has a class of its own for "no byte in time"; a plain one is the total time.
        (
            aiohttp.ServerTimeoutError,
            Cause.STALLED if progress.status is not None else Cause.TIMEOUT,
        ),
        (TimeoutError, Cause.TIMEOUT),
        (aiohttp.ClientResponseError, Cause.CONNECT),
        ((aiohttp.ClientError, OSError), _broken(progress)),
        (ValueError, Cause.BAD_URL),
    ]
    for kinds, cause in causes:
        if isinstance(error, kinds):
            return ItemError(cause, text, http_status=status)
    return ItemError(Cause.CONNECT, text, http_status=status)


def _broken(progress: _Progress) -> Cause:
    """A connection that broke after the answer began left the body cut off."""
    return Cause.TRUNCATED if progress.status is not None else Cause.CONNECT
