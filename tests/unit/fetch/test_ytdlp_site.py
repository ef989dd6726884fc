"""The real yt-dlp against a site on this machine, whose videos are known frame by frame."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import anyio
import av
import pytest
from aiohttp import web
from anyio import to_thread
from av.container import InputContainer

from asyncv2d.budget import ByteBudget
from asyncv2d.config import build
from asyncv2d.fetching import equipped, open_fetchers
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.ports import FetchContext
from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError, Modality, Row, RunError
from asyncv2d_stages.fetch import ytdlp
from asyncv2d_stages.fetch._hosts import host as one_host
from asyncv2d_stages.fetch._http import least, proxy
from asyncv2d_stages.fetch._ytdlp import pool
from asyncv2d_stages.fetch._ytdlp.choice import Choice, is_in_pieces, is_plain
from asyncv2d_stages.fetch._ytdlp.kept import Kept, Options
from asyncv2d_stages.fetch._ytdlp.worker import Form, fetch_pieces, prepare
from asyncv2d_stages.fetch.ytdlp import YtdlpFetcher
from tests.unit.fetch.proxies import Handler, be_silent, hang_up, listening

pytestmark = pytest.mark.anyio

_DEADLINE_S = 60


def _made(*size: int) -> MadeVideo:
    return MadeVideo(scenes(2, 1.5), (size[0], size[1]), rate=Fraction(10), keyframe_interval=10)


LOW, _HIGH = _made(160, 120), _made(320, 240)
_ENGLISH = """WEBVTT

1
00:00.000 --> 00:01.000 align:start
Hello &amp; welcome

00:01.000 --> 00:02.500
<i>two</i>
lines
"""
_GERMAN = "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHallo\n"
_VIDEO_PAGE = "<html><head><title>A film</title></head><body>{}</body></html>"
_REFUSED = "http://169.254.169.254"
_ELSEWHERE = "other.example.com"
_FILLING = b" " * (1 << 16)
_JSON_LD = {
    "@context": "https://schema.org",
    "@type": "VideoObject",
    "name": "The name",
    "description": "What it shows",
    "uploadDate": "2024-05-06",
}


def write_segments(video: MadeVideo, file: Path, kind: str, options: dict[str, str]) -> None:
    """Write ``video`` as a manifest and segments, without encoding it again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        av.open(io.BytesIO(video.data()), "r") as source,
        av.open(str(file), "w", format=kind, options=options) as output,
    ):
        streams = {
            stream.index: output.add_stream_from_template(stream) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)


def _make_files(folder: Path) -> None:
    (folder / "made.mp4").write_bytes(LOW.data())
    (folder / "en.vtt").write_text(_ENGLISH)
    (folder / "de.vtt").write_text(_GERMAN)
    for name, video in {"low": LOW, "high": _HIGH}.items():
        pattern = str(folder / "hls" / name / "part%d.ts")
        options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": pattern}
        write_segments(video, folder / "hls" / name / "list.m3u8", "hls", options)
    lines = ["#EXTM3U"]
    for name, size, rate in (("low", "160x120", 200_000), ("high", "320x240", 800_000)):
        codecs = 'CODECS="avc1.42c00a,mp4a.40.2"'
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={rate},RESOLUTION={size},{codecs}"]
        lines += [f"{name}/list.m3u8"]
    (folder / "hls" / "master.m3u8").write_text("\n".join(lines))
    playlist = (folder / "hls" / "low" / "list.m3u8").read_text()
    (folder / "hls" / "low" / "lost.m3u8").write_text(playlist.replace("part1.ts", "part9.ts"))
    for name, place in {
        "cut": "/cut/hls/low",
        "broken": "/broken/hls/low",
        "refused": _REFUSED,
        "elsewhere": f"http://{_ELSEWHERE}",
    }.items():
        text = playlist.replace("part1.ts", f"{place}/part1.ts")
        (folder / "hls" / "low" / f"{name}.m3u8").write_text(text)
    (folder / "hls" / "low" / "ranges.m3u8").write_text(_in_ranges(folder / "hls" / "low"))
    (folder / "hls" / "low" / "live.m3u8").write_text(playlist.replace("#EXT-X-ENDLIST", ""))
    for name, segments in {"many": 60_000, "endless": 1_000_000_000}.items():
        (folder / f"{name}.mpd").write_text(_manifest(segments))
    write_segments(_HIGH, folder / "dash" / "manifest.mpd", "dash", {"seg_duration": "1"})


def _in_ranges(folder: Path) -> str:
    """The playlist of the same segments, as stretches of one file."""
    lines, whole = list[str](), b""
    for line in (folder / "list.m3u8").read_text().splitlines():
        if line.endswith(".ts"):
            part = (folder / line).read_bytes()
            lines += [f"#EXT-X-BYTERANGE:{len(part)}@{len(whole)}", "all.ts"]
            whole += part
        else:
            lines.append(line)
    (folder / "all.ts").write_bytes(whole)
    return "\n".join(lines)


