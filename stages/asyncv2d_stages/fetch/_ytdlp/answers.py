"""What yt-dlp is answered, looked at before yt-dlp sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from http.client import HTTPResponse
from threading import local
from typing import Any
from urllib.parse import urlsplit

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.consent import refusal
from asyncv2d_stages.fetch._ytdlp.bounds import bounded, read_whole
from asyncv2d_stages.fetch._ytdlp.causes import refused
from asyncv2d_stages.fetch._ytdlp.claims import is_manifest
from asyncv2d_stages.fetch._ytdlp.instead import instead
from asyncv2d_stages.fetch._ytdlp.robots import PageRobots
from asyncv2d_stages.fetch._ytdlp.segments import (
    Expected,
    Segment,
    is_bad_segment,
    rest_asked_for,
)
from asyncv2d_stages.fetch._ytdlp.stretches import Stretch, check_stretch

_PLAYLISTS = ("mpegurl", "dash+xml", "vnd.ms-sstr+xml")
_LARGEST_PAGE = 32_000_000
_LARGEST_PIECE = 256_000_000  # of a segment that was sent packed; others are never held whole


class Answers:
    """Stands in for a YoutubeDL's ``urlopen``, which all requests go through.

    ``agent`` is the name by which servers may ask to leave files out; None: they are taken anyway.
    ``failure`` is that of this thread's last request that failed.
    ``segments``: what is read piece by piece is one of these, and must look like one.
    ``needs_ranges``: segments are stretches of files, and a server must not send these whole.
    """

    def __init__(
        self, urlopen: Callable[[Any], Any], agent: str | None, robots: PageRobots | None = None
    ) -> None:
        self._urlopen = urlopen
        self._agent = agent
        self._robots = robots
        self._row = ""
        self._login: str | None = None
        self._is_media = False
        self._failures = local()
        self._most = _LARGEST_PAGE
        self.segments: Expected | None = None
        self.needs_ranges = False
        self._to_be_whole = set[str]()  # what is bad so far may not be gone on with
        self._broken_off = dict[tuple[str, int], Segment]()  # by what came of it

    @contextmanager
    def looked_at(self, url: str, *, media: bool) -> Iterator[None]:
        """Within it, ``media`` of the row with ``url`` is asked for, or what leads to it."""
        from yt_dlp.networking._urllib import RedirectHandler
        from yt_dlp.utils import extract_basic_auth

        self._row, self._login = extract_basic_auth(url)
        self._is_media = media
        self._failures = local()
        self.segments = None
        self.needs_ranges = False
        self._to_be_whole.clear()
        self._broken_off.clear()
        self._most = _LARGEST_PIECE if media else _LARGEST_PAGE
        follow = _taking_no_login(RedirectHandler.redirect_request)
        with (
            bounded(self._most, each=not media),
            instead(RedirectHandler, "redirect_request", follow),
        ):
            yield

    @property
    def row(self) -> str:
        """The row's URL without user and password: a page's is told to whom it leads to."""
        return self._row

    @property
    def failure(self) -> Exception | None:
        """Of some, yt-dlp keeps no more than the text."""
        found: Exception | None = getattr(self._failures, "last", None)
        return found

    def open(self, request: Any) -> Any:
        """The answer to a request. Raises what yt-dlp does, and ItemError where we refuse it."""
        from yt_dlp.networking import Request
        from yt_dlp.networking.exceptions import RequestError

        if isinstance(request, str):
            request = Request(request)
        if (login := self.login(request.url)) is not None:
            request.headers.setdefault("Authorization", login)
        if self._robots is not None:
            self._robots.check(request.url)
        if request.url in self._to_be_whole and not self.needs_ranges:
            request.headers.pop("Range", None)
        try:
            answer = self._urlopen(request)
        except RequestError as error:
            if (ours := refused(error)) is not None:
                raise ours from None
            self._failures.last = error
            if (page := getattr(error, "response", None)) is not None:  # extractors read it, too
                self._watch(page)
            raise
        self._judge(request, answer)
        self._watch(answer, self._segment(request, answer))
        return answer

    def _segment(self, request: Any, answer: Any) -> Segment | None:
        """What is to be checked when the answer is read."""
        from yt_dlp.networking.exceptions import RequestError

        if self.segments is None:
            return None
        try:
            segment = Segment(request, answer, self.segments)
        except RequestError as error:
            self._failures.last = error
            self._to_be_whole.add(request.url)
            raise
        if answer.status != 206:
            return segment
        return self._broken_off.pop((request.url, rest_asked_for(request)), segment)

    def _judge(self, request: Any, answer: Any) -> None:
        """Raises ItemError where the answer may not be taken, or is one to something else."""
        self._check_consent(request.url, answer)
        if self._robots is not None and answer.url != request.url:
            self._robots.check(answer.url)
        if self.needs_ranges:
            check_stretch(request, answer)

    def login(self, url: str) -> str | None:
        """The row's user and password as a header, for addresses of its server that have none."""
        return self._login if _server(url) == _server(self._row) else None

    def _check_consent(self, url: str, answer: Any) -> None:
        """Leave out what its server asks to; an extractor's tables are no media."""
        if self._agent is None or not (self._is_media or url == self._row or _is_playlist(answer)):
            return
        rule = refusal(answer.headers.get_all("X-Robots-Tag") or (), self._agent)
        if rule is not None:
            answer.close()
            raise ItemError(Cause.OPTED_OUT, f"the server says X-Robots-Tag: {rule}")

    def _watch(self, answer: Any, segment: Segment | None = None) -> None:
        answer.read = partial(self._read, answer, answer.read, segment, Stretch(answer))

    def _read(
        self,
        answer: Any,
        read: Callable[[int], bytes],
        segment: Segment | None,
        stretch: Stretch,
        amount: int | None = None,
    ) -> bytes:
        from yt_dlp.networking.exceptions import RequestError

        try:
            data = read_whole(read, self._most) if amount is None else read(amount)
            if amount is None or len(data) < amount:
                _check_end(answer, len(data))
            is_last = not data or amount is None or _is_at_end(answer, len(data) < amount)
            stretch.take(len(data), is_last=is_last)
            if segment is not None and amount is not None:  # keys are read whole
                segment.take(data, is_last=is_last)
        except (RequestError, OSError) as error:
            if (ours := refused(error)) is not None:
                raise ours from None
            self._failures.last = error
            if segment is not None:
                self._remember(segment, error)
            vars(error)["broke_off"] = True  # tells it from an answer that did not begin
            raise
        return data

    def _remember(self, segment: Segment, error: BaseException) -> None:
        """What broke off is looked at from its beginning when its rest comes."""
        if is_bad_segment(error):
            self._to_be_whole.add(segment.url)
        elif segment.size:
            self._broken_off[segment.url, segment.size] = segment


