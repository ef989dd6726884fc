"""The parts of the fetcher of pages that need no site: what is chosen, said, claimed and paced."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncv2d.types import Cause, ItemError, RunError
from asyncv2d_stages.fetch._ytdlp import claims
from asyncv2d_stages.fetch._ytdlp.captions import read_captions
from asyncv2d_stages.fetch._ytdlp.causes import explained
from asyncv2d_stages.fetch._ytdlp.choice import Choice
from asyncv2d_stages.fetch._ytdlp.claims import site_of
from asyncv2d_stages.fetch._ytdlp.guard import RefusedError, guarded, proxy_hosts
from asyncv2d_stages.fetch._ytdlp.kept import Kept, Options
from asyncv2d_stages.fetch._ytdlp.sites import Sites
from asyncv2d_stages.fetch.ytdlp import YtdlpFetcher

BOTH = frozenset({"video", "audio"})


def picture(name: str, height: int | None, **further: Any) -> dict[str, Any]:
    """A form with a picture alone."""
    known = {"format_id": name, "height": height, "vcodec": "avc1", "acodec": "none", "ext": "mp4"}
    return {**known, "protocol": "https", **further}


def sound(name: str, rate: int | None, **further: Any) -> dict[str, Any]:
    """A form with sound alone."""
    known = {"format_id": name, "asr": rate, "vcodec": "none", "acodec": "mp4a", "ext": "m4a"}
    return {**known, "protocol": "https", **further}


def muxed(name: str, height: int | None, **further: Any) -> dict[str, Any]:
    """A form with both."""
    return picture(name, height, acodec="mp4a", **further)


LIKE_YOUTUBE = [
    {**picture("sb0", 27), "protocol": "mhtml", "vcodec": "none"},
    sound("139", 22050),
    sound("251", 48000, ext="webm"),
    sound("140-dub", 44100, language_preference=-1),
    sound("140", 44100, language_preference=10),
    picture("160", 144),
    muxed("93", 360, protocol="m3u8_native"),
    picture("243", 360, ext="webm", vcodec="vp9"),
    picture("396", 360, vcodec="av01"),
    picture("134", 360),
    picture("136", 720),
    picture("401", 2160, ext="webm", vcodec="vp9"),
]


class TestChoice:
    """Which forms are downloaded."""

    @pytest.mark.parametrize(
        ("formats", "size", "rate", "wants", "expected"),
        [
            (LIKE_YOUTUBE, 360, 44100, BOTH, ["134", "140"]),
            (LIKE_YOUTUBE, 361, 44100, BOTH, ["136", "140"]),
            (LIKE_YOUTUBE, 1080, 44100, BOTH, ["401", "140"]),
            (LIKE_YOUTUBE, 4320, 44100, BOTH, ["401", "140"]),
            (LIKE_YOUTUBE, 360, 44100, {"audio"}, ["140"]),
            (LIKE_YOUTUBE, 360, 44100, {"video"}, ["134"]),
            ([sound("a", 22050), sound("b", 48000), picture("v", 360)], 1, 0, BOTH, ["v", "b"]),
            ([sound("a", 22050), sound("b", 44100)], 1, 44100, BOTH, ["b"]),
            ([sound("a", 22050)], 1, 44100, BOTH, ["a"]),
            ([sound("a", 22050)], 1, 44100, {"video"}, []),
            ([muxed("low", 240), muxed("high", 480)], 360, 44100, BOTH, ["high"]),
            ([muxed("low", 240), muxed("high", 480)], 360, 44100, {"audio"}, ["low"]),
            ([{"format_id": "0", "protocol": "http"}], 360, 44100, BOTH, ["0"]),
            ([picture("mute", 360)], 360, 44100, BOTH, ["mute"]),
            ([picture("rtmp", 360, protocol="rtmp")], 360, 44100, BOTH, []),
            ([picture("drm", 360, protocol="m3u8_native", has_drm=True)], 360, 44100, BOTH, []),
        ],
    )
    def test_of(self, formats: Any, size: int, rate: int, wants: Any, expected: list[str]) -> None:
        """The smallest that is large enough, and of those the one that is the least trouble."""
        chosen = Choice(size, rate, frozenset(wants)).of(formats)
        assert [item["format_id"] for item in chosen] == expected


AUTOMATIC = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.310 align:start position:0%
~
so<00:00:00.400><c> today</c><00:00:00.800><c> we</c>

00:00:02.310 --> 00:00:02.320 align:start position:0%
so today we
~

00:00:02.320 --> 00:00:04.000 align:start position:0%
so today we
go<00:00:02.600><c> out</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
go out
~
""".replace("~", " ")  # a line of a space is no end of a cue
ROLLING = """WEBVTT

00:00.000 --> 00:02.000
one

00:02.000 --> 00:04.000
one
two

00:04.000 --> 00:06.000
two
three
"""
SUBRIP = """1
00:00:01,5 --> 00:00:02,000
<b>Bold</b> &lt;3

2
01:00:00,000 --> 01:00:01,000
- a
- b
""".replace("\n", "\r\n")
NOTED = "\ufeffWEBVTT\n\nNOTE 00:00.000 --> 00:01.000\nno\n\nid\n00:00.000 --> 00:01.000\nyes\n"
CHORUS = "WEBVTT\n\n00:00.000 --> 00:01.000\nla\n\n00:05.000 --> 00:06.000\nla\n"


