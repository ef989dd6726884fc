"""The real yt-dlp, and segments that end too early for what else is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from aiohttp import web

from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from tests.unit.fetch.test_ytdlp_segment_kinds import in_parts, packed_sound
from tests.unit.fetch.test_ytdlp_site import Site, outcomes

pytestmark = pytest.mark.anyio

_KINDS = {"aac": "adts", "mp3": "mp3", "ac3": "ac3", "ec3": "eac3"}


class BreakingSite(Site):
    """A site that breaks off stretches of files, so many times, as if that were all."""

    times = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        stretch = request.http_range
        if not path.startswith("whole.") or not stretch.start or self.times == 0:
            return await super()._answer(request)
        self.times -= 1
        data = (self._folder / path).read_bytes()
        first, end = stretch.start, stretch.stop or len(data)
        head = (
            "HTTP/1.1 206 Partial Content\r\nConnection: close\r\n"
            f"Content-Range: bytes {first}-{end - 1}/{len(data)}\r\n\r\n"
        )
        assert request.transport is not None
        # Between two frames, so that the sound goes on behind the hole.
        request.transport.write(head.encode() + in_parts(data[first:end], 2)[0])
        request.transport.close()
        return web.Response()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound in stretches of a file, and in files that end within a frame."""
    folder = tmp_path_factory.mktemp("site")
    for end, kind in _KINDS.items():
        sound = packed_sound(kind)
        (folder / f"whole.{end}").write_bytes(sound)
        bounds = [0, *accumulate(map(len, in_parts(sound, 3)))]
        stretches = [
            f"#EXT-X-BYTERANGE:{stop - start}@{start}\nwhole.{end}"
            for start, stop in pairwise(bounds)
        ]
        (folder / f"stretches-{end}.m3u8").write_text(_playlist(stretches))
        names = [f"part{number}.{end}" for number in range(3)]
        for name, (start, stop) in zip(names, pairwise(bounds), strict=True):
            (folder / name).write_bytes(sound[max(0, start - 50) : stop - 50])
        (folder / f"within-{end}.m3u8").write_text(_playlist(names))
    return folder


def _playlist(lines: list[str]) -> str:
    segments = "".join(f"#EXTINF:1.2,\n{line}\n" for line in lines)
    return f"#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n{segments}#EXT-X-ENDLIST\n"


@pytest.fixture
def site(files: Path) -> Iterator[BreakingSite]:
    """A site of its own for each test."""
    with BreakingSite(files) as site:
        yield site


@pytest.mark.parametrize("kind", ["aac", "ac3"])
async def test_a_stretch_that_breaks_off(site: BreakingSite, spool: Spool, kind: str) -> None:
    """Is gone on with where it did, though only its place in the file says how long it is."""
    url = site.url(f"stretches-{kind}.m3u8")
    (whole,) = await outcomes(spool, [url])
    site.times = 1
    (mended,) = await outcomes(spool, [url], retries=1)
    assert isinstance(whole, Fetched), whole
    assert isinstance(mended, Fetched), mended
    assert mended.media["video"].read() == whole.media["video"].read()
    assert mended.attempts == 1
    whole.close()
    mended.close()
    site.times = 1 << 20
    (error,) = await outcomes(spool, [url])
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.TRUNCATED


@pytest.mark.parametrize("kind", _KINDS)
async def test_an_end_within_a_frame(site: BreakingSite, spool: Spool, kind: str) -> None:
    """Is too early, and worth another attempt, also where all segments have one."""
    (error,) = await outcomes(spool, [site.url(f"within-{kind}.m3u8")], retries=1)
    assert isinstance(error, ItemError), error
    assert (error.cause, error.attempts) == (Cause.TRUNCATED, 2)
