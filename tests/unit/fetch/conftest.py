"""A client to download with, and names for this machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncv2d.budget import ByteBudget
from asyncv2d.ports import FetchContext
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Fetched, ItemError, Row
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._hosts import dns
from asyncv2d_stages.fetch._http import client as http_client
from asyncv2d_stages.fetch.http import HttpFetcher
from asyncv2d_stages.fetch.remote import RemoteFetcher

QUICK: Mapping[str, Any] = {"timeout": 10, "total_timeout": 20, "retries": 2}
_DEADLINE_S = 60


class Downloads:
    """Short ways to download, which check that nothing is left behind."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(
            SpoolFolders(folder, folder, 1 << 30), ByteBudget(1 << 30), ByteBudget(1 << 30)
        )

    @asynccontextmanager
    async def client(
        self, concurrency: int = 4, **settings: Any
    ) -> AsyncIterator[http_client.Client]:
        """An open client."""
        fetcher = HttpFetcher.model_validate({**QUICK, **settings})
        with anyio.fail_after(_DEADLINE_S):
            async with http_client.open_client(
                fetcher, FetchContext(self.spool, concurrency)
            ) as client:
                yield client
        assert self.spool.budget.used == self.spool.disk.used == 0
        assert not self.files()

    def files(self) -> list[Path]:
        """What lies in the spool's folder."""
        return list(self.spool.folders.fast.iterdir())

    async def one(self, url: str, **settings: Any) -> tuple[bytes, dict[str, object]]:
        """Download one body."""
        async with self.client(**settings) as client:
            blob, facts = await client.download(url)
            data = blob.read()
            blob.close()
        return data, facts

    async def failure(self, url: str, **settings: Any) -> ItemError:
        """A download that must fail."""
        async with self.client(**settings) as client:
            with pytest.raises(ItemError) as caught:
                await client.download(url)
        return caught.value

    async def remote(self, urls: Sequence[str], **settings: Any) -> list[Fetched]:
        """Fetch the files of other stores, all at a time."""
        fetcher = RemoteFetcher.model_validate({"retries": 0, **settings})
        found: list[Fetched] = []

        async def get(url: str) -> None:
            found.append(await fetch(Row(0, "0", url)))

        with anyio.fail_after(_DEADLINE_S):
            async with (
                fetcher.open(FetchContext(self.spool, 64)) as fetch,
                anyio.create_task_group() as tasks,
            ):
                for url in urls:
                    tasks.start_soon(get, url)
        return found


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    """Short ways to download."""
    return Downloads(tmp_path)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A spool to which all is given back in the end."""
    folders = SpoolFolders(tmp_path, tmp_path, 1 << 30)
    spool = Spool(folders, ByteBudget(1 << 30), ByteBudget(1 << 30))
    yield spool
    assert spool.budget.used == spool.disk.used == 0
    assert not list(folders.large.iterdir())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(_backoff, "FIRST_S", 0.0)
    monkeypatch.setattr(dns, "_PAUSE_S", 0.0)


Names = dict[str, list[str] | OSError]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Host names and their addresses, or the error of looking them up; other names are unknown."""
    known: Names = {}

    def look_up(host: str, family: Any) -> Any:
        found = known.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if isinstance(found, OSError):
            raise found
        family = socket.AF_INET
        return tuple((family, address) for address in found)

    monkeypatch.setattr(dns, "_getaddrinfo", look_up)
    return known
