"""Opens fetchers with the first row that needs them: most jobs need one alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint

from asyncv2d.ports import Fetch, FetchContext, Fetcher
from asyncv2d.types import Fetched, Row


@asynccontextmanager
async def on_demand(
    fetchers: Mapping[str, Fetcher], context: FetchContext
) -> AsyncIterator[Mapping[str, Fetch]]:
    """The fetchers by name; what opening one raises is raised here."""
    async with anyio.create_task_group() as tasks:
        demands = {name: _Demand(fetcher, context) for name, fetcher in fetchers.items()}
        for demand in demands.values():
            # A context is left in the task that entered it; nor is what is opened a row's affair.
            tasks.start_soon(demand.serve)
        try:
            yield {name: demand.fetch for name, demand in demands.items()}
        finally:
            for demand in demands.values():
                await demand.close()
            tasks.cancel_scope.cancel()  # those that nobody needed


class _Demand:
    def __init__(self, fetcher: Fetcher, context: FetchContext) -> None:
        self._fetcher = fetcher
        self._context = context
        self._fetch: Fetch
        self._is_open = False
        self._wanted, self._opened = anyio.Event(), anyio.Event()
        self._done, self._closed = anyio.Event(), anyio.Event()

    async def serve(self) -> None:
        """Keep the fetcher open from when it is wanted until all is done."""
        await self._wanted.wait()
        async with self._fetcher.open(self._context) as self._fetch:
            self._opened.set()
            await checkpoint()  # rows that have waited begin before others
            self._is_open = True
            await self._done.wait()
        self._closed.set()

    async def fetch(self, row: Row) -> Fetched:
        """Bring what the row names."""
        if not self._is_open:
            self._wanted.set()
            await self._opened.wait()
        return await self._fetch(row)

    async def close(self) -> None:
        """Wait until it is closed, if it was opened."""
        self._done.set()
        if self._opened.is_set():
            await self._closed.wait()