class TestCaptions:
    """Subtitles as video2dataset writes them."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (AUTOMATIC, [("00.160", "02.320", ["so today we"]), ("02.320", "04.010", ["go out"])]),
            (
                ROLLING,
                [
                    ("00.000", "02.000", ["one"]),
                    ("02.000", "04.000", ["two"]),
                    ("04.000", "06.000", ["three"]),
                ],
            ),
            (NOTED, [("00.000", "01.000", ["yes"])]),
            ("WEBVTT", []),
            ("", []),
            ("<html>no</html>", []),
        ],
    )
    def test_read(self, text: str, expected: list[Any]) -> None:
        """Each line once, with all of its time."""
        assert read_captions(text) == [
            {"start": f"00:00:{start}", "end": f"00:00:{end}", "lines": lines}
            for start, end, lines in expected
        ]

    def test_subrip(self) -> None:
        """Is understood too."""
        assert read_captions(SUBRIP) == [
            {"start": "00:00:01.500", "end": "00:00:02.000", "lines": ["Bold <3"]},
            {"start": "01:00:00.000", "end": "01:00:01.000", "lines": ["- a", "- b"]},
        ]

    def test_what_people_say_twice(self) -> None:
        """Stays, where captions do not roll."""
        assert [caption["lines"] for caption in read_captions(CHORUS)] == [["la"], ["la"]]


class TestCauses:
    """What sites say."""

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("Sign in to confirm you’re not a bot. Use --cookies-from-browser", "login_required"),
            ("Sign in to confirm your age. This video may be inappropriate", "age_restricted"),
            ("Private video. Sign in if you've been granted access to this video", "private"),
            ("This video is private", "private"),
            ("This video is protected by a password, use the --video-password option", "private"),
            ("Video unavailable. This video has been removed by the uploader", "unavailable"),
            ("Video unavailable. This account has been terminated", "unavailable"),
            ("Video unavailable", "unavailable"),
            (
                "Video unavailable. The uploader has not made this video available in your country",
                "geo_blocked",
            ),
            (
                "This video is not available from your location due to geo restriction",
                "geo_blocked",
            ),
            ("This live event will begin in 3 days.", "live"),
            ("Premieres in 2 hours", "live"),
            ("The channel is not currently live", "live"),
            ("Join this channel to get access to members-only content", "login_required"),
            ("This video is only available for registered users", "login_required"),
            (
                "The current session has been rate-limited by YouTube for up to an hour",
                "rate_limited",
            ),
            ("HTTP Error 429: Too Many Requests", "rate_limited"),
            ("Unable to download webpage: HTTP Error 404: Not Found", "http_404"),
            ("Unable to download webpage: HTTP Error 410: Gone", "http_404"),
            ("Unable to download API page: HTTP Error 403: Forbidden", "http_403"),
            ("Unable to download webpage: HTTP Error 502: Bad Gateway", "http_5xx"),
            ("No video formats found!", "no_format"),
            ("Requested format is not available. Use --list-formats", "no_format"),
            ("This video is DRM protected", "no_format"),
            ("Unsupported URL: http://example.com/", "not_media"),
            ("Unable to extract player version; please report this issue", "extractor_failed"),
            ("Failed to parse JSON", "extractor_failed"),
            ("Unable to download webpage: timed out", "timeout"),
            ("[Errno -3] Temporary failure in name resolution", "dns"),
        ],
    )
    def test_of_text(self, text: str, cause: str) -> None:
        """Each has the cause that tells what to do."""
        assert explained(Exception(text), []).cause == cause

    def test_the_text_itself(self) -> None:
        """Says what the site says, no more, and no secret."""
        error = explained(
            Exception(
                "\x1b[0;31mERROR:\x1b[0m Video unavailable at http://me:secret@example.com/a;"
                " please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling"
            ),
            [],
        )
        assert error.detail == "Video unavailable at http://***@example.com/a"

    def test_robots(self) -> None:
        """A site that asks if it is a person is to be left alone, one that wants a login is not."""
        robot = explained(Exception("Sign in to confirm you’re not a bot"), [])
        login = explained(Exception("Sign in to see it"), [])
        assert robot.cause is login.cause is Cause.LOGIN_REQUIRED
        assert (robot.facts.get("robot"), login.facts.get("robot")) == (True, None)

    def test_an_extractor_that_breaks(self) -> None:
        """What it did not expect of the site is no mistake of ours; what we did not expect is."""
        from yt_dlp.utils import parse_m3u8_attributes

        kept = Kept(Options(Choice(360, 44100, frozenset())))
        with pytest.raises(ItemError) as caught, kept.explaining():
            parse_m3u8_attributes(3)
        assert caught.value.cause is Cause.EXTRACTOR_FAILED
        with pytest.raises(TypeError), kept.explaining():
            raise TypeError

    def test_all_that_yt_dlp_may_raise(self) -> None:
        """Is no mistake of ours either, of whatever kind it is, and its kind is said."""
        from yt_dlp.utils import dfxp2srt, parse_filesize

        kept = Kept(Options(Choice(360, 44100, frozenset())))
        with pytest.raises(ItemError, match="OverflowError") as caught, kept.explaining():
            parse_filesize("9" * 400 + "MB")
        assert caught.value.cause is Cause.EXTRACTOR_FAILED
        with pytest.raises(ItemError, match="ParseError") as caught, kept.explaining():
            dfxp2srt(b"<")
        assert caught.value.cause is Cause.EXTRACTOR_FAILED

    def test_a_full_disk(self) -> None:
        """Is no fault of the row, however yt-dlp wraps it; what a site says of it is none."""
        from yt_dlp.utils import DownloadError

        kept = Kept(Options(Choice(360, 44100, frozenset())))
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(RunError, match="No space left"), kept.explaining():
            raise DownloadError("unable to write", (OSError, full, None))
        with pytest.raises(ItemError), kept.explaining():
            raise DownloadError("[Errno 28] No space left on device, says the site")

    def test_one_that_was_only_printed(self) -> None:
        """Is found as well: segments are fetched in threads of yt-dlp's."""
        kept = Kept(Options(Choice(360, 44100, frozenset())))
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            kept.log.error(str(error))
        assert isinstance(kept.last_failure(), RunError)

    def test_a_warning_that_explains_it(self) -> None:
        """Stands behind the error."""
        error = explained(Exception("No video formats found!"), ["No JavaScript runtime"])
        assert error.detail == "No video formats found! (before that: No JavaScript runtime)"


