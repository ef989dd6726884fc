"""The real yt-dlp, and segments that are of another kind than the others, or change on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest
from aiohttp import web

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from asyncv2d_stages.fetch._ytdlp import packed_audio
from asyncv2d_stages.fetch._ytdlp.segment_end import End
from asyncv2d_stages.fetch._ytdlp.segment_kind import Alike, is_no_media, kind_of
from tests.unit.fetch.test_ytdlp_site import (
    LOW,
    Site,
    frames,
    outcomes,
    seconds_of_sound,
    write_segments,
)

pytestmark = pytest.mark.anyio

_PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))
_GIF = b"GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0;"
_PAGE = "<html>Köln</html>".encode("latin-1")
_NOISE = b"\xff\xfe\0noise" * 188
_FILES = {"ts": "hls/ts/part2.ts", "m4": "hls/m4/part2.m4s", "aac": "hls/aac/part1.aac"}


class ChangingSite(Site):
    """A site where one file is another for the first times that it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = ""
        self.other = b""
        self.times = 1
        self.rest = ""  # how what comes behind a broken-off half is sent

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path != self.path or not self.rest or self.hits[path] > 1:
            return await super()._answer(request)
        self.hits[path] += 1
        if self.hits[path] == 1:
            return await self._break_off(request, "cut", path)
        return self._rest(path, int(request.headers["Range"].partition("=")[2].strip("-")))

    def _rest(self, path: str, begin: int) -> web.StreamResponse:
        """Half of the rest as if it were all, or all of it as if it were something else."""
        data = (self._folder / path).read_bytes()
        if self.rest == "unsaid":
            return web.Response(status=206, body=data[begin:])
        end = (begin + len(data)) // 2 | 1
        place = f"bytes {begin}-{end - 1}/{end}"
        return web.Response(status=206, body=data[begin:end], headers={"Content-Range": place})

    def _as_told(self, path: str) -> web.StreamResponse:
        if path == self.path and not self.rest and self.hits[path] <= self.times:
            return web.Response(body=self.other, content_type="video/mp2t")
        return super()._as_told(path)


