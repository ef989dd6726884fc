"""Cookies: those of the user's file, and those that a chain of redirects sets on its way."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from email.message import Message
from http.cookiejar import CookieJar, LoadError, MozillaCookieJar
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import Request

from asyncv2d.types import UserError

_NOT_SENT = re.compile(r"[^ -~\xa0-\xff]")
_WRONG_LINE = (
    "its first line is not that format's, or another one has not its seven fields with tabs between"
)


def read_cookies(path: str | None) -> CookieJar | None:
    """The cookies of a file in Netscape's format (cookies.txt)."""
    if path is None:
        return None
    jar = MozillaCookieJar(path)
    try:
        if not Path(path).is_file() and Path(path).exists():  # such as a device, which has no end
            raise UserError(f"reading.cookies: {path} is no regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # with a traceback in each
            jar.load(ignore_discard=True, ignore_expires=True)
    except (LoadError, UnicodeDecodeError) as error:
        # The reason that Python gives has the line, with the cookie's value.
        reason = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else _WRONG_LINE
        raise UserError(f"reading.cookies: {path} is no cookies.txt: {reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"reading.cookies: {path} cannot be read: {reason}") from None
    for cookie in jar:
        if not _may_be_sent(f"{cookie.name}{cookie.value or ''}"):
            raise UserError(
                f"reading.cookies: {path}: a cookie for {cookie.domain} has characters that cannot"
                " be sent; remove its line"
            )
        if cookie.expires == 0:  # so browsers' exports write that it ends with the session
            cookie.expires = None
    return jar


def _may_be_sent(text: str) -> bool:
    """Whether a header may have it: Latin-1 without control characters."""
    return _NOT_SENT.search(text) is None


class Cookies:
    """The cookies of one download; what a server sets is sent back in it, and then forgotten."""

    def __init__(self, own: CookieJar | None) -> None:
        self._own = own
        self._set: CookieJar | None = None

    def header(self, url: str) -> str | None:
        """The header Cookie for a request to ``url``."""
        own = _pairs(self._own, url)
        new = [(name, _as_sent(text)) for name, text in _pairs(self._set, url)]
        # What a server sets on the way stands for what the file has by that name.
        renewed = {name for name, _ in new}
        kept = [pair for pair in own if pair[0] not in renewed]
        return "; ".join(text for _, text in (*kept, *new)) or None

    def learn(self, url: str, headers: Iterable[str]) -> None:
        """Take the Set-Cookie headers of an answer."""
        for header in headers:
            if self._set is None:
                self._set = CookieJar()
            _extract(self._set, url, header)


def _extract(jar: CookieJar, url: str, header: str) -> None:
    """Take one header: of several, one that Python trips over would cost all."""
    message = Message()
    # Bytes that are no UTF-8 are kept in a way that a message would not take for text.
    data = header.encode(errors="surrogateescape")
    message.add_header("Set-Cookie", data.decode("latin-1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in which it says so, with a traceback
        jar.extract_cookies(cast(Any, _Answer(message)), _request(url))


def _as_sent(text: str) -> str:
    """Text of bytes in Latin-1, as it is sent in UTF-8: most that are no ASCII were that before."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


class _Answer:
    """As much of an answer as the standard library needs to see."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _pairs(jar: CookieJar | None, url: str) -> list[tuple[str, str]]:
    """The cookies for ``url``: each one's name, and how it is sent."""
    if jar is None:
        return []
    request = _request(url)
    jar.add_cookie_header(request)
    header = request.get_header("Cookie") or ""
    return [(text.partition("=")[0], text) for text in header.split("; ") if text]


def _request(url: str) -> Request:
    """As the jar wants it: it would take a user and password for a part of the host."""
    parts = urlsplit(url)
    return Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