def _manifest(segments: int) -> str:
    """The description of a video in so many segments, in a few lines."""
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT9000S">
<Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1" width="64" height="48" codecs="avc1.4d401e">
<SegmentTemplate timescale="1000000" media="$Number$.mp4" startNumber="1">
<SegmentTimeline><S t="0" d="1" r="{segments - 1}"/></SegmentTimeline>
</SegmentTemplate></Representation></AdaptationSet></Period></MPD>"""


def _bomb(encoding: str) -> bytes:
    """A page of 50 MB that takes next to nothing on its way."""
    page = b"<html>" + b" " * 50_000_000
    if encoding == "br":
        return bytes(import_module("brotli").compress(page))
    return gzip.compress(page) if encoding == "gzip" else zlib.compress(page)


class Site:
    """A video site that counts what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._closing = asyncio.Event()
        self._wanted_port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.hits: Counter[str] = Counter()
        self.told: list[tuple[str, str]] = []  # hosts that were asked, and all headers
        self.opted_out: tuple[str, ...] = ()
        self.robots = ""
        self.forbids = ""  # whose rules they are; empty: everybody's
        self.asked_to_wait = threading.Event()
        self.no_longer_slow = asyncio.Event()
        self.login = ""
        self.needs_login = ""  # which host; empty: every one
        self.address = ""

    def url(self, path: str) -> str:
        """The whole URL of ``path``."""
        return f"{self.address}/{path}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        """Serve from now on."""
        self._wanted_port = port
        self._thread.start()
        assert self._started.wait(_DEADLINE_S)

    def hurry(self) -> None:
        """Send what is slow, too."""
        self._loop.call_soon_threadsafe(self.no_longer_slow.set)

    def stop(self) -> None:
        """Drop all connections."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_DEADLINE_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.+}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._wanted_port).start()
            self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._closing.wait()
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.hits[path] += 1
        self.told.append((request.host, str(request.raw_headers)))
        asks = self.login and request.host.startswith(self.needs_login)
        if asks and request.headers.get("Authorization") != self.login:
            path = "status/401"
        if path == "robots.txt" and self.robots and request.host.startswith(self.forbids):
            return web.Response(text=self.robots)
        if path.startswith("status/"):
            return web.Response(status=int(path.split("/")[1]), text="no", content_type="text/html")
        if path.startswith("endless/"):
            return await self._go_on(request, path.removeprefix("endless/"))
        if path.startswith("drip/") and path.endswith(".ts"):
            return await self._drip(request, path.removeprefix("drip/"))
        path = path.removeprefix("drip/")
        if path.startswith(("cut/", "broken/")):
            return await self._break_off(request, *path.split("/", 1))
        answer = self._stored(await self._take_time(path))
        if path.endswith(self.opted_out):
            answer.headers["X-Robots-Tag"] = "noai"
        return answer

    async def _take_time(self, path: str) -> str:
        """The path of what to send, once it is time to."""
        if path == "silent":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _DEADLINE_S)
        if not path.startswith("slow/"):
            return path
        _, _, path = path.split("/", 2)  # and a number
        if not path.endswith(".m3u8"):
            self.asked_to_wait.set()
            await self.no_longer_slow.wait()
        return path

    def _stored(self, path: str) -> web.StreamResponse:
        """A page or a file."""
        if path == "busy-once" and self.hits[path] == 1:
            return web.Response(status=429, text="slow down", content_type="text/html")
        if path in self._pages():
            return web.Response(text=self._pages()[path], content_type="text/html")
        return self._as_told(path)

    def _as_told(self, path: str) -> web.StreamResponse:
        """A file, in the way that the first part of its path says."""
        how, _, rest = path.partition("/")
        if how == "whole":  # whatever stretch is asked for
            return web.Response(body=(self._folder / rest).read_bytes())
        if how == "away":
            return web.Response(status=302, headers={"Location": f"http://{_ELSEWHERE}/{rest}"})
        if how == "bomb":
            headers = {"Content-Type": "text/html", "Content-Encoding": rest}
            return web.Response(body=_bomb(rest), headers=headers)
        file = self._folder / path
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    async def _break_off(self, request: web.Request, how: str, path: str) -> web.StreamResponse:
        """The first half of a file, whose size is told if it is ``cut``."""
        data = (self._folder / path).read_bytes()
        answer = web.StreamResponse()
        if how == "cut":
            answer.content_length = len(data)
        await answer.prepare(request)
        await answer.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        return answer

    async def _drip(self, request: web.Request, path: str) -> web.StreamResponse:
        """A file, a byte at a time."""
        self.asked_to_wait.set()
        data = (self._folder / path).read_bytes()
        answer = web.StreamResponse()
        answer.content_length = len(data)
        await answer.prepare(request)
        with suppress(ConnectionError):
            for at in range(len(data)):
                await answer.write(data[at : at + 1])
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), 0.1)
        return answer

    async def _go_on(self, request: web.Request, how: str) -> web.StreamResponse:
        """An answer that does not end."""
        answer = web.StreamResponse(headers={"Content-Type": "text/html"})
        if how == "redirect":
            answer.set_status(302)
            answer.headers["Location"] = "/video"
        if how == "packed":
            answer.headers["Content-Encoding"] = "gzip"
        await answer.prepare(request)
        with suppress(ConnectionError):
            await answer.write(b"<html>")
            while not self._closing.is_set():
                await answer.write(_FILLING)
        return answer

    def _pages(self) -> Mapping[str, str]:
        track = '<track kind="subtitles" srclang="{0}" src="/{0}.vtt">'
        tracks = track.format("en") + track.format("de")
        lost = track.format("en") + track.format("fr")
        json_ld = json.dumps({**_JSON_LD, "contentUrl": self.url("made.mp4")})
        deep = "[" * 10_000 + "]" * 10_000
        long = json.dumps({**json.loads(json_ld), "duration": "9" * 400 + ":00"})
        halves = json_ld.replace("The name", r"A \ud83d\ude00 \ud800 b")
        made = '<video src="/made.mp4">{}</video>'
        bodies = {
            "video": made.format(""),
            "busy-once": made.format(""),
            "File:film.webm": made.format(""),
            "gone.mp4": made.format(""),
            "tracks": made.format(tracks),
            "lost-track": made.format(lost),
            "endless-track": made.format(track.format("en").replace("en.vtt", "endless/en.vtt")),
            "several": made.format("") + '<video src="/none.mp4"></video>',
            "hls": '<video><source src="/hls/master.m3u8" type="application/x-mpegURL"></video>',
            "json-ld": f'<script type="application/ld+json">{json_ld}</script>',
            "halves": f'<script type="application/ld+json">{halves}</script>',
            "deep": f'<script type="application/ld+json">{deep}</script>',
            "long": f'<script type="application/ld+json">{long}</script>',
            "login": "<form action=/login><input name=user><input name=password></form>",
            "none": "<p>Nothing to see</p>",
            "broken": '<video src="/no-such.mp4"></video>',
            "text-video": '<video src="/none"></video>',
            "leads-away": f'<video src="http://{_ELSEWHERE}/made.mp4"></video>',
            "leads-here": f'<video src="{self.url("made.mp4")}"></video>',
            "leads-to-localhost": f'<video src="http://localhost:{self.port}/made.mp4"></video>',
        }
        return {name: _VIDEO_PAGE.format(body) for name, body in bodies.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site serves."""
    folder = tmp_path_factory.mktemp("site")
    _make_files(folder)
    return folder


@pytest.fixture
def site(files: Path) -> Iterator[Site]:
    """A site of its own for each test."""
    with Site(files) as site:
        yield site


async def outcomes(spool: Spool, urls: list[str], **settings: Any) -> list[Fetched | ItemError]:
    """What becomes of each URL, by one open fetcher."""
    fetcher = YtdlpFetcher.model_validate({"timeout": 10, "retries": 0, **settings})
    with anyio.fail_after(_DEADLINE_S):
        async with fetcher.open(equipped(FetchContext(spool, 4))) as fetch:
            return [await outcome(fetch, url) for url in urls]


async def outcome(fetch: Callable[[Row], Awaitable[Fetched]], url: str) -> Fetched | ItemError:
    """What becomes of one URL."""
    try:
        return await fetch(Row(0, "0", url))
    except ItemError as error:
        return error


async def fetched(spool: Spool, url: str, **settings: Any) -> Fetched:
    """Fetch one row."""
    (got,) = await outcomes(spool, [url], **settings)
    assert isinstance(got, Fetched), got
    return got


@contextmanager
def opened(got: Fetched, modality: Modality) -> Iterator[InputContainer]:
    """What came, to be decoded."""
    with got.media[modality].open() as file, av.open(file, "r") as container:
        yield container


async def _read(fetch: Callable[[Row], Awaitable[Fetched]], url: str) -> None:
    got = await fetch(Row(0, "0", url))
    assert frames(got) == list(range(35))
    got.close()


def frames(got: Fetched, modality: Modality = "video") -> list[int]:
    """The numbers of the frames that came."""
    with opened(got, modality) as container:
        pictures = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return list(map(read_number, pictures))


def seconds_of_sound(got: Fetched, modality: Modality = "video") -> float:
    """How much sound came."""
    with opened(got, modality) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


class TestForms:
    """All forms in which a site may have a video."""

    async def test_files(self, site: Site, spool: Spool) -> None:
        """Come byte by byte as they are, and their pages are asked for once."""
        pages = ["video", "json-ld", "several"]
        for page, got in zip(pages, await outcomes(spool, list(map(site.url, pages))), strict=True):
            assert isinstance(got, Fetched), (page, got)
            assert got.media["video"].read() == LOW.data()
            assert got.info["http_status"] == 200
            assert "yt_meta_dict" not in got.info
            assert (got.attempts, site.hits[page]) == (1, 1)
            got.close()

    @pytest.mark.parametrize(
        ("path", "size", "height"),
        [("hls", 100, 120), ("hls/master.m3u8", 121, 240)],
    )
    async def test_hls(self, site: Site, spool: Spool, path: str, size: int, height: int) -> None:
        """The lowest picture that is high enough, else the highest, with all frames and sound."""
        got = await fetched(spool, site.url(path), yt_args={"download_size": size})
        assert frames(got) == list(range(35))
        assert seconds_of_sound(got) == pytest.approx(3.5, abs=0.1)
        with opened(got, "video") as container:
            assert container.streams.video[0].height == height
        assert got.media.keys() == {"video"}
        got.close()

    async def test_segments_of_one_file(self, site: Site, spool: Spool) -> None:
        """Are stretches of it, which a server that sends all of it instead does not have."""
        urls = [site.url("hls/low/ranges.m3u8"), site.url("whole/hls/low/ranges.m3u8")]
        got, error = await outcomes(spool, urls)
        assert isinstance(got, Fetched), got
        assert frames(got) == list(range(35))
        assert isinstance(error, ItemError), error
        assert error.cause is Cause.NO_FORMAT
        got.close()

    async def test_a_name_under_localhost(self, site: Site, spool: Spool) -> None:
        """Is this machine, whatever the system's resolver knows."""
        url = site.url("hls").replace("127.0.0.1", "films.localhost")
        got = await fetched(spool, url)
        assert frames(got) == list(range(35))
        assert "films.localhost" in {host.partition(":")[0] for host, _ in site.told}
        got.close()

    async def test_dash(self, site: Site, spool: Spool) -> None:
        """Picture and sound are two bodies."""
        got = await fetched(spool, site.url("dash/manifest.mpd"))
        assert got.media.keys() == {"video", "audio"}
        assert frames(got) == list(range(35))
        assert seconds_of_sound(got, "audio") == pytest.approx(3.5, abs=0.1)
        got.close()

    @pytest.mark.parametrize("path", ["hls/master.m3u8", "hls", "video", "dash/manifest.mpd"])
    async def test_of_a_server_that_wants_a_login(
        self, site: Site, spool: Spool, path: str
    ) -> None:
        """The user and password of the row's URL go with all that lies on its server."""
        site.login = "Basic bWU6c2VjcmV0"
        got = await fetched(spool, site.url(path).replace("://", "://me:secret@"))
        assert frames(got) == list(range(35))
        got.close()

    async def test_only_what_the_job_wants(self, site: Site, spool: Spool) -> None:
        """No picture is downloaded for its sound, where the sound comes apart."""
        fetcher = YtdlpFetcher(retries=0)
        context = equipped(FetchContext(spool, 4, wants=frozenset({"audio"})))
        with anyio.fail_after(_DEADLINE_S):
            async with fetcher.open(context) as fetch:
                got = await fetch(Row(0, "0", site.url("dash/manifest.mpd")))
        assert got.media.keys() == {"audio"}
        assert not any("stream0" in path for path in site.hits)
        got.close()

    async def test_a_job_without_media(self, site: Site, spool: Spool) -> None:
        """Gets metadata and subtitles, and downloads no video."""
        args = {"yt_metadata_args": {"writesubtitles": True, "subtitleslangs": ["de"]}}
        context = equipped(FetchContext(spool, 4, wants=frozenset()))
        with anyio.fail_after(_DEADLINE_S):
            async with YtdlpFetcher.model_validate({"yt_args": args}).open(context) as fetch:
                got = await fetch(Row(0, "0", site.url("tracks")))
        assert got.media == {}
        assert got.info["yt_meta_dict"]["subtitles"].keys() == {"de"}
        assert site.hits["made.mp4"] == 0


class TestPieces:
    """What a process downloads by itself."""

    def test_bytes_in_stretches(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a site is slow if asked for all at once, as YouTube is."""
        monkeypatch.setattr(Kept, "_current", None)
        prepare(Options(Choice(360, 44100, frozenset({"video"}))))
        url = site.url("made.mp4")
        pieces = {"url": url, "protocol": "http", "ext": "mp4", "id": "a", "title": "a"}
        stretches = {"downloader_options": {"http_chunk_size": 10_000}}
        assert not is_plain({**pieces, **stretches})
        assert is_in_pieces({**pieces, **stretches})
        folder = tmp_path / "pieces"
        folder.mkdir()
        form = Form("video", url, {}, pieces={**pieces, **stretches})
        body = Path(fetch_pieces(form, url, str(folder), None))
        assert body.read_bytes() == LOW.data()
        assert site.hits["made.mp4"] == len(LOW.data()) // 10_000 + 1
        body.unlink()
        folder.rmdir()


class TestMetadata:
    """What video2dataset calls yt_meta_dict."""

    async def test_of_a_page(self, site: Site, spool: Spool) -> None:
        """Metadata that can be written as JSON, and subtitles in the languages asked for."""
        args = {"yt_metadata_args": {"writesubtitles": "all", "subtitleslangs": ["de", "en"]}}
        got = await fetched(spool, site.url("tracks"), yt_args=args)
        found = json.loads(json.dumps(got.info["yt_meta_dict"]))
        assert found["info"]["webpage_url"] == site.url("tracks")
        assert not found["info"].keys() & {"formats", "subtitles", "thumbnails", "url", "cookies"}
        assert found["subtitles"] == {
            "de": [{"start": "00:00:00.500", "end": "00:00:01.500", "lines": ["Hallo"]}],
            "en": [
                {"start": "00:00:00.000", "end": "00:00:01.000", "lines": ["Hello & welcome"]},
                {"start": "00:00:01.000", "end": "00:00:02.500", "lines": ["two", "lines"]},
            ],
        }
        assert site.hits["tracks"] == 1
        got.close()

    async def test_the_first_language(self, site: Site, spool: Spool) -> None:
        """Stops at the first that there is."""
        wanted = {"writesubtitles": "first", "subtitleslangs": ["fr", "de", "en"]}
        args = {"yt_metadata_args": {**wanted, "get_info": False}}
        got = await fetched(spool, site.url("tracks"), yt_args=args)
        found = got.info["yt_meta_dict"]
        assert (found["info"], found["subtitles"].keys()) == (None, {"de"})
        assert site.hits["en.vtt"] == 0
        got.close()

    async def test_subtitles_that_are_lost(self, site: Site, spool: Spool) -> None:
        """Cost no video, and it is said that they are."""
        args = {"yt_metadata_args": {"writesubtitles": True, "subtitleslangs": ["fr", "en"]}}
        got = await fetched(spool, site.url("lost-track"), yt_args=args)
        found = got.info["yt_meta_dict"]
        assert found["subtitles"].keys() == {"en"}
        assert found["problems"] == ["subtitles fr: http_404: HTTP Error 404: Not Found"]
        got.close()

    async def test_secrets_of_the_row(self, site: Site, spool: Spool) -> None:
        """Are not among it."""
        url = site.url("video?token=S3CRET").replace("://", "://me:S3CRET@")
        got = await fetched(spool, url, yt_args={"yt_metadata_args": {}})
        written = json.dumps(got.info)
        assert "token=***" in written
        assert "S3CRET" not in written
        got.close()

    async def test_halves_of_characters(self, site: Site, spool: Spool) -> None:
        """Are made whole, or replaced: they could not be written."""
        got = await fetched(spool, site.url("halves"), yt_args={"yt_metadata_args": {}})
        assert got.info["yt_meta_dict"]["info"]["title"] == "A \U0001f600 \ufffd b"
        got.close()

    async def test_subtitles_without_end(self, site: Site, spool: Spool) -> None:
        """Cost no video either."""
        args = {"yt_metadata_args": {"writesubtitles": True}}
        got = await fetched(spool, site.url("endless-track"), yt_args=args)
        (problem,) = got.info["yt_meta_dict"]["problems"]
        assert problem.startswith("subtitles en: too_large")
        got.close()

    async def test_of_json_ld(self, site: Site, spool: Spool) -> None:
        """What the page says for search engines."""
        got = await fetched(spool, site.url("json-ld"), yt_args={"yt_metadata_args": {}})
        info = got.info["yt_meta_dict"]["info"]
        assert (info["title"], info["description"]) == ("The name", "What it shows")
        assert (info["upload_date"], got.info["yt_meta_dict"]["subtitles"]) == ("20240506", None)
        got.close()


class TestFailures:
    """Each has its own cause."""

    async def test_causes(self, site: Site, spool: Spool) -> None:
        """What a site refuses, and what its pages promise and do not hold."""
        expected = {
            "none": Cause.NOT_MEDIA,
            "login": Cause.NOT_MEDIA,
            "broken": Cause.HTTP_404,
            "text-video": Cause.NOT_MEDIA,
            "deep": Cause.EXTRACTOR_FAILED,
            "long": Cause.EXTRACTOR_FAILED,
            "hls/low/refused.m3u8": Cause.FORBIDDEN_ADDRESS,
            "hls/low/cut.m3u8": Cause.TRUNCATED,
            "hls/low/broken.m3u8": Cause.TRUNCATED,
            "cut/hls/low/list.m3u8": Cause.TRUNCATED,
            "hls/low/lost.m3u8": Cause.HTTP_404,
            "hls/low/live.m3u8": Cause.LIVE,
            "status/401/a": Cause.LOGIN_REQUIRED,
            "status/403/a": Cause.HTTP_403,
            "status/404/a": Cause.HTTP_404,
            "status/451/a": Cause.GEO_BLOCKED,
            "status/503/a": Cause.HTTP_5XX,
            "status/429/a": Cause.RATE_LIMITED,
        }
        got = await outcomes(spool, list(map(site.url, expected)))
        causes = {
            path: error.cause if isinstance(error, ItemError) else error
            for path, error in zip(expected, got, strict=True)
        }
        assert causes == expected

    async def test_no_server(self, spool: Spool) -> None:
        """Is a connection that was refused; the process lives on."""
        dead = "http://127.0.0.1:1/a"
        got = await outcomes(spool, [dead, dead])
        assert [getattr(error, "cause", None) for error in got] == [Cause.CONNECT] * 2

    @pytest.mark.parametrize(
        ("limits", "cause"),
        [
            ({"timeout": 0.3}, Cause.TIMEOUT),
            ({"yt_args": {"extract_timeout": 0.3}}, Cause.TIMEOUT),
        ],
    )
    async def test_a_silent_site(
        self, site: Site, spool: Spool, limits: dict[str, Any], cause: Cause
    ) -> None:
        """Is given up, if need be with the process, and the next row gets another one."""
        first, second = await outcomes(spool, [site.url("silent"), site.url("none")], **limits)
        assert isinstance(first, ItemError)
        assert isinstance(second, ItemError)
        assert first.cause is cause
        assert second.cause in (Cause.NOT_MEDIA, Cause.TIMEOUT)

    async def test_a_site_that_stays_silent(
        self, site: Site, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Is given up before all of its rows have waited for it."""
        monkeypatch.setattr(one_host, "_FIRST_PAUSE_S", 0.001)
        rows = [site.url(f"silent?{number}") for number in range(40)]
        errors = await outcomes(spool, rows, timeout=0.3, yt_args={"processes": 1})
        assert {getattr(error, "cause", None) for error in errors} == {Cause.TIMEOUT}
        assert 5 <= site.hits["silent"] < 25
        assert any("failed" in str(error) and "in a row" in str(error) for error in errors)

    @pytest.mark.parametrize("path", ["video", "hls"])
    async def test_too_large(self, site: Site, spool: Spool, path: str) -> None:
        """Nothing beyond the limit is kept."""
        (error,) = await outcomes(spool, [site.url(path)], max_bytes=5000)
        assert isinstance(error, ItemError)
        assert error.cause is Cause.TOO_LARGE

    async def test_more_segments_than_there_was_room_for(self, site: Site, spool: Spool) -> None:
        """Come from the start once there is more; of nine such rows, none waits for ever."""
        whole = await fetched(spool, site.url("hls/high/list.m3u8"))
        body = whole.media["video"].read()
        whole.close()
        site.hits.clear()
        small = Spool(spool.folders, ByteBudget(1 << 30), ByteBudget(2 * len(body)))
        urls = [site.url(f"hls/high/list.m3u8?{number}") for number in range(9)]
        with anyio.fail_after(_DEADLINE_S):
            fetcher = YtdlpFetcher.model_validate({"timeout": 10, "retries": 0})
            async with fetcher.open(equipped(FetchContext(small, 9))) as fetch:

                async def read(url: str) -> None:
                    got = await fetch(Row(0, "0", url))
                    assert got.media["video"].read() == body
                    got.close()

                async with anyio.create_task_group() as tasks:
                    for url in urls:
                        tasks.start_soon(read, url)
        assert small.disk.used == 0
        segments = [site.hits[path] for path in site.hits if path.endswith(".ts")]
        assert max(segments) > len(urls)

    @pytest.mark.parametrize(
        "path",
        [
            *("endless/page", "endless/packed", "endless/redirect", "endless/list.m3u8"),
            *("bomb/gzip", "bomb/deflate", "bomb/br"),
        ],
    )
    async def test_pages_without_end(self, site: Site, spool: Spool, path: str) -> None:
        """Are given up before they fill the memory."""
        (error,) = await outcomes(spool, [site.url(path)], yt_args={"extract_timeout": 20})
        assert isinstance(error, ItemError)
        assert error.cause is Cause.TOO_LARGE, error

    @pytest.mark.parametrize("path", ["many.mpd", "endless.mpd"])
    async def test_too_many_segments(self, site: Site, spool: Spool, path: str) -> None:
        """Are not even described: that alone would fill the memory."""
        args = {"process_memory": 100_000_000, "processes": 1}
        first, second = await outcomes(spool, [site.url(path), site.url("video")], yt_args=args)
        assert isinstance(first, ItemError)
        assert first.cause is Cause.TOO_LARGE, first
        assert isinstance(second, Fetched), second
        second.close()

    async def test_a_site_that_objects_is_asked_again(self, site: Site, spool: Spool) -> None:
        """After its pause, as often as the retries allow."""
        url, args = site.url("busy-once"), {"site_pause": 0.01}
        got = await fetched(spool, url, retries=1, yt_args=args)
        assert (got.attempts, site.hits["busy-once"]) == (2, 2)
        got.close()

    async def test_a_page_that_leads_home(self, site: Site, spool: Spool) -> None:
        """Rows may not lead to this network if that is denied."""
        (error,) = await outcomes(spool, [site.url("video")], private_addresses="deny")
        assert isinstance(error, ItemError)
        assert error.cause is Cause.FORBIDDEN_ADDRESS
        assert not site.hits


class TestConsent:
    """What servers ask to leave out."""

    @pytest.mark.parametrize(
        ("path", "marked"),
        [
            ("hls/low/list.m3u8", "list.m3u8"),
            ("hls/low/list.m3u8", ".ts"),
            ("hls/master.m3u8", "high/list.m3u8"),
            ("hls", "master.m3u8"),
            ("dash/manifest.mpd", "manifest.mpd"),
            ("dash/manifest.mpd", ".m4s"),
            ("video", "video"),
        ],
    )
    async def test_marked_answers(self, site: Site, spool: Spool, path: str, marked: str) -> None:
        """Are left out by what any of them says."""
        site.opted_out = (marked,)
        (error,) = await outcomes(spool, [site.url(path)])
        assert isinstance(error, ItemError), error
        assert (error.cause, error.detail) == (
            Cause.OPTED_OUT,
            "the server says X-Robots-Tag: noai",
        )

    async def test_marked_answers_that_are_wanted(self, site: Site, spool: Spool) -> None:
        """Are taken where the user says so."""
        site.opted_out = ("",)
        urls = list(map(site.url, ["hls", "dash/manifest.mpd"]))
        for got in await outcomes(spool, urls, ignore_opt_out=True):
            assert isinstance(got, Fetched), got
            got.close()

    @pytest.mark.parametrize(
        ("path", "forbidden"),
        [("hls/low/list.m3u8", "/hls/low/"), ("video", "/video"), ("hls", "/hls/high/")],
    )
    async def test_robots_txt(self, site: Site, spool: Spool, path: str, forbidden: str) -> None:
        """Holds for pages and playlists too, where the user wants that."""
        site.robots = f"User-agent: *\nDisallow: {forbidden}\n"
        (error,) = await outcomes(spool, [site.url(path)], respect_robots_txt=True)
        assert isinstance(error, ItemError), error
        assert error.cause is Cause.OPTED_OUT
        assert not [hit for hit in site.hits if hit.endswith(("made.mp4", ".ts"))]


class TestRobots:
    """What the robots.txt of hosts forbids that a page leads to."""

    @pytest.mark.parametrize("path", ["away/video", "leads-away", "hls/low/elsewhere.m3u8"])
    async def test_other_hosts(self, site: Site, spool: Spool, path: str) -> None:
        """Are asked for their rules, and for no more than these allow."""
        site.robots = "User-agent: *\nDisallow: /\n"
        site.forbids = _ELSEWHERE
        url = f"http://films.example.com/{path}"
        (error,) = await outcomes(spool, [url], proxy=site.address, respect_robots_txt=True)
        assert isinstance(error, ItemError), error
        assert error.cause is Cause.OPTED_OUT
        assert not [hit for hit in site.hits if hit.endswith(("made.mp4", "part1.ts"))]


class TestPublicPages:
    """Pages of a public name; the site is the proxy that all names are asked through."""

    async def failure(self, site: Site, spool: Spool, path: str) -> ItemError:
        """Why a page of a public name fails."""
        url = f"http://films.example.com/{path}"
        (error,) = await outcomes(spool, [url], proxy=site.address)
        assert isinstance(error, ItemError), error
        return error

    @pytest.mark.parametrize("page", ["leads-here", "leads-to-localhost"])
    async def test_they_name_no_machine_of_this_network(
        self, site: Site, spool: Spool, page: str
    ) -> None:
        """Not even one that a row might name: who writes a page is not who writes the table."""
        error = await self.failure(site, spool, page)
        assert error.cause is Cause.FORBIDDEN_ADDRESS, error
        assert site.hits == {page: 1}

    async def test_nor_do_their_segments(self, site: Site, spool: Spool) -> None:
        """The proxy would ask for them: it is not told."""
        error = await self.failure(site, spool, "hls/low/refused.m3u8")
        assert error.cause is Cause.FORBIDDEN_ADDRESS, error
        assert "169.254.169.254" not in {host for host, _ in site.told}

    @pytest.mark.parametrize("path", ["leads-away", "away/video", "away/hls/low/list.m3u8"])
    async def test_a_login_is_for_one_server(self, site: Site, spool: Spool, path: str) -> None:
        """Others that it leads to are not told, neither as a login nor as where one comes from."""
        site.login = "Basic bWU6czNjcmV0"
        site.needs_login = "films.example.com"
        url = f"http://me:s3cret@films.example.com/{path}"
        got = await fetched(spool, url, proxy=site.address)
        got.close()
        elsewhere = [headers for host, headers in site.told if host == _ELSEWHERE]
        assert elsewhere
        assert not [headers for headers in elsewhere if "s3cret" in headers or "Basic" in headers]

    async def test_they_may_name_their_own(self, site: Site, spool: Spool) -> None:
        """As any other public address."""
        got = await fetched(spool, "http://films.example.com/video", proxy=site.address)
        assert got.media["video"].read() == LOW.data()
        got.close()


async def _want_another_password(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A proxy that refuses, in the words of its kind."""
    is_socks = (await reader.readexactly(1))[0] == 5
    writer.write(b"\5\xff" if is_socks else b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    writer.close()


class TestProxies:
    """What a proxy does is no fault of any page."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No waiting between two tries."""
        monkeypatch.setattr(proxy, "_PAUSE_S", 0.01)

    @pytest.mark.parametrize(
        ("kind", "page"),
        [
            ("http", "http://films.example.com/video"),
            ("http", "https://films.example.com/video"),
            ("socks5h", "http://films.example.com/video"),
        ],
    )
    async def test_one_that_refuses(self, spool: Spool, kind: str, page: str) -> None:
        """Ends the run in a line."""
        async with await asyncio.start_server(_want_another_password, "127.0.0.1", 0) as server:
            through = f"{kind}://me:no@127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(RunError, match="wants another user or password"):
                await outcomes(spool, [page], proxy=through)

    @pytest.mark.parametrize("has_rules", [False, True])
    async def test_one_that_stays_away(self, spool: Spool, *, has_rules: bool) -> None:
        """Ends the run, too, whatever is asked for first."""
        page, through = "http://films.example.com/video", "http://127.0.0.1:1"
        with pytest.raises(RunError, match=r"has not been reached for 0\.1 s"):
            await outcomes(
                spool, [page], proxy=through, host_patience=0.1, respect_robots_txt=has_rules
            )

    @pytest.mark.parametrize("handler", [hang_up, be_silent])
    @pytest.mark.parametrize("kind", ["http", "socks5h"])
    async def test_one_that_says_nothing(self, spool: Spool, kind: str, handler: Handler) -> None:
        """Is none, though somebody is there."""
        async with listening(handler) as address:
            with pytest.raises(RunError, match="has not been reached"):
                await outcomes(
                    spool,
                    ["http://films.example.com/video"],
                    proxy=f"{kind}://{address}",
                    host_patience=0.1,
                    timeout=0.5,
                )

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_pool_of_which_one_refuses(self, spool: Spool, scheme: str) -> None:
        """Is asked again: the row does not fail of it, and the run does not end."""
        asked: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            method, url, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split()
            asked.append(url)
            if asked.count(url) == 1 and "films.example.com" in url:
                status = 407
            else:  # of a page, that there is none
                status = 404 if method == "GET" else 502
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            through = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            page = f"{scheme}://films.example.com/video"
            (error,) = await outcomes(spool, [page], proxy=through, retries=1)
        assert isinstance(error, ItemError)
        assert error.cause is (Cause.HTTP_404 if scheme == "http" else Cause.CONNECT)
        assert error.attempts == 2

    async def test_one_that_comes_back(
        self, files: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Is waited for, which costs no attempt."""
        is_missed = anyio.Event()
        wait_for_proxy = proxy.wait_for_proxy

        async def wait() -> None:
            is_missed.set()
            await wait_for_proxy()

        monkeypatch.setattr(proxy, "wait_for_proxy", wait)
        away, back = Site(files), Site(files)
        away.start()
        through = away.address
        away.stop()
        async with anyio.create_task_group() as tasks:
            got: list[Fetched] = []

            async def fetch() -> None:
                page = "http://films.example.com/video"
                got.append(await fetched(spool, page, proxy=through))

            tasks.start_soon(fetch)
            await is_missed.wait()
            back.start(int(through.rpartition(":")[2]))
        back.stop()
        assert got[0].attempts == 1
        got[0].close()

    async def test_a_page_that_speaks_like_one(self, site: Site, spool: Spool) -> None:
        """Fails alone: it is the page's server that says so."""
        url = "http://films.example.com/status/407"
        (error,) = await outcomes(spool, [url], proxy=site.address)
        assert isinstance(error, ItemError)
        assert error.facts["http_status"] == 407


class TestProcesses:
    """The processes that yt-dlp runs in."""

    async def test_they_are_replaced(self, site: Site, spool: Spool) -> None:
        """After so many videos, and none is lost by that."""
        urls = [site.url("video")] * 2
        got = await outcomes(spool, urls, yt_args={"processes": 1, "recycle_after": 1})
        for one in got:
            assert isinstance(one, Fetched), one
            one.close()

    @pytest.mark.parametrize("path", ["hls/low/list.m3u8", "video"])
    async def test_slow_sites(
        self, site: Site, spool: Spool, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        """Neither hold up other sites nor get more processes, and are not cut off for that."""
        monkeypatch.setattr(pool, "LONG_S", 0.01)
        slow = [f"slow/{number}/{path}" for number in range(3)]
        good = site.url("hls/low/list.m3u8").replace("127.0.0.1", "localhost")
        fetcher = YtdlpFetcher.model_validate({"timeout": 50, "yt_args": {"processes": 1}})
        with anyio.fail_after(_DEADLINE_S):
            async with (
                fetcher.open(equipped(FetchContext(spool, 4))) as fetch,
                anyio.create_task_group() as tasks,
            ):
                for one in slow:
                    tasks.start_soon(_read, fetch, site.url(one))
                await to_thread.run_sync(site.asked_to_wait.wait, _DEADLINE_S)
                await _read(fetch, good)
                assert site.hits.keys() & slow == {slow[0]}
                site.hurry()
        assert site.hits.keys() >= set(slow)

    async def test_segments_that_drip(
        self, site: Site, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Do not keep the only process, and count as a body that stands still."""
        monkeypatch.setattr(least, "_WITHIN_S", 5.0)
        args = {"processes": 1, "slow_processes": 0}
        limits = {"timeout": 5, "stall_timeout": 0.5, "retries": 0}
        fetcher = YtdlpFetcher.model_validate({**limits, "yt_args": args})
        got: list[Fetched | ItemError] = []

        async def drip() -> None:
            got.append(await outcome(fetch, site.url("drip/hls/low/list.m3u8")))

        with anyio.fail_after(_DEADLINE_S):
            async with (
                fetcher.open(equipped(FetchContext(spool, 4))) as fetch,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(drip)
                await to_thread.run_sync(site.asked_to_wait.wait, _DEADLINE_S)
                good = site.url("hls/low/list.m3u8").replace("127.0.0.1", "localhost")
                await _read(fetch, good)
        (error,) = got
        assert isinstance(error, ItemError)
        assert error.cause is Cause.STALLED
        assert "fewer than 200 bytes a second came for 5.5 s" in error.detail

    async def test_pages_that_take_too_long(self, site: Site, spool: Spool) -> None:
        """Take as long again, so there is no further attempt."""
        args = {"extract_timeout": 0.3}
        (error,) = await outcomes(spool, [site.url("silent")], retries=2, yt_args=args)
        assert isinstance(error, ItemError)
        assert (error.cause, error.attempts) == (Cause.TIMEOUT, 1)

    async def test_options_of_yt_dlp(self, site: Site, spool: Spool) -> None:
        """Count more than ours."""
        args = {"ydl_opts": {"format": "worst[height>1000]"}}
        (error,) = await outcomes(spool, [site.url("hls")], yt_args=args)
        assert isinstance(error, ItemError)
        assert error.cause is Cause.NO_FORMAT


class TestRoutes:
    """Which fetcher gets which URL."""

    async def fetch(self, spool: Spool, url: str, fetcher: str = "auto") -> Fetched | ItemError:
        """Fetch one row with a whole configuration."""
        config = build({"reading": {"fetcher": fetcher, "retries": 0, "timeout": 10}})
        with anyio.fail_after(_DEADLINE_S):
            async with open_fetchers(config, FetchContext(spool, 4)) as fetch:
                return await outcome(fetch, url)

    @pytest.mark.parametrize(
        ("path", "asked"),
        [("made.mp4", 1), ("video", 2), ("hls/master.m3u8", 2), ("File:film.webm", 2)],
    )
    async def test_auto(self, site: Site, spool: Spool, path: str, asked: int) -> None:
        """A media file is one request; a page one more; a playlist is known by its name."""
        got = await self.fetch(spool, site.url(path))
        assert isinstance(got, Fetched), got
        assert site.hits[path] == asked
        got.close()

    async def test_a_page_without_video(self, site: Site, spool: Spool) -> None:
        """Is no media: it was one request, and yt-dlp's."""
        got = await self.fetch(spool, site.url("none"))
        assert isinstance(got, ItemError)
        assert (got.cause, got.facts["http_status"]) == (Cause.NOT_MEDIA, 200)
        assert got.detail.startswith("the server sent text/html, a web page; Unsupported URL")

    async def test_a_media_link_that_leads_to_a_page(self, site: Site, spool: Spool) -> None:
        """Is dead: yt-dlp is not asked what the page shows."""
        got = await self.fetch(spool, site.url("gone.mp4"))
        assert isinstance(got, ItemError)
        assert (got.cause, site.hits["gone.mp4"]) == (Cause.NOT_MEDIA, 1)

    async def test_http_alone(self, site: Site, spool: Spool) -> None:
        """Looks into no page."""
        got = await self.fetch(spool, site.url("video"), "http")
        assert isinstance(got, ItemError)
        assert (got.cause, site.hits["video"]) == (Cause.NOT_MEDIA, 1)

    async def test_without_yt_dlp(
        self, site: Site, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pages fail with what to install; all else works."""
        monkeypatch.setattr(ytdlp, "is_installed", lambda: False)
        page = await self.fetch(spool, site.url("video"))
        assert isinstance(page, ItemError)
        assert page.cause is Cause.NOT_INSTALLED
        assert "pip install 'asyncv2d[ytdlp]'" in page.detail
        got = await self.fetch(spool, site.url("made.mp4"))
        assert isinstance(got, Fetched), got
        got.close()
