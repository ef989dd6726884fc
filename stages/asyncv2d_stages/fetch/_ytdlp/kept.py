"""The YoutubeDL that a process keeps for all calls: making one costs more than a page does."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, field

from asyncv2d.types import Cause, ItemError, RunError
from asyncv2d_stages.fetch._hosts.safety import PrivateAddresses
from asyncv2d_stages.fetch._http.least import Least
from asyncv2d_stages.fetch._ytdlp.answers import Answers
from asyncv2d_stages.fetch._ytdlp.causes import explained, full_disk
from asyncv2d_stages.fetch._ytdlp.choice import Choice
from asyncv2d_stages.fetch._ytdlp.clean import clean_text
from asyncv2d_stages.fetch._ytdlp.given_up import GivenUp
from asyncv2d_stages.fetch._ytdlp.guard import guarded, proxy_hosts
from asyncv2d_stages.fetch._ytdlp.robots import PageRobots

# Those that can run the JavaScript with which some sites hide their forms, if they are there.
_JS_RUNTIMES: Mapping[str, Any] = {"deno": {}, "node": {}, "bun": {}, "quickjs": {}}
_LONGEST = 400
IS_BEYOND_LIMIT = "is_beyond_limit"  # among the facts of a failure


class Options(Struct, frozen=True):
    """What a process is asked to do with every video, in so many bytes of ``memory`` at most.

    ``agent`` is the name by which servers may ask to leave files out, and ``robots`` that in their
    robots.txt; None: files are taken anyway.
    """

    choice: Choice
    private_addresses: PrivateAddresses = "auto"
    timeout: float = 60
    retries: int = 2
    agent: str | None = None
    metadata: bool = False
    info: bool = False
    subtitles: str | bool = False
    languages: Sequence[str] = ()
    automatic: bool = False
    further: Mapping[str, Any] = field(default_factory=dict)
    memory: int | None = None
    robots: str | None = None
    least: Least = Least(rate=0, within_s=0)


class _Log:
    """Takes what yt-dlp would print."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.full: RunError | None = None

    def debug(self, message: str) -> None:
        """Not of interest."""

    def warning(self, message: str) -> None:
        """May explain the failure that follows."""
        self.warnings = [*self.warnings[-9:], " ".join(message.split())]

    def error(self, _: str) -> None:
        """Is raised too, but maybe in another thread."""
        if (behind := sys.exception()) is not None:  # not to be kept: it holds on to memory
            self.full = full_disk(behind)

    def clear(self) -> None:
        """Begin anew."""
        self.warnings, self.full = [], None


