"""Brings the bodies of rows: by the fetcher of their URL, or out of an earlier dataset."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack, cast
from urllib.parse import urlsplit

from anyio import to_thread
from msgspec.structs import replace

from asyncv2d.config import Config
from asyncv2d.on_demand import on_demand
from asyncv2d.ports import Fetch, FetchContext, Fetcher, PageFetcher, Spool, Workers
from asyncv2d.registry import load, names
from asyncv2d.remote_errors import in_clear_words
from asyncv2d.spool import Spool as RealSpool
from asyncv2d.spool_file import spool_folder
from asyncv2d.types import Body, Cause, Fetched, FileSlice, ItemError, Modality, Part, Row
from asyncv2d.workers import WorkerDiedError, WorkerPool, open_pool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_VIDEO = ("mp4", "m4v", "mov", "webm", "mkv", "avi", "flv", "ts", "mpg", "mpeg", "ogv", "3gp")
_AUDIO = ("m4a", "mp3", "wav", "flac", "opus", "ogg", "oga", "aac")
_MODALITIES: Mapping[str, Modality] = {
    **dict.fromkeys(_VIDEO, "video"),
    **dict.fromkeys(_AUDIO, "audio"),
}
_CHUNK = 1 << 20
# What begins like this is not the path of a file, though no // follows.
_NO_PATH = re.compile(r"(?i)(file|https?|ftp|data|blob|javascript|about|mailto|magnet|urn):")


@asynccontextmanager
async def open_fetchers(
    config: Config, context: FetchContext
) -> AsyncIterator[Callable[[Row], Awaitable[Fetched]]]:
    """All fetchers; the result fetches one row by whichever it needs."""
    fetchers = {name: _fetcher(name, config) for name in names("fetch")}
    async with on_demand(fetchers, equipped(context)) as opened:
        routes = _Routes(fetchers, opened, config.reading.fetcher)

        async def fetch_row(row: Row) -> Fetched:
            if row.problem is not None:
                raise ItemError(Cause.BAD_ROW, row.problem)
            if row.parts is not None:
                return await _take_parts(row, row.parts, context.spool)
            return await routes.fetch(row)

        yield fetch_row


def equipped(context: FetchContext) -> FetchContext:
    """The context with what the engine lends to fetchers."""
    assert isinstance(context.spool, RealSpool)
    folder = partial(spool_folder, context.spool)
    return replace(context, folder=folder, workers=_open_workers)


@asynccontextmanager
async def _open_workers(size: int, warm_up: Callable[[], object]) -> AsyncIterator[Workers]:
    async with open_pool(size, warm_up) as pool:
        yield _FetchWorkers(pool)


class _FetchWorkers:
    """A pool whose deaths are failures of the row."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    async def run(
        self, function: Callable[[Unpack[Ts]], T], *args: *Ts, timeout_s: float = math.inf
    ) -> T:
        """Call ``function`` in a worker."""
        try:
            return await self._pool.run(function, *args, timeout_s=timeout_s)
        except WorkerDiedError as error:
            raise ItemError(Cause.WORKER_DIED, str(error)) from error


def _fetcher(name: str, config: Config) -> Fetcher:
    """The fetcher, with the keys of ``reading`` that it has too."""
    cls = load("fetch", name)
    reading = config.reading.model_dump()
    known = {key: value for key, value in reading.items() if key in cls.model_fields}
    return cast(Fetcher, cls.model_validate(known))


