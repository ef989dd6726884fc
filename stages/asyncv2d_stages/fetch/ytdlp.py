"""Brings videos of web pages, with yt-dlp in processes of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncv2d.ports import Fetch, FetchContext
from asyncv2d.types import Cause, Fetched, ItemError, Row
from asyncv2d.yt_args import YtArgs
from asyncv2d_stages.fetch._ytdlp.claims import is_installed, is_manifest, site_of
from asyncv2d_stages.fetch.http import HttpFetcher

_NOT_INSTALLED = "videos of web pages need yt-dlp: pip install 'asyncv2d[ytdlp]'"


class YtdlpFetcher(HttpFetcher):
    """Rows whose URL is a page that shows a video: video, sound, metadata and subtitles."""

    yt_args: YtArgs | None = None
    """What to take, and how hard to ask."""

    def claims(self, url: str) -> bool:
        """Whether yt-dlp has an extractor for this very site."""
        return is_manifest(url) or site_of(url) is not None

    @asynccontextmanager
    async def open(self, context: FetchContext) -> AsyncIterator[Fetch]:
        """Get ready; the result brings the video of one page."""
        if not is_installed():
            yield _refuse
            return
        from asyncv2d_stages.fetch._ytdlp.pages import open_pages  # most jobs have no pages

        async with open_pages(self, self.yt_args or YtArgs(), context) as pages:
            yield pages.fetch


async def _refuse(_: Row) -> Fetched:
    raise ItemError(Cause.NOT_INSTALLED, _NOT_INSTALLED)
