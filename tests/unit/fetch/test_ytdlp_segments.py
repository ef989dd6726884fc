"""The real yt-dlp, and servers that send something else in place of a video's segments."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from aiohttp import web
from yt_dlp.networking.exceptions import TransportError

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from asyncv2d_stages.fetch._ytdlp.segment_end import End
from asyncv2d_stages.fetch._ytdlp.segments import Expected, _check_start
from tests.unit.fetch.test_ytdlp_site import LOW, Site, frames, outcomes, write_segments

pytestmark = pytest.mark.anyio

_HOWS = ("page", "text", "zeros", "empty", "nothing", "part", "as-part", "typeless", "short")
_WEBM = MadeVideo(
    scenes(2, 1.5),
    rate=Fraction(10),
    codec="libvpx-vp9",
    audio=None,
    container="webm",
    keyframe_interval=10,
)


class FaultySite(Site):
    """A site that sends files in the way that the first part of their path says.

    With ``once`` before it, only the first time.
    """

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path.startswith("short/") or (path.startswith("once/short/") and not self.hits[path]):
            self.hits[path] += 1
            return await self._send_half(request, path.removeprefix("once/"))
        return await super()._answer(request)

    async def _send_half(self, request: web.Request, path: str) -> web.StreamResponse:
        """Send the first half of a file, whose size is not told, as if it were all."""
        data = (self._folder / path.removeprefix("short/")).read_bytes()
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        request.transport.write(head + data[: len(data) // 2 | 1])
        request.transport.close()
        return web.Response()

    def _as_told(self, path: str) -> web.StreamResponse:
        asked = path
        if path.startswith("once/"):
            path = path.removeprefix("once/")
            if self.hits[asked] > 1:
                path = path.partition("/")[2]
        how, _, rest = path.partition("/")
        if how not in _HOWS:
            return super()._as_told(path)
        return _sent(how, (self._folder / rest).read_bytes())


def _sent(how: str, data: bytes) -> web.StreamResponse:
    if how == "page":
        page = "<!doctype html><html><body>Bitte melden Sie sich an: Köln</body></html>"
        return web.Response(text=page, content_type="text/html")
    if how == "nothing":
        return web.Response(status=204)
    if how in ("part", "as-part"):
        stop = len(data) // 2 if how == "part" else len(data)
        headers = {"Content-Range": f"bytes 0-{stop - 1}/{len(data)}"}
        return web.Response(status=206, body=data[:stop], headers=headers)
    kind = "text/html" if how == "typeless" else "video/mp2t"
    body = {"text": b'{"error": "expired"}', "zeros": bytes(len(data)), "empty": b""}.get(how, data)
    return web.Response(body=body, content_type=kind)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same video as HLS of two kinds, with one segment sent in each way."""
    folder = tmp_path_factory.mktemp("site")
    for kind, further in {
        "ts": {},
        "m4": {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"},
    }.items():
        end = "ts" if kind == "ts" else "m4s"
        place = folder / "hls" / kind
        pattern = str(place / f"part%d.{end}")
        options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": pattern}
        write_segments(LOW, place / "list.m3u8", "hls", {**options, **further})
        text = (place / "list.m3u8").read_text()
        for how in _HOWS:
            for once in ("", "once/"):
                changed = text.replace(f"part1.{end}", f"/{once}{how}/hls/{kind}/part1.{end}")
                name = f"{once.replace('/', '-')}{how}.m3u8"
                (place / name).write_text(changed)
    text = (folder / "hls" / "ts" / "list.m3u8").read_text()
    _make_webm(folder / "webm")
    (folder / "hls" / "ts" / "half1.ts").write_bytes(_half(folder / "hls" / "ts" / "part1.ts"))
    (folder / "hls" / "ts" / "half.m3u8").write_text(text.replace("part1", "half1"))
    return folder


def _make_webm(folder: Path) -> None:
    """A video as DASH of WebM, as it should be and with another second segment."""
    options = {"dash_segment_type": "webm", "seg_duration": "1"}
    write_segments(_WEBM, folder / "good" / "list.mpd", "dash", options)
    name = "chunk-stream0-00002.webm"
    second = folder / "good" / name
    for kind, data in {
        "half": _half(second),
        "page": "<html>Köln</html>".encode("latin-1"),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    }.items():
        copytree(folder / "good", folder / kind)
        (folder / kind / name).write_bytes(data)


def _half(file: Path) -> bytes:
    data = file.read_bytes()
    return data[: len(data) // 2 | 1]


@pytest.fixture
def site(files: Path) -> Iterator[Site]:
    """A site of its own for each test."""
    with FaultySite(files) as site:
        yield site


async def _all(site: Site, spool: Spool, paths: list[str], **settings: Any) -> dict[str, Any]:
    got = await outcomes(spool, list(map(site.url, paths)), **settings)
    return dict(zip(paths, got, strict=True))


@pytest.mark.parametrize("kind", ["ts", "m4"])
async def test_what_is_no_segment(site: Site, spool: Spool, kind: str) -> None:
    """Is not put together with the others: parts of the video would be missing."""
    said = {
        "page": "a web page (text/html)",
        "text": "text",
        "zeros": "zeros",
        "empty": "no bytes",
        "nothing": "no bytes",
        "part": "only a part",
        "short": "ends before its own sizes",
    }
    got = await _all(site, spool, [f"hls/{kind}/{how}.m3u8" for how in said])
    for (path, error), words in zip(got.items(), said.values(), strict=True):
        assert isinstance(error, ItemError), (path, error)
        assert (path, error.cause) == (path, Cause.TRUNCATED)
        assert words in error.detail, (path, error.detail)


@pytest.mark.parametrize("kind", ["ts", "m4"])
async def test_a_segment_that_is_one(site: Site, spool: Spool, kind: str) -> None:
    """Is taken with whatever type it is sent, and where all of it is called a part."""
    got = await _all(site, spool, [f"hls/{kind}/{how}.m3u8" for how in ("as-part", "typeless")])
    for path, fetched in got.items():
        assert isinstance(fetched, Fetched), (path, fetched)
        assert frames(fetched) == list(range(35)), path
        fetched.close()


@pytest.mark.parametrize("kind", ["ts", "m4"])
async def test_a_segment_that_comes_the_next_time(site: Site, spool: Spool, kind: str) -> None:
    """Is asked for again, and the others are not."""
    hows = [how for how in _HOWS if how not in ("as-part", "typeless")]
    paths = [f"hls/{kind}/once-{how}.m3u8" for how in hows]
    for path, fetched in (await _all(site, spool, paths, retries=1)).items():
        assert isinstance(fetched, Fetched), (path, fetched)
        assert frames(fetched) == list(range(35)), path
        assert fetched.attempts == 1, path
        fetched.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("half", "ends before its own sizes"),
        ("page", "none of WebM"),
        ("picture", "none of WebM"),
    ],
)
async def test_what_is_no_segment_of_webm(site: Site, spool: Spool, kind: str, said: str) -> None:
    """Is missed as well, though a decoder goes on behind it."""
    paths = [f"webm/{name}/list.mpd" for name in ("good", kind)]
    good, error = (await _all(site, spool, paths)).values()
    assert isinstance(good, Fetched), good
    assert frames(good) == list(range(35))
    good.close()
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.TRUNCATED
    assert said in error.detail


