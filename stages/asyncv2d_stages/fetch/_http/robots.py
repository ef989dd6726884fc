"""robots.txt, as RFC 9309 has it: fetched once for a host, and kept for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from asyncv2d.types import Cause, ItemError, RunError, UserError
from asyncv2d_stages.fetch._hosts.answers import Answers
from asyncv2d_stages.fetch._http.causes import of_status
from asyncv2d_stages.fetch._http.urls import Target, target

LONGEST = 500 * 1024
"""Bytes of a robots.txt that are read."""
UNSURE_FOR_S = 5.0
"""Seconds for which it counts that a robots.txt was not to be had."""
_REMEMBERED = 4096
_GOOD_FOR_S = 24 * 3600.0
_BAD_FOR_S = 300.0
_LONGEST_DELAY_S = 30.0


class Rules(Struct, frozen=True):
    """A host's rules, or why there are none."""

    parsed: Any = None
    error: ItemError | RunError | None = None

    def check(self, url: str, agent: str) -> float:
        """The seconds between two requests. Raises ItemError (opted_out) if none is allowed."""
        if isinstance(self.error, RunError):
            raise RunError(*self.error.problems)
        if self.error is not None:
            raise ItemError(self.error.cause, self.error.detail, **self.error.facts)
        if self.parsed is None:
            return 0.0
        if not self.parsed.can_fetch(url, agent):
            raise ItemError(Cause.OPTED_OUT, "the host's robots.txt does not allow it")
        return min(_LONGEST_DELAY_S, float(self.parsed.crawl_delay(agent) or 0.0))


def read_rules(status: int, text: bytes) -> tuple[Rules, float]:
    """What an answer with this status and text means, and for how many seconds that is good."""
    if status >= 500 or status == 429:
        detail = f"the host's robots.txt cannot be read (HTTP {status}), so nothing is asked for"
        return Rules(error=ItemError(of_status(status), detail, http_status=status)), _BAD_FOR_S
    if status >= 300:
        return Rules(), _GOOD_FOR_S
    return Rules(_protego().parse(text.decode("utf-8-sig", "replace"))), _GOOD_FOR_S


class Robots:
    """Asks hosts for their rules. ``read`` gives the status and the text of a small file."""

    def __init__(self, agent: str, read: Callable[[Target], Awaitable[tuple[int, bytes]]]) -> None:
        _protego()
        self._agent = agent
        self._read = read
        self._answers = Answers(self._find, _REMEMBERED)

    async def check(self, wanted: Target) -> float:
        """The seconds to leave between two requests. Raises ItemError (opted_out) if not allowed.

        A host that cannot be reached fails as it would without rules.
        """
        rules = await self._answers.get(wanted.origin)
        return rules.check(wanted.text, self._agent)

    async def _find(self, origin: str) -> tuple[Rules, float]:
        try:
            return read_rules(*await self._read(target(f"{origin}/robots.txt")))
        except ItemError as error:
            if error.cause in (Cause.CORRUPT, Cause.TRUNCATED):  # it came, packed in some way
                error.detail = f"the host's robots.txt cannot be read: {error.detail}"
            return Rules(error=error), UNSURE_FOR_S
        except RunError as error:  # for all who wait, of whom there may be none any more
            return Rules(error=error), 0.0

    async def close(self) -> None:
        """Give up what is being asked."""
        await self._answers.close()


def _protego() -> Any:
    try:
        from protego import Protego
    except ImportError:
        raise UserError(
            "reading.respect_robots_txt needs protego, which is not installed:"
            " pip install 'asyncv2d[robots]'"
        ) from None
    return Protego