def _taking_no_login(follow: Callable[..., Any]) -> Callable[..., Any]:
    """Follows a redirect; to another server without what only the first one is to know."""

    @wraps(follow)
    def following(handler: Any, request: Any, *args: Any) -> Any:
        further = follow(handler, request, *args)
        if _server(further.full_url) != _server(request.full_url):
            further.remove_header("Authorization")
        return further

    return following


def _check_end(answer: Any, size: int) -> None:
    """Raise IncompleteRead for an end that came too soon, which is not noticed of pieces."""
    from yt_dlp.networking.exceptions import IncompleteRead

    missing = answer.fp.length if isinstance(answer.fp, HTTPResponse) else None
    if missing:
        raise IncompleteRead(partial=size, expected=missing)


def _is_at_end(answer: Any, is_less: bool) -> bool:
    """Whether nothing more will come, as far as is known: there, less comes than is asked for."""
    return isinstance(answer.fp, HTTPResponse) and (is_less or answer.fp.length == 0)


def _server(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError:  # yt-dlp will say so, too
        return None
    return parts.scheme, parts.netloc.lower()


def _is_playlist(answer: Any) -> bool:
    kind = (answer.headers.get("Content-Type") or "").lower()
    return any(mark in kind for mark in _PLAYLISTS) or is_manifest(answer.url)
