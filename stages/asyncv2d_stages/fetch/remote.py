"""Takes files out of S3, Google Cloud Storage, Azure, FTP, SFTP and all else fsspec reaches."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
from anyio import to_thread
from pydantic import Field

from asyncv2d.deadline import waiting
from asyncv2d.ports import BodyWriter, Fetch, FetchContext, Settings
from asyncv2d.types import Blob, Cause, Fetched, ItemError, Row
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._files.client import open_client
from asyncv2d_stages.fetch._files.visit import Visit
from asyncv2d_stages.fetch._hosts.host import SILENT
from asyncv2d_stages.fetch._hosts.safety import (
    Policy,
    PrivateAddresses,
    forbidden,
    is_local_name,
    plain_address,
)
from asyncv2d_stages.fetch._remote_causes import explaining

T = TypeVar("T")

_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos", "hf"}
)
_OTHERS = frozenset(
    {"box", "dbfs", "dropbox", "ftp", "gdrive", "hdfs", "lakefs", "memory", "root", "sftp", "smb"}
    | {"ssh"}
)
_WITH_HOST = frozenset({"hdfs", "root", "smb"})
_BY_ADDRESS = _WITH_HOST - {"hdfs", "root"}  # these two name further servers themselves
# Other fetchers' schemes; and those that lead to files of this machine, or to further URLs: lists
# of URLs come from strangers. The last two are HTTP, whose drivers follow redirects anywhere.
_NOT_OURS = frozenset(
    {"", "http", "https", "file", "local", "asynclocal", "dir", "reference", "generic", "dask"}
    | {"blockcache", "cached", "filecache", "simplecache", "async_wrapper", "asyncwrapper", "data"}
    | {"tar", "zip", "libarchive", "git", "jlab", "jupyter", "dvc", "pyscript"}
    | {"webdav", "webhdfs"}
)
_QUOTED = {"username", "password"}  # in URLs, which fsspec takes as they are
_CHUNK = 1 << 20
_BLOCK = 4 << 20
_MOST_THREADS = 64
_FTP_PORT, _SFTP_PORT = 21, 22


class RemoteFetcher(Settings):
    """Rows whose URL has one of fsspec's schemes, such as ``s3``, ``gs``, ``az``, ``hf``, ``sftp``.

    Credentials are found as each store's own tools find theirs.
    """

    timeout: float = Field(default=60, gt=0)
    """Seconds without a connection, an answer or a byte after which an attempt is given up."""
    total_timeout: float = Field(default=3600, gt=0)
    """Seconds that one attempt may take in all."""
    retries: int = Field(default=2, ge=0, le=100)
    """Further attempts after a failure that may pass."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Largest body accepted; null: no limit."""
    dns_timeout: float = Field(default=15, gt=0)
    """FTP and SFTP: seconds in which a host name has to be resolved; at most ``timeout``."""
    connect_timeout: float = Field(default=20, gt=0)
    """FTP and SFTP: seconds in which a connection has to be made; at most ``timeout``."""
    answer_timeout: float | None = Field(default=None, gt=0)
    """FTP and SFTP: seconds in which an answer has to come; null: ``timeout``."""
    stall_timeout: float | None = Field(default=None, gt=0)
    """FTP and SFTP: seconds without a byte after which a file is given up; null: ``timeout``."""
    per_host: float | None = Field(default=None, gt=0)
    """FTP and SFTP: files a second from one host; null: no fixed rate."""
    host_connections: int | None = Field(default=None, gt=0)
    """FTP and SFTP: most files at a time from one host; null: as many as it does well with."""
    host_patience: float = Field(default=60, gt=0)
    """FTP and SFTP: seconds that rows wait for a host that fails or takes no more connections."""
    private_addresses: PrivateAddresses = "auto"
    """Addresses of this network: ``auto``: only for rows that plainly name them."""

    @cached_property
    def schemes(self) -> frozenset[str]:
        """The schemes that fsspec knows by itself and by installed packages."""
        installed = {point.name for point in entry_points(group="fsspec.specs")}
        return (_OBJECT_STORES | _OTHERS | installed) - _NOT_OURS

    @asynccontextmanager
    async def open(self, context: FetchContext) -> AsyncIterator[Fetch]:
        """Drivers are made when they are needed, and keep their connections."""
        files = _Files(self, context)
        async with (
            open_client(self, context, _FTP_PORT, _get_by_ftp) as ftp,
            open_client(self, context, _SFTP_PORT, _get_by_sftp) as sftp,
        ):

            async def fetch(row: Row) -> Fetched:
                # Not by fsspec's drivers: they block, and their threads cannot be ended.
                clients = {"ftp": ftp, "sftp": sftp, "ssh": sftp}
                return await clients.get(_scheme(row.url), files).fetch(row)

            yield fetch


async def _get_by_ftp(visit: Visit) -> bool:
    # Imported here, as in the following: most jobs need neither.
    from asyncv2d_stages.fetch._ftp.get import get

    return await get(visit)


async def _get_by_sftp(visit: Visit) -> bool:
    with explaining("sftp://"):
        from asyncv2d_stages.fetch._sftp.get import get
    return await get(visit)