async def test_a_segment_that_is_half_there(site: Site, spool: Spool) -> None:
    """Is asked for as a whole again: its server has no more behind the half that came."""
    (error,) = (await _all(site, spool, ["hls/ts/half.m3u8"])).values()
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.TRUNCATED
    assert "ends before its own sizes" in error.detail


def test_a_page_in_another_encoding() -> None:
    """Is no segment, whatever its type says, unless it may be a cipher."""
    page = "<html>Köln</html>".encode("latin-1")
    _check_start(page, "text/html", Expected("mp4", is_encrypted=True))
    for kind in ("text/html", "video/mp2t"):
        with pytest.raises(TransportError, match="looks like no media"):
            _check_start(page, kind, Expected("mp4"))


def test_the_end_of_elements() -> None:
    """Is known inside a cluster, whose blocks are not looked at."""
    data = MadeVideo(scenes(1), codec="libvpx-vp9", audio=None, container="webm").data()
    cluster = data.index(b"\x1f\x43\xb6\x75")
    for size, is_missing in {len(data): False, cluster: False, cluster + 100: True}.items():
        end = End(data)
        for at in range(0, size, 9):
            end.take(data[at : min(size, at + 9)])
        assert end.is_missing == is_missing, size


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_the_end_of_boxes(step: int) -> None:
    """Is known wherever the header of a box came, in whatever pieces a segment is read."""
    long = (1).to_bytes(4, "big") + b"mdat" + (21).to_bytes(8, "big") + b"abcde"
    data = b"\0\0\0\x08styp" + b"\0\0\0\x0cmoofabcd" + long
    within = {*range(16, 20), *range(36, 41)}
    for size in range(8, len(data) + 1):
        end = End(data)
        for at in range(0, size, step):
            end.take(data[at : min(size, at + step)])
        assert end.is_missing == (size in within), size


@pytest.mark.parametrize("tail", [b"", bytes(3), bytes(50), b"of another program"])
def test_what_follows_the_boxes(tail: bytes) -> None:
    """Is not taken for one that was cut off; nor is a cipher, of which nothing is known."""
    for data in (b"\0\0\0\x08styp" + tail, bytes(range(90)) + tail):
        end = End(data)
        end.take(data)
        assert not end.is_missing
