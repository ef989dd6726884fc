"""Fetches http and https URLs with aiohttp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from asyncv2d.http_args import HttpArgs
from asyncv2d.ports import Fetch, FetchContext
from asyncv2d.types import Fetched, Row
from asyncv2d_stages.fetch._http.client import open_client


class HttpFetcher(HttpArgs):
    """Downloads over HTTP: tells the truth about what came, and tries again where that may help."""

    needs: ClassVar[tuple[str, ...]] = ("aiohttp",)

    @property
    def schemes(self) -> frozenset[str]:
        """URL schemes this fetcher takes."""
        return frozenset({"http", "https"})

    @asynccontextmanager
    async def open(self, context: FetchContext) -> AsyncIterator[Fetch]:
        """Open a connection pool; the result downloads one row."""
        async with open_client(self, context) as client:

            async def fetch(row: Row) -> Fetched:
                blob, facts = await client.download(row.url)
                attempts = facts.pop("attempts")
                assert isinstance(attempts, int)
                return Fetched(row, {"video": blob}, facts, attempts)

            yield fetch
