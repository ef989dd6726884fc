"""Brings the bodies of rows: by the fetcher of their URL's scheme, or out of an earlier dataset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from anyio import to_thread

from asyncv2d.config import Config
from asyncv2d.ports import Fetch, FetchContext, Fetcher, Spool
from asyncv2d.registry import load, names
from asyncv2d.types import Body, Cause, Fetched, FileSlice, ItemError, Modality, Part, Row

_VIDEO = ("mp4", "m4v", "mov", "webm", "mkv", "avi", "flv", "ts", "mpg", "mpeg", "ogv", "3gp")
_AUDIO = ("m4a", "mp3", "wav", "flac", "opus", "ogg", "oga", "aac")
_MODALITIES: Mapping[str, Modality] = {
    **dict.fromkeys(_VIDEO, "video"),
    **dict.fromkeys(_AUDIO, "audio"),
}
_CHUNK = 1 << 20


@asynccontextmanager
async def open_fetchers(
    config: Config, context: FetchContext
) -> AsyncIterator[Callable[[Row], Awaitable[Fetched]]]:
    """All fetchers; the result fetches one row by whichever it needs."""
    async with AsyncExitStack() as stack:
        by_scheme: dict[str, Fetch] = {}
        for name in names("fetch"):
            fetcher = _fetcher(name, config)
            fetch = await stack.enter_async_context(fetcher.open(context))
            by_scheme.update(dict.fromkeys(fetcher.schemes, fetch))

        async def fetch_row(row: Row) -> Fetched:
            if row.problem is not None:
                raise ItemError(Cause.BAD_ROW, row.problem)
            if row.parts is not None:
                return await _take_parts(row, row.parts, context.spool)
            return await _choose(by_scheme, row.url)(row)

        yield fetch_row


def _fetcher(name: str, config: Config) -> Fetcher:
    """The fetcher, with the keys of ``reading`` that it has too."""
    cls = load("fetch", name)
    reading = config.reading.model_dump()
    known = {key: value for key, value in reading.items() if key in cls.model_fields}
    return cast(Fetcher, cls.model_validate(known))


def _choose(by_scheme: Mapping[str, Fetch], url: str) -> Fetch:
    if not url:
        raise ItemError(Cause.BAD_URL, "the row has no URL")
    try:
        scheme = urlsplit(url).scheme.lower() if "://" in url or url.startswith("file:") else ""
    except ValueError as error:
        raise ItemError(Cause.BAD_URL, f"the URL is malformed: {error}") from None
    if scheme not in by_scheme:
        raise ItemError(Cause.BAD_URL, f"nothing here fetches {scheme}:// URLs")
    return by_scheme[scheme]


async def _take_parts(row: Row, parts: Mapping[str, Part], spool: Spool) -> Fetched:
    """The video and the sound of an earlier dataset's sample, where they lie."""
    media: dict[Modality, Body] = {}
    try:
        for extension, part in parts.items():
            modality = _MODALITIES.get(extension.rpartition(".")[2].lower())
            if modality is not None and modality not in media:
                media[modality] = await _body(part, spool)
    except OSError as error:
        for body in media.values():
            body.close()
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
    data: bytes = files.cat_file(path, start=start, end=stop)
    return data