@cache
def packed_sound(kind: str) -> bytes:
    """Sound that is nothing but its frames, in a format of FFmpeg's."""
    codec = {"mp3": "libmp3lame"}.get(kind, kind)
    video = LOW if kind == "adts" else MadeVideo(scenes(2), codec="mpeg4", audio=codec)
    file = io.BytesIO()
    options = {"write_xing": "0", "id3v2_version": "0"} if kind == "mp3" else {}
    with (
        av.open(io.BytesIO(video.data()), "r") as source,
        av.open(file, "w", format=kind, options=options) as output,
    ):
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def in_parts(data: bytes, number: int) -> list[bytes]:
    """So many parts of whole frames."""
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        length = packed_audio.length(data[at : at + packed_audio.ENOUGH])
        assert length, at
        at += length
    firsts = [starts[len(starts) * part // number] for part in range(number)]
    return [data[first:end] for first, end in zip(firsts, [*firsts[1:], len(data)], strict=True)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in segments of two kinds, and its sound."""
    folder = tmp_path_factory.mktemp("site")
    for kind, end, further in (
        ("ts", "ts", {}),
        ("m4", "m4s", {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"}),
    ):
        place = folder / "hls" / kind
        pattern = {"hls_segment_filename": str(place / f"part%d.{end}")}
        options = {"hls_time": "1", "hls_list_size": "0", **pattern, **further}
        write_segments(LOW, place / "list.m3u8", "hls", options)
    place = folder / "hls" / "aac"
    place.mkdir()
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for number, part in enumerate(in_parts(packed_sound("adts"), 3)):
        (place / f"part{number}.aac").write_bytes(part)
        lines += ["#EXTINF:1.2,", f"part{number}.aac"]
    (place / "list.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST"]))
    return folder


@pytest.fixture
def site(files: Path) -> Iterator[ChangingSite]:
    """A site of its own for each test."""
    with ChangingSite(files) as site:
        yield site


async def _one(site: Site, spool: Spool, kind: str, **settings: Any) -> Fetched | ItemError:
    (got,) = await outcomes(spool, [site.url(f"hls/{kind}/list.m3u8")], **settings)
    return got


@pytest.mark.parametrize("kind", ["ts", "m4"])
@pytest.mark.parametrize("other", [_PICTURE, _GIF, _PAGE], ids=["picture", "gif", "page"])
async def test_what_is_no_media(site: ChangingSite, spool: Spool, kind: str, other: bytes) -> None:
    """In the place of one segment, is asked for again by itself, whatever type it is sent as."""
    site.path, site.other = _FILES[kind], other
    fetched = await _one(site, spool, kind, retries=1)
    assert isinstance(fetched, Fetched), fetched
    assert (frames(fetched), fetched.attempts) == (list(range(35)), 1)
    fetched.close()


@pytest.mark.parametrize("kind", ["ts", "m4"])
@pytest.mark.parametrize("other", [_NOISE, LOW.data()], ids=["noise", "whole"])
async def test_what_is_media_of_another_kind(
    site: ChangingSite, spool: Spool, kind: str, other: bytes
) -> None:
    """Is asked for again, and never put together with the others."""
    site.path, site.other = _FILES[kind], other
    fetched = await _one(site, spool, kind, retries=2)
    assert isinstance(fetched, Fetched), fetched
    assert frames(fetched) == list(range(35))
    fetched.close()
    site.times = 1 << 20
    error = await _one(site, spool, kind)
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.TRUNCATED


@pytest.mark.parametrize("size", [0, 3 * 188])
async def test_packets_that_turn_to_zeros(
    site: ChangingSite, spool: Spool, files: Path, size: int
) -> None:
    """Behind a good start; the segment has the right length."""
    good = (files / _FILES["ts"]).read_bytes()
    site.path, site.other, site.times = _FILES["ts"], good[:size].ljust(len(good), b"\0"), 1
    fetched = await _one(site, spool, "ts", retries=1)
    assert isinstance(fetched, Fetched), fetched
    assert frames(fetched) == list(range(35))
    fetched.close()


@pytest.mark.parametrize("tail", [b"\r\n", bytes(7), bytes(100)], ids=len)
async def test_bytes_behind_the_packets(
    site: ChangingSite, spool: Spool, files: Path, tail: bytes
) -> None:
    """Are no harm."""
    site.path, site.times = _FILES["ts"], 1 << 20
    site.other = (files / _FILES["ts"]).read_bytes() + tail
    fetched = await _one(site, spool, "ts")
    assert isinstance(fetched, Fetched), fetched
    assert frames(fetched) == list(range(35))
    fetched.close()


@pytest.mark.parametrize("how", ["half", "noise", "zeros"])
async def test_packed_sound(site: ChangingSite, spool: Spool, files: Path, how: str) -> None:
    """A part of it that is cut off, or something else, is asked for again."""
    good = (files / _FILES["aac"]).read_bytes()
    others = {"half": good[: len(good) // 2], "noise": _NOISE, "zeros": good[:400] + bytes(4000)}
    site.path, site.other = _FILES["aac"], others[how]
    fetched = await _one(site, spool, "aac", retries=2)
    assert isinstance(fetched, Fetched), fetched
    assert seconds_of_sound(fetched) == pytest.approx(3.5, abs=0.1)
    fetched.close()
    site.times = 1 << 20
    error = await _one(site, spool, "aac")
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.TRUNCATED


@pytest.mark.parametrize("kind", ["ts", "m4", "aac"])
@pytest.mark.parametrize("rest", ["short", "unsaid"])
async def test_the_rest_of_what_broke_off(
    site: ChangingSite, spool: Spool, kind: str, rest: str
) -> None:
    """Has to reach the segment's end, and to be the rest; else all of it is asked for again."""
    site.path, site.rest = _FILES[kind], rest
    fetched = await _one(site, spool, kind, retries=2)
    assert isinstance(fetched, Fetched), fetched
    assert (site.hits[site.path], fetched.attempts) == (3, 1)
    if kind == "aac":
        assert seconds_of_sound(fetched) == pytest.approx(3.5, abs=0.1)
    else:
        assert frames(fetched) == list(range(35))
    fetched.close()


def _end(data: bytes, step: int) -> End:
    end = End(data[:1024])
    for at in range(0, len(data), step):
        end.take(data[at : at + step])
    return end


@pytest.mark.parametrize("step", [1, 100, 187, 188, 189, 1 << 20])
def test_the_end_of_packets(step: int) -> None:
    """Is known in whatever pieces they come; a few bytes of something else may follow."""
    packet = b"G" + b"x" * 187
    for data, is_missing, is_lost in (
        (3 * packet, False, False),
        (3 * packet + packet[:1], True, False),
        (3 * packet + packet[:-1], True, False),
        (3 * packet + b"\r\n", False, False),
        (3 * packet + bytes(187), False, False),
        (3 * packet + bytes(188), False, True),
        (3 * packet + bytes(188) + 3 * packet, False, True),
    ):
        end = _end(data, step)
        assert (end.is_missing, end.is_lost) == (is_missing, is_lost), len(data)


@pytest.mark.parametrize("kind", ["adts", "mp3", "ac3", "eac3"])
@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_the_end_of_frames(kind: str, step: int) -> None:
    """Is known, with tags before and behind them."""
    tag = b"ID3\4\0\0\0\0\1\2" + bytes(130)
    data = packed_sound(kind)
    assert kind_of(data[:1024]) == "sound"
    for start in (b"", tag, 2 * tag):
        assert not _end(start + data, step).is_missing
        assert _end(start + data[:-1], step).is_missing
        assert _end(start + data[:1000], step).is_missing
        for tail, is_lost in ((b"TAG".ljust(128), False), (bytes(3000), True)):
            end = _end(start + data + tail, step)
            assert (end.is_missing, end.is_lost) == (False, is_lost)


def test_the_length_of_frames() -> None:
    """Of AC-3, by its rates; of what is none of any format, there is none."""
    for header, length in {
        "0b77 0000 00 40": 128,
        "0b77 0000 25 40": 2560,
        "0b77 0000 40 40": 138,
        "0b77 0000 41 40": 140,
        "0b77 0000 80 48": 192,
        "0b77 0000 c0 40": 0,
        "0b77 0000 26 40": 0,
        "0b77 05ff 00 80": 3072,
        "0b77 05ff 00 88": 0,
    }.items():
        assert packed_audio.length(bytes.fromhex(header).ljust(10, b"\0")) == length, header


def test_what_is_in_boxes() -> None:
    """Is told of fragments and whole files; what a row begins with is neither."""
    moov, moof, mdat, empty = (
        *(b"\0\0\0\x14moov" + bytes(12), b"\0\0\0\x14moof" + bytes(12)),
        *(b"\0\0\0\x14mdat" + bytes(12), b"\0\0\0\x08mdat"),
    )
    contents = [_end(data, 3).content for data in (moov, moov + empty, moov + mdat, moof + mdat)]
    assert contents == [None, None, "a whole MP4", "fragments of MP4"]


def test_kinds() -> None:
    """Are known by the first bytes; of some formats nothing is."""
    for start, kind in {
        b"G" + bytes(187): "MPEG-TS",
        b"G" + bytes(187) + b"G": "MPEG-TS",
        b"G" + bytes(200): None,
        _GIF: None,
        _NOISE: None,
        _PICTURE: None,
        _PAGE: None,
        b"\0\0\0\x10abcd" + bytes(8): "MP4",
        b"\0\0\1\0moof": "MP4",
        b"\x0b\x77" + bytes(30): "sound",
        b"\x1a\x45\xdf\xa3": "WebM",
        bytes(range(100, 200)): None,
    }.items():
        assert kind_of(start) == kind, start
        assert is_no_media(start) == (start in (_GIF, _PICTURE, _PAGE)), start


def test_the_first_that_is_known() -> None:
    """Tells what all the others are; what came before it is found out in the end."""
    kinds = Alike()
    assert kinds.expected("MP4") is kinds.expected("MP4") is None
    assert kinds.expected("MPEG-TS") == kinds.expected(None) == "MP4"
    kinds.check()
    unknown = Alike()
    assert unknown.expected(None) is unknown.expected(None) is None
    unknown.check()
    assert unknown.expected("MP4") is None
    with pytest.raises(ItemError, match="none of MP4") as caught:
        unknown.check()
    assert caught.value.cause is Cause.TRUNCATED
