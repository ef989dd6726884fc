"""The real yt-dlp, and several segments of a video that are bad at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from tests.unit.fetch.test_ytdlp_site import LOW, Site, frames, outcomes, write_segments

pytestmark = pytest.mark.anyio

_PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))
_PAGE = b"<!doctype html><html><body>Please log in</body></html>"
_CUT, _BUSY = b"", b"busy"
_ENDS = {"ts": "ts", "m4": "m4s"}


class BusySite(Site):
    """A site where two files are bad for the first times that they are asked for.

    The ``later`` one is sent when the ``earlier`` one has been bad for the last time.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.earlier = self.later = ""
        self.bad: dict[str, bytes] = {}
        self.times = 2
        self._may_be_later = asyncio.Event()

    async def _take_time(self, path: str) -> str:
        if path == self.later:
            await self._may_be_later.wait()
        if path == self.earlier and self.hits[path] >= self.times:
            self._may_be_later.set()
        return await super()._take_time(path)

    def _as_told(self, path: str) -> web.StreamResponse:
        if path not in self.bad or self.hits[path] > self.times:
            return super()._as_told(path)
        other = self.bad[path]
        if other == _BUSY:
            return web.Response(status=503)
        if other == _CUT:
            data = (self._folder / path).read_bytes()
            other = data[: len(data) // 2 | 1]
        return web.Response(body=other, content_type="video/mp2t")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in segments of two kinds."""
    folder = tmp_path_factory.mktemp("site")
    fragments = {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"}
    for kind, end in _ENDS.items():
        pattern = str(folder / kind / f"part%d.{end}")
        options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": pattern}
        further = fragments if kind == "m4" else {}
        write_segments(LOW, folder / kind / "list.m3u8", "hls", {**options, **further})
    return folder


@pytest.fixture
def site(files: Path) -> Iterator[BusySite]:
    """A site of its own for each test."""
    with BusySite(files) as site:
        yield site


@pytest.mark.parametrize("kind", ["ts", "m4"])
@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [
        (_CUT, _PAGE, Cause.TRUNCATED),
        (_CUT, _PICTURE, Cause.TRUNCATED),
        (_CUT, _BUSY, Cause.TRUNCATED),
        (_PAGE, _CUT, Cause.TRUNCATED),
        (_BUSY, _CUT, Cause.HTTP_5XX),
    ],
    ids=["cut-page", "cut-picture", "cut-503", "page-cut", "503-cut"],
)
async def test_two_at_once(
    site: BusySite, spool: Spool, kind: str, first: bytes, second: bytes, cause: Cause
) -> None:
    """Cost an attempt, and the row fails by what the first of them was, though not the last."""
    site.earlier, site.later = (f"{kind}/part{number}.{_ENDS[kind]}" for number in (1, 2))
    site.bad = {site.earlier: first, site.later: second}
    (fetched,) = await outcomes(spool, [site.url(f"{kind}/list.m3u8")], retries=1)
    assert isinstance(fetched, Fetched), fetched
    assert (frames(fetched), fetched.attempts) == (list(range(35)), 2)
    fetched.close()
    site.times = 1 << 20
    (error,) = await outcomes(spool, [site.url(f"{kind}/list.m3u8")], retries=0)
    assert isinstance(error, ItemError), error
    assert error.cause is cause, error
