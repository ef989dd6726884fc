"""What a server says about the use of its files, in the header X-Robots-Tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_REFUSALS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_AGENT = re.compile(r"\*|[a-z][a-z0-9_.-]*")
# Directives with a value, which look like a name in front of a directive.
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def refusal(headers: Iterable[str], agent: str) -> str | None:
    """The directive that asks ``agent`` to leave a file out of datasets, if there is one."""
    for header in headers:
        for name, directive in _directives(header.lower()):
            if directive in _REFUSALS and name in ("", "*", agent.lower()):
                return f"{name}: {directive}" if name else directive
    return None


def _directives(header: str) -> Iterator[tuple[str, str]]:
    """Pairs of user agent and directive; an agent's name holds until the next one."""
    name = ""
    for part in re.split("[,;]", header):
        before, colon, after = part.partition(":")
        if colon and before.strip() in _WITH_VALUE:
            continue
        if colon and _AGENT.fullmatch(before.strip()):  # a time of day has colons, too
            name = before.strip()
        for directive in (after if colon else before).split():
            yield name, directive


def product_token(user_agent: str) -> str:
    """The name by which rules mean this program: the first word of its User-Agent."""
    words = user_agent.replace("/", " ").split()
    return words[0].lower() if words else ""