class TestClaims:
    """Which URLs yt-dlp has an extractor of its own for."""

    @pytest.mark.parametrize(
        ("url", "site"),
        [
            ("https://www.youtube.com/watch?v=BaW_jenozKc", "youtube"),
            ("https://youtu.be/BaW_jenozKc", "youtube"),
            ("https://m.youtube.com/shorts/BaW_jenozKc", "youtube"),
            ("https://vimeo.com/76979871", "vimeo"),
            ("https://www.tiktok.com/@a/video/7206382937372134662", "tiktok"),
            ("https://x.com/a/status/665052190608723968", "twitter"),
            ("https://www.dailymotion.com/video/x5kesuj", "dailymotion"),
            ("https://www.bilibili.com/video/BV13x41117TL", "bilibili"),
            ("https://archive.org/details/XD300-23_68HighlightsAResearchCntAug", "archiveorg"),
            ("https://example.com/watch?v=BaW_jenozKc", None),
            ("https://cdn.example.org/v?id=3", None),
            ("https://storage.googleapis.com/bucket/object", None),
            ("http://127.0.0.1/watch", None),
            ("http://localhost/watch", None),
            ("http://[::1", None),
            ("", None),
        ],
    )
    def test_site(self, url: str, site: str | None) -> None:
        """By the URL alone."""
        assert site_of(url) == site
        assert YtdlpFetcher().claims(url) == (site is not None)

    def test_as_yt_dlp_itself_says(self) -> None:
        """For every address that it names as an example and that is of this kind."""
        from yt_dlp.extractor import gen_extractor_classes

        urls = [
            test["url"]
            for extractor in gen_extractor_classes()[:400]
            if extractor.ie_key() != "Generic" and extractor._VALID_URL
            for test in [next(iter(extractor.get_testcases()), None)]
            if test is not None and test["url"].startswith("http")
        ]
        missed = [url for url in urls if site_of(url) is None]
        assert len(missed) < len(urls) / 20, missed

    def test_a_pattern_that_broods(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Over a URL that was made for it, is left to yt-dlp: here it would stop everything."""
        listing = tmp_path / "lazy_extractors.py"
        listing.write_text(
            "class MadeIE(LazyLoadExtractor):\n"
            "    _module = 'yt_dlp.extractor.made'\n"
            "    _VALID_URL = 'https?://made\\\\.example/(?:(?:a|b|ab)*c?)*$'\n"
        )
        monkeypatch.setattr(claims, "_listing", lambda: listing)
        for kept in (claims._table, claims._candidates):
            kept.cache_clear()
        try:
            assert site_of("http://made.example/c") == "made"
            assert site_of("http://made.example/d") is None
            assert site_of("http://made.example/" + "ab" * 100 + "d") == "made"
        finally:
            for kept in (claims._table, claims._candidates):
                kept.cache_clear()

    @pytest.mark.parametrize("path", ["a.m3u8", "a.mpd?token=1", "a.ism/Manifest"])
    def test_playlists_of_segments(self, path: str) -> None:
        """Are for yt-dlp, whoever's they are."""
        assert YtdlpFetcher().claims(f"https://cdn.example.org/{path}")


class TestGuard:
    """Where yt-dlp may connect to."""

    @pytest.fixture(autouse=True)
    def names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Names and their addresses."""
        known = {
            "site.example.com": ["93.184.216.34"],
            "trick.example.com": ["127.0.0.1"],
            "both.example.com": ["10.0.0.1", "93.184.216.34"],
            "localhost": ["127.0.0.1"],
            "proxy": ["10.0.0.7"],
        }

        def look_up(host: str, *_: Any) -> list[Any]:
            return [(2, 1, 6, "", (address, 80)) for address in known.get(host, [host])]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    @pytest.mark.parametrize(
        ("row", "host", "addresses"),
        [
            ("https://site.example.com/", "site.example.com", ["93.184.216.34"]),
            ("https://site.example.com/", "trick.example.com", None),
            ("https://site.example.com/", "both.example.com", ["93.184.216.34"]),
            ("https://site.example.com/", "127.0.0.1", None),
            ("https://site.example.com/", "localhost", None),
            ("https://site.example.com/", "169.254.169.254", None),
            ("https://site.example.com/", "proxy", ["10.0.0.7"]),
            ("http://localhost:8000/", "localhost", ["127.0.0.1"]),
            ("http://127.0.0.1/", "127.0.0.1", ["127.0.0.1"]),
            ("http://127.0.0.1/", "169.254.169.254", None),
            ("http://127.0.0.1/", "trick.example.com", None),
        ],
    )
    def test_it(self, row: str, host: str, addresses: list[str] | None) -> None:
        """A page that anyone may read does not lead into this network; one that lies there does."""
        with guarded("auto", row, {"proxy"}):
            if addresses is None:
                with pytest.raises(RefusedError) as caught:
                    socket.getaddrinfo(host, 80)
                assert explained(caught.value, []).cause is Cause.FORBIDDEN_ADDRESS
            else:
                found = socket.getaddrinfo(host, 80)
                assert [entry[4][0] for entry in found] == addresses

    def test_proxies(self) -> None:
        """Are the hosts that the user named."""
        assert proxy_hosts(["http://me:x@Proxy:3128", "", "socks5://1.2.3.4"]) == {
            *("proxy", "1.2.3.4")
        }


OBJECTION = ItemError(Cause.RATE_LIMITED, "slow down")


class Clock:
    """A time that only sleep moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def time(self) -> float:
        """What it is now."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move it on at once."""
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.mark.anyio
class TestSites:
    """The pace at which sites are asked."""

    def sites(self, per_hour: int | None = None, pause: float = 100.0) -> tuple[Sites, Clock]:
        """Sites on a clock of their own."""
        clock = Clock()
        return Sites(per_hour, pause, clock.time, clock.sleep), clock

    async def test_a_budget_of_an_hour(self) -> None:
        """Holds for each site, and for none that is not counted."""
        sites, clock = self.sites(per_hour=2)
        for _ in range(2):
            await sites.turn("a", counted=True)
            await sites.turn("b", counted=True)
            clock.now += 10
        for _ in range(5):
            await sites.turn("c", counted=False)
        assert clock.slept == []
        await sites.turn("a", counted=True)
        assert clock.slept == [3580.0]

    async def test_the_order_of_turns(self) -> None:
        """Is that in which they were asked for, however many wait."""
        clock, served = Clock(), list[int]()

        async def sleep(seconds: float) -> None:
            await anyio.lowlevel.checkpoint()  # all that can come in between does
            await clock.sleep(seconds)

        sites = Sites(2, 100.0, clock.time, sleep)

        async def ask(number: int) -> None:
            await sites.turn("a", counted=True)
            served.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, number)
        assert served == list(range(20))
        assert sum(clock.slept) == 9 * 3600

    async def test_a_pause(self) -> None:
        """Doubles while a site objects; others go on; an answer ends it."""
        sites, clock = self.sites()
        for _ in range(3):
            sites.objected("a", OBJECTION, clock.now)
            await sites.turn("b", counted=False)
            await sites.turn("a", counted=False)
        assert clock.slept == [100.0, 200.0, 400.0]
        sites.answered("a")
        await sites.turn("a", counted=False)
        assert clock.slept == [100.0, 200.0, 400.0]

    async def test_a_pause_that_the_site_names(self) -> None:
        """Counts if it is longer, up to an hour."""
        sites, clock = self.sites()
        for name, asked in {"a": 500.0, "b": 5.0, "c": 1e6}.items():
            objection = ItemError(Cause.RATE_LIMITED, "later", retry_after_s=asked)
            sites.objected(name, objection, clock.now)
            await sites.turn(name, counted=False)
        assert clock.slept == [500.0, 100.0, 3600.0]

    async def test_many_rows_at_once(self) -> None:
        """Count as one objection, and then try one after the other."""
        sites, clock = self.sites()
        began = clock.now
        clock.now += 1
        for _ in range(50):
            sites.objected("a", OBJECTION, began)
        await sites.turn("a", counted=False)
        await sites.turn("a", counted=False)
        assert clock.slept == [100.0, 10.0]

    async def test_one_that_never_gives_in(self) -> None:
        """Fails rows at once in the end, and is tried again after each pause."""
        sites, clock = self.sites()
        for _ in range(4):
            await sites.turn("a", counted=False)
            sites.objected("a", OBJECTION, clock.now)
        with pytest.raises(ItemError, match="a refused 4 times in a row: slow down") as caught:
            await sites.turn("a", counted=False)
        assert caught.value.cause is Cause.RATE_LIMITED
        clock.now += 800
        await sites.turn("a", counted=False)
        sites.answered("a")
        await sites.turn("a", counted=False)

    async def test_it_forgets(self) -> None:
        """Sites that answer cost nothing."""
        sites, clock = self.sites()
        for number in range(1000):
            await sites.turn(str(number), counted=False)
            sites.answered(str(number))
        sites.objected("a", OBJECTION, clock.now)
        sites.answered("a")
        assert not sites._sites