class _Files:
    """Reads files with drivers that block, in threads of their own."""

    def __init__(self, settings: RemoteFetcher, context: FetchContext) -> None:
        self._settings = settings
        self._spool = context.spool
        self._schemes = settings.schemes
        self._places = anyio.Semaphore(min(context.concurrency, _MOST_THREADS))
        self._threads = anyio.CapacityLimiter(math.inf)

    async def fetch(self, row: Row) -> Fetched:
        attempts = 1
        while True:
            try:
                return Fetched(row, {"video": await self._attempt(row.url)}, {}, attempts)
            except ItemError as error:
                error.attempts = attempts
                if not error.cause.worth_retrying or attempts > self._settings.retries:
                    raise
            await anyio.sleep(_backoff.seconds(attempts))
            attempts += 1

    async def _attempt(self, url: str) -> Blob:
        scheme = _scheme(url)
        if scheme not in self._schemes or _is_chained(url, scheme):
            raise ItemError(Cause.BAD_URL, "not a URL of one file in a store")
        calls = _Calls(url, self._settings, self._places, self._threads)
        async with self._spool.body() as body:
            await self._read(url, scheme, body, calls)
            return await body.finish()

    async def _addresses(self, url: str, scheme: str, calls: _Calls) -> Sequence[str | None]:
        """The addresses to try, for the name could have others by then; None: as the URL says.

        Refuses a public name that leads to a machine of this network.
        """
        if scheme not in _WITH_HOST:
            return [None]
        with explaining(url):
            host = urlsplit(url).hostname or ""
            policy = Policy(self._settings.private_addresses)
            policy.check_host(host, from_local=True)
        if plain_address(host) is not None:
            return [host if scheme in _BY_ADDRESS else None]
        found = await calls.run(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not policy.allows(host, address):
                raise forbidden(host, address)
        by_name = is_local_name(host) or scheme not in _BY_ADDRESS
        return [None] if by_name else addresses

    async def _opened(self, url: str, scheme: str, calls: _Calls) -> tuple[BinaryIO, int | None]:
        """The open file, at the first address where there is somebody."""
        *others, last = await self._addresses(url, scheme, calls)
        arguments = _client_arguments(scheme, self._settings.timeout)
        for address in others:
            try:
                return await calls.run(partial(_open, url, scheme, arguments, address))
            except ItemError as error:
                if error.cause not in SILENT:
                    raise
        return await calls.run(partial(_open, url, scheme, arguments, last))

    async def _read(self, url: str, scheme: str, body: BodyWriter, calls: _Calls) -> None:
        file, size = await self._opened(url, scheme, calls)
        try:
            if size is not None:
                self._check(size)
                if not body.fits(size):
                    await body.reserve(size)
            received = 0
            while chunk := await calls.run(partial(file.read, _CHUNK)):
                received += len(chunk)
                self._check(received)
                await body.write(chunk)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await to_thread.run_sync(file.close, abandon_on_cancel=True)
        if received == 0:
            raise ItemError(Cause.EMPTY, "the file is empty")
        if size is not None and received != size:
            raise ItemError(Cause.TRUNCATED, f"{received} bytes came of {size}")

    def _check(self, size: int) -> None:
        most = self._settings.max_bytes
        if most is not None and size > most:
            raise ItemError(Cause.TOO_LARGE, f"the body is larger than max_bytes ({most})")


class _Calls:
    """A driver's calls for one attempt, in threads. One that takes too long is left to itself.

    Waiting for a thread, or for room for what came, is none for the store: no limit counts it.
    """

    def __init__(
        self,
        url: str,
        settings: RemoteFetcher,
        places: anyio.Semaphore,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._url = url
        self._limit = settings.timeout
        self._total = self._left = settings.total_timeout
        self._places = places
        self._threads = threads

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call. Raises ItemError: stalled, timeout, or what the driver's error means."""
        with waiting(holds=True):
            await self._places.acquire()
        begin = anyio.current_time()
        try:
            return await self._within(min(self._limit, self._left), call)
        finally:
            self._left -= anyio.current_time() - begin
            self._places.release()

    async def _within(self, limit: float, call: Callable[[], T]) -> T:
        with explaining(self._url):
            with anyio.move_on_after(limit):
                return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)
            if limit < self._limit:
                raise ItemError(Cause.TIMEOUT, f"not read within total_timeout ({self._total:g} s)")
            raise ItemError(Cause.STALLED, f"no byte came for {limit:g} s")


def _open(
    url: str, scheme: str, arguments: Mapping[str, Any], address: str | None
) -> tuple[BinaryIO, int | None]:
    """The open file, at an ``address`` of its host if one is given; its size if that is known."""
    # Imported here: most jobs need none of it.
    from fsspec import get_filesystem_class
    from fsspec.core import url_to_fs

    if scheme in _BY_ADDRESS:
        kind, named = get_filesystem_class(scheme), _with_any_host(url)
        place = kind._get_kwargs_from_urls(named)
        place |= {name: unquote(place[name]) for name in _QUOTED & place.keys()}
        place["host"] = address or urlsplit(url).hostname
        files, path = kind(**place, **arguments), unquote(kind._strip_protocol(named))
    else:
        files, path = url_to_fs(url, **arguments)
    block = {"block_size": _BLOCK} if scheme in _OBJECT_STORES else {}
    file = files.open(path, "rb", **block)
    size = getattr(file, "size", None)
    return file, size if isinstance(size, int) else None


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _is_chained(url: str, scheme: str) -> bool:
    """Whether fsspec would take it for several URLs, one inside the other."""
    try:
        return "::" in (_with_any_host(url) if scheme in _BY_ADDRESS else url)
    except ValueError:  # whatever it is, it is no single one
        return True


def _with_any_host(url: str) -> str:
    """The URL as fsspec can read it, which knows no brackets around an address."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    port = "" if parts.port is None else f":{parts.port}"
    return parts._replace(netloc=f"{user}{at}host{port}").geturl()


def _client_arguments(scheme: str, timeout: float) -> dict[str, Any]:
    """Deadlines inside the driver, where it takes some: its threads cannot be ended."""
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": timeout, "read_timeout": timeout}
        return {"config_kwargs": {**limits, "retries": {"total_max_attempts": 1}}}
    return {}
