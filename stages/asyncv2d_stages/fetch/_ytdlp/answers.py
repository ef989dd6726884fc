"""What yt-dlp is answered, looked at before yt-dlp sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from asyncv2d_stages.fetch._ytdlp.bounds import bounded, read_whole
from asyncv2d_stages.fetch._ytdlp.causes import refused

_LARGEST_PAGE = 32_000_000
_LARGEST_PIECE = 256_000_000  # of a segment that was sent packed; others are never held whole


class Answers:
    """Stands in for a YoutubeDL's ``urlopen``, which all requests go through."""

    def __init__(self, urlopen: Callable[[Any], Any]) -> None:
        self._urlopen = urlopen
        self._most = _LARGEST_PAGE

    @contextmanager
    def looked_at(self, *, media: bool) -> Iterator[None]:
        """Within it, what is asked for is ``media``, or pages and playlists that lead to it."""
        self._most = _LARGEST_PIECE if media else _LARGEST_PAGE
        with bounded(self._most, each=not media):
            yield

    def open(self, request: Any) -> Any:
        """The answer to a request. Raises what yt-dlp does, and ItemError where we refuse it."""
        from yt_dlp.networking.exceptions import RequestError

        try:
            answer = self._urlopen(request)
        except RequestError as error:
            if (refusal := refused(error)) is not None:
                raise refusal from None
            if (page := getattr(error, "response", None)) is not None:  # extractors read it, too
                self._watch(page)
            raise
        self._watch(answer)
        return answer

    def _watch(self, answer: Any) -> None:
        answer.read = partial(self._read, answer.read)

    def _read(self, read: Callable[[int], bytes], amount: int | None = None) -> bytes:
        try:
            return read_whole(read, self._most) if amount is None else read(amount)
        except Exception as error:
            if (refusal := refused(error)) is not None:
                raise refusal from None
            raise
