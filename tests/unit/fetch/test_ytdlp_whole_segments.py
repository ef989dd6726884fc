"""The real yt-dlp, and segments that are whole files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from asyncv2d_stages.fetch._ytdlp.segment_kind import Alone
from tests.unit.fetch.test_ytdlp_site import LOW, Site, frames, outcomes

pytestmark = pytest.mark.anyio

_LINE = "#EXTINF:3.5,\npart{}.mp4\n"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with playlists of one whole file, and of two."""
    folder = tmp_path_factory.mktemp("site")
    for number in (0, 1):
        (folder / f"part{number}.mp4").write_bytes(LOW.data())
        lines = "".join(map(_LINE.format, range(number + 1)))
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{lines}#EXT-X-ENDLIST\n"
        (folder / f"of{number + 1}.m3u8").write_text(text)
    with Site(folder) as site:
        yield site


async def test_whole_files(site: Site, spool: Spool) -> None:
    """May be the only segment of a video: of two in one file, the second would not be read."""
    one, two = await outcomes(spool, [site.url("of1.m3u8"), site.url("of2.m3u8")])
    assert isinstance(one, Fetched), one
    assert frames(one) == list(range(35))
    one.close()
    assert isinstance(two, ItemError), two
    assert two.cause is Cause.TRUNCATED
    assert "a segment is a whole MP4, and so is another" in two.detail


def test_the_only_one() -> None:
    """Is the first, however often it is looked at."""
    alone, first, second = Alone(), object(), object()
    found = [alone.is_another(segment) for segment in (first, first, second, first)]
    assert found == [False, False, True, False]