class _Routes:
    """Which fetcher gets which row: by its scheme, by what its URL says, by what came.

    ``chosen`` names the fetcher that takes all URLs it can, or is ``auto``.
    """

    def __init__(
        self, fetchers: Mapping[str, Fetcher], opened: Mapping[str, Fetch], chosen: str
    ) -> None:
        self._by_scheme: dict[str, Fetch] = {}
        self._pages: dict[str, tuple[PageFetcher, Fetch]] = {}
        for name, fetcher in fetchers.items():
            if isinstance(fetcher, PageFetcher):
                route = fetcher, opened[name]
                self._pages.update(dict.fromkeys(fetcher.schemes, route))
            else:
                self._by_scheme.update(dict.fromkeys(fetcher.schemes, opened[name]))
        if chosen != "auto":
            schemes = fetchers[chosen].schemes
            self._pages = {
                scheme: page for scheme, page in self._pages.items() if scheme not in schemes
            }
            self._by_scheme.update(dict.fromkeys(schemes, opened[chosen]))

    async def fetch(self, row: Row) -> Fetched:
        scheme = _scheme(row.url)
        if scheme not in self._by_scheme:
            raise ItemError(Cause.BAD_URL, f"nothing here fetches {scheme}:// URLs")
        fetch = self._by_scheme[scheme]
        if scheme not in self._pages:
            return await fetch(row)
        pages, fetch_page = self._pages[scheme]
        is_link = _is_media_link(row.url)
        if not is_link and await _claims(pages, row.url):
            return await fetch_page(row)
        try:
            return await fetch(row)
        except ItemError as error:
            # A media link that leads to a page is a dead one, but for sites that name pages so.
            is_page = error.facts.pop("is_page", False)
            if not is_page or (is_link and not await _claims(pages, row.url)):
                raise
            page = error
        try:
            return await fetch_page(row)
        except ItemError as error:
            raise _of_both(page, error) from None


async def _claims(pages: PageFetcher, url: str) -> bool:
    return await to_thread.run_sync(pages.claims, url)


def _of_both(page: ItemError, error: ItemError) -> ItemError:
    """A page was there, and then no video in it; that its host has no address is no news either."""
    if error.cause in (Cause.NOT_MEDIA, Cause.DNS):
        error.cause = page.cause
        error.detail = f"{page.detail}; {error.detail}"
        error.facts = {**page.facts, **error.facts}
    return error


def _scheme(url: str) -> str:
    """The scheme of ``url``; none for a plain path. Raises ItemError (bad_url)."""
    if not url:
        raise ItemError(Cause.BAD_URL, "the row has no URL")
    try:
        return urlsplit(url).scheme.lower() if "://" in url or _NO_PATH.match(url) else ""
    except ValueError as error:
        raise ItemError(Cause.BAD_URL, f"the URL is malformed: {error}") from None


def _is_media_link(url: str) -> bool:
    """Whether the URL says by its end that it is a media file, whoever's it is.

    A wiki's page about a file is called ``File:NAME``.
    """
    name = urlsplit(url).path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() in _MODALITIES and ":" not in name


async def _take_parts(row: Row, parts: Mapping[str, Part], spool: Spool) -> Fetched:
    """The video and the sound of an earlier dataset's sample, where they lie."""
    media: dict[Modality, Body] = {}
    try:
        for extension, part in parts.items():
            modality = _MODALITIES.get(extension.rpartition(".")[2].lower())
            if modality is not None and modality not in media:
                media[modality] = await _body(part, spool)
    except BaseException as error:
        for body in media.values():
            body.close()
        if not isinstance(error, OSError):
            raise
        raise ItemError(Cause.NOT_FOUND, f"the earlier dataset cannot be read: {error}") from error
    return Fetched(row, media)


async def _body(part: Part, spool: Spool) -> Body:
    if "://" not in part.source:
        return FileSlice(Path(part.source), part.start, part.size)
    async with spool.body() as body:
        if not body.fits(part.size):
            await body.reserve(part.size)
        for start in range(part.start, part.start + part.size, _CHUNK):
            stop = min(start + _CHUNK, part.start + part.size)
            await body.write(await to_thread.run_sync(_read_remote, part.source, start, stop))
        return await body.finish()


def _read_remote(source: str, start: int, stop: int) -> bytes:
    import fsspec

    files, path = fsspec.core.url_to_fs(source)
    with in_clear_words(lambda: source):
        data: bytes = files.cat_file(path, start=start, end=stop)
    return data
