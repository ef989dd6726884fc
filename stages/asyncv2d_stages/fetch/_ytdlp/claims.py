"""Which URLs yt-dlp has an extractor of its own for, found without importing yt-dlp.

Importing it takes a quarter of a second and 60 MB, and trying its 1,800 patterns a second more; so
its table of patterns is read as text, and only those that share a word with the host are tried. The
answer may be wrong now and then, at the price of one request: what turns out to be a page goes to
yt-dlp all the same, which asks its extractors properly.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    import regex

_MANIFESTS = (".m3u8", ".mpd", ".ism/manifest")
_CLASS = re.compile(r"^class \w+IE\b")
_MODULE = re.compile(r"^    _module = 'yt_dlp\.extractor\.(\w+)")
_PATTERN = re.compile(r"^    _VALID_URL = (['\"(\[].*)$")
_NO_WORDS = re.compile(r"\(\?[a-z]+\)|\\\\[a-zA-Z]|\\n")
_WORD = re.compile(r"[a-z0-9-]+")
_OPTIONAL_END = re.compile(r"([a-z0-9-]+)\?")
_LONGEST_MATCH_S = 0.05
_TOO_COMMON = frozenset({"", "www", "com", "http", "https", "generic"})


class _Entry(Struct, frozen=True):
    """An extractor: the site it belongs to, and the source text of its pattern or patterns."""

    site: str
    source: str


def is_installed() -> bool:
    """Whether yt-dlp can be imported, and what is needed beside it."""
    return all(map(importlib.util.find_spec, ("yt_dlp", "regex")))


def is_manifest(url: str) -> bool:
    """Whether the URL says that it is a playlist of the segments of a video."""
    try:
        return urlsplit(url).path.lower().endswith(_MANIFESTS)
    except ValueError:
        return False


def site_of(url: str) -> str | None:
    """The name of the site whose extractor takes ``url``; None if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return None
    for entry in _candidates(host.lower()):
        if any(_takes(pattern, url) for pattern in _compiled(entry.source)):
            return entry.site
    return None


def _takes(pattern: regex.Pattern[str], url: str) -> bool:
    """Whether ``url`` matches. Over some made-up URLs a pattern broods for ever.

    Then yt-dlp may find out, in a process that can be killed.
    """
    try:
        return pattern.match(url, timeout=_LONGEST_MATCH_S) is not None
    except TimeoutError:
        return True


@lru_cache(maxsize=10_000)
def _candidates(host: str) -> Sequence[_Entry]:
    """The extractors whose patterns hold a word of the host's name."""
    if "." not in host or _is_address(host):
        return ()
    words = set(host.split(".")[:-1]) - _TOO_COMMON
    table = _table()
    return list(dict.fromkeys(entry for word in sorted(words) for entry in table.get(word, ())))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=2_000)
def _compiled(source: str) -> Sequence[regex.Pattern[str]]:
    """The pattern or patterns, in an engine that can be told to give up; none if it cannot read."""
    import regex  # here, because it comes with yt-dlp's extra

    try:
        value = ast.literal_eval(source)
        return [regex.compile(one) for one in ([value] if isinstance(value, str) else value)]
    except (ValueError, SyntaxError, TypeError, regex.error):
        return ()


@cache
def _table() -> Mapping[str, Sequence[_Entry]]:
    """All extractors by the words of their patterns."""
    table: defaultdict[str, list[_Entry]] = defaultdict(list)
    for entry in _entries():
        for word in _words(_NO_WORDS.sub(" ", entry.source.lower())) - _TOO_COMMON:
            table[word].append(entry)
    return table


def _words(text: str) -> set[str]:
    """The words of a pattern; one whose last letter may be missing is two."""
    words = {word.strip("-") for word in _WORD.findall(text)}
    return words | {word[:-1] for word in _OPTIONAL_END.findall(text)}


def _entries() -> Iterator[_Entry]:
    """What yt-dlp's released packages list for their own quick start."""
    path = _listing()
    if path is None:
        return
    site = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if _CLASS.match(line):
            site = ""
        elif module := _MODULE.match(line):
            site = module[1]
        elif (pattern := _PATTERN.match(line)) and site not in _TOO_COMMON:
            yield _Entry(site, pattern[1])


def _listing() -> Path | None:
    spec = importlib.util.find_spec("yt_dlp")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "extractor" / "lazy_extractors.py"
        if path.is_file():
            return path
    return None
