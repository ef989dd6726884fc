"""Takes files of this machine where they lie, without copying them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from anyio import to_thread

from asyncv2d.ports import Fetch, FetchContext, Settings
from asyncv2d.types import Cause, Fetched, ItemError, LocalFile, Row


class FilesystemFetcher(Settings):
    """Rows whose URL is a path (absolute, or relative to where the run starts) or ``file:``."""

    @property
    def schemes(self) -> frozenset[str]:
        """URL schemes this fetcher takes; the empty one is a plain path."""
        return frozenset({"", "file"})

    @asynccontextmanager
    async def open(self, context: FetchContext) -> AsyncIterator[Fetch]:
        """Nothing to open; the result looks at one file."""
        yield _look_at


async def _look_at(row: Row) -> Fetched:
    path = Path(unquote(urlsplit(row.url).path) if row.url.startswith("file:") else row.url)
    try:
        is_file = await to_thread.run_sync(path.is_file)
    except (OSError, ValueError) as error:
        raise ItemError(Cause.BAD_URL, f"not a usable path: {error}") from error
    if not is_file:
        raise ItemError(Cause.NOT_FOUND, f"no such file: {path}")
    return Fetched(row, {"video": LocalFile(path)})
