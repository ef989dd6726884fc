"""robots.txt for what yt-dlp asks by itself: pages that a page leads to, playlists and segments."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from asyncv2d_stages.fetch._http.robots import LONGEST, UNSURE_FOR_S, Rules, read_rules
from asyncv2d_stages.fetch._http.urls import target
from asyncv2d_stages.fetch._ytdlp.causes import explained

_REMEMBERED = 1000


class PageRobots:
    """Asks hosts for their rules with yt-dlp's own ``urlopen``."""

    def __init__(self, agent: str, urlopen: Callable[[Any], Any]) -> None:
        self._agent = agent
        self._urlopen = urlopen
        self._known: OrderedDict[str, tuple[Rules, float]] = OrderedDict()

    def check(self, url: str) -> None:
        """Raises ItemError (opted_out) where the host does not allow that ``url`` is asked for."""
        if not url.startswith(("http://", "https://")):
            return
        wanted = target(url)
        rules, until = self._known.get(wanted.origin, (None, 0.0))
        if rules is None or until < time.monotonic():
            rules, good_for_s = self._ask(wanted.origin)
            self._known[wanted.origin] = rules, time.monotonic() + good_for_s
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        rules.check(wanted.text, self._agent)

    def _ask(self, origin: str) -> tuple[Rules, float]:
        from yt_dlp.networking import Request
        from yt_dlp.networking.exceptions import HTTPError, RequestError

        try:
            answer = self._urlopen(Request(f"{origin}/robots.txt"))
        except HTTPError as error:
            return read_rules(error.status, b"")
        except RequestError as error:
            return Rules(error=explained(error, [])), UNSURE_FOR_S
        with answer:
            return read_rules(answer.status, answer.read(LONGEST))
