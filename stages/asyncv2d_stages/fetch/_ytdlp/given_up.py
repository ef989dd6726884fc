"""Why yt-dlp gives up: of most that goes wrong it keeps no more than the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncv2d_stages.fetch._ytdlp.answers import Answers


class GivenUp:
    """Stands in for a YoutubeDL's ``trouble``, which raises what it gives up for.

    That is where what failed is still known: each thread downloads a segment of its own, and what
    is known later is what failed last in any of them.
    """

    def __init__(self, trouble: Callable[..., Any], answers: Answers) -> None:
        self._trouble = trouble
        self._answers = answers
        self.last: Exception | None = None

    def trouble(self, *args: Any, **kwargs: Any) -> None:
        """Raise what yt-dlp does, with this thread's failed request behind it."""
        from yt_dlp.utils import DownloadError

        try:
            self._trouble(*args, **kwargs)
        except DownloadError as error:
            self.tell_why(error)
            self.last = error
            raise

    def tell_why(self, error: BaseException) -> None:
        """Put this thread's failed request behind ``error``, if its text is that of it."""
        behind = self._answers.failure
        if behind is None or error.__cause__ is not None or str(behind) not in str(error):
            return
        behind.__traceback__ = None  # which holds what was read
        error.__cause__ = behind