class Kept:
    """The YoutubeDL of this process."""

    _current: Kept | None = None
    _problem: ImportError | None = None

    def __init__(self, options: Options) -> None:
        import yt_dlp

        self.options = options
        self.log = _Log()
        self._limit: int | None = None
        self.ydl = yt_dlp.YoutubeDL({**_parameters(options), "logger": self.log})
        self.ydl._request_director.preferences.add(_own_handler_first)
        self.ydl.add_progress_hook(self._watch)
        robots = PageRobots(options.robots, self.ydl.urlopen) if options.robots else None
        self.answers = Answers(self.ydl.urlopen, options.agent, robots)
        self.ydl.urlopen = self.answers.open
        self._given_up = GivenUp(self.ydl.trouble, self.answers)
        self.ydl.trouble = self._given_up.trouble

    @classmethod
    def make(cls, options: Options) -> None:
        """Make it, if yt-dlp can be imported."""
        try:
            cls._current = cls(options)
        except ImportError as error:
            cls._problem = error

    @classmethod
    def current(cls) -> Kept:
        """The one that was made. Raises ItemError (not_installed) if it could not be."""
        if cls._current is None:
            raise ItemError(Cause.NOT_INSTALLED, f"yt-dlp cannot be used: {cls._problem}")
        return cls._current

    def ask(self, url: str) -> dict[str, Any]:
        """All that yt-dlp finds out about a page, with forms chosen."""
        info = self.ydl.extract_info(url, download=False)
        if not info:
            raise ItemError(Cause.NOT_MEDIA, "yt-dlp found nothing in the page")
        return dict(info)

    @contextmanager
    def guarded(self, url: str, *, media: bool) -> Iterator[None]:
        """Keep to what a row with this URL may ask for: its ``media``, or what leads there."""
        proxies = proxy_hosts(self.ydl.proxies.values())
        with (
            guarded(self.options.private_addresses, url, proxies),
            self.answers.looked_at(url, media=media),
        ):
            yield

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what yt-dlp raises into an ItemError."""
        from yt_dlp.utils import YoutubeDLError

        self.log.clear()
        self._given_up.last = None
        try:
            yield
        except (ItemError, RunError):
            raise
        except MemoryError as error:
            _let_go(error)
            detail = "what the page describes takes more memory than process_memory allows"
            raise ItemError(Cause.TOO_LARGE, detail) from None
        except (YoutubeDLError, OSError) as error:
            raise full_disk(error) or self._explained(error) from None
        except Exception as error:
            # An extractor may trip over a page with any error, which is no fault of this program;
            # the row says which. What our own code raises goes on, and becomes ``bug``. (``from
            # None``, here as above: the error holds the page, which may fill all memory.)
            if not _is_of_ytdlp(error):
                raise
            detail = clean_text(f"yt-dlp broke: {type(error).__name__}: {error}")[:_LONGEST]
            raise ItemError(Cause.EXTRACTOR_FAILED, detail) from None

    def last_failure(self) -> ItemError | RunError:
        """Why the segments did not come, though yt-dlp raised something else or nothing."""
        if self.log.full is not None:
            return self.log.full
        if self._given_up.last is None:
            return ItemError(Cause.TRUNCATED, "not all segments could be downloaded")
        return self._explained(self._given_up.last)

    def _explained(self, error: Exception) -> ItemError:
        """The cause behind ``error``; yt-dlp may have kept nothing but the text of what it was."""
        self._given_up.tell_why(error)
        return explained(error, self.log.warnings)

    @contextmanager
    def limited(self, limit: int | None) -> Iterator[None]:
        """Stop a download that is larger than ``limit``."""
        self._limit = limit
        try:
            yield
        finally:
            self._limit = None

    def _watch(self, progress: Mapping[str, Any]) -> None:
        if self._limit is not None and (progress.get("downloaded_bytes") or 0) > self._limit:
            detail = f"the body is larger than max_bytes or what is free ({self._limit})"
            raise ItemError(Cause.TOO_LARGE, detail, **{IS_BEYOND_LIMIT: True})


def _own_handler_first(handler: Any, _: Any) -> int:
    """Yt-dlp's own way to make requests goes before that of a package that happens to be installed.

    What it reads is bounded in all places; only what asks for a browser's ways goes before it.
    """
    return 200 if handler.RH_KEY == "Urllib" else 0


def _let_go(error: BaseException | None) -> None:
    """Free what the functions that failed still hold: else there is no memory to say so with."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__context__


def _is_of_ytdlp(error: BaseException) -> bool:
    """Whether an error was raised in yt-dlp's code, which meets sites that it does not know yet."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in (
            "yt_dlp",
            "asyncv2d",
            "asyncv2d_stages",
        ):  # else it was called by one of them
            return package == "yt_dlp"
    return False


def _parameters(options: Options) -> dict[str, Any]:
    """Yt-dlp's options: ours, but the user's own count."""
    return {
        "quiet": True,
        "no_warnings": False,
        "noprogress": True,
        "color": "never",
        "format": options.choice,
        "ignore_no_formats_error": not options.choice.wants,
        "noplaylist": True,
        "playlist_items": "1",
        "cachedir": False,
        "socket_timeout": options.timeout,
        "retries": options.retries,
        "extractor_retries": 1,
        "fragment_retries": options.retries,
        "skip_unavailable_fragments": False,
        "concurrent_fragment_downloads": 4,
        "writesubtitles": bool(options.subtitles),
        "writeautomaticsub": bool(options.subtitles) and options.automatic,
        "subtitleslangs": list(options.languages) or None,
        "subtitlesformat": "vtt/srt/best",
        # No other program has a part in downloads, even where one is installed: results must not
        # depend on that.
        "external_downloader": {"default": "native"},
        "ffmpeg_location": "/nonexistent/no-ffmpeg-wanted",
        "fixup": "never",
        "js_runtimes": _JS_RUNTIMES,
        **options.further,
        # Without these, failures would not be noticed or files not be found.
        "ignoreerrors": False,
        "simulate": False,
        "skip_download": True,
        "nopart": True,
        "overwrites": True,
    }
