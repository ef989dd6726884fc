"""Cookies: those of the user's file, and those that a chain of redirects sets on its way."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from http.cookiejar import CookieJar, LoadError, MozillaCookieJar
from typing import Any, cast
from urllib.request import Request

from asyncv2d.types import UserError


def read_cookies(path: str | None) -> CookieJar | None:
    """The cookies of a file in Netscape's format (cookies.txt)."""
    if path is None:
        return None
    jar = MozillaCookieJar(path)
    try:
        jar.load(ignore_discard=True, ignore_expires=True)
    except LoadError as error:
        raise UserError(f"reading.cookies: {path} is no cookies.txt: {error}") from None
    except OSError as error:
        raise UserError(f"reading.cookies: {path} cannot be read: {error.strerror}") from None
    for cookie in jar:
        if cookie.expires == 0:  # so browsers' exports write that it ends with the session
            cookie.expires = None
    return jar


class Cookies:
    """The cookies of one download; what a server sets is sent back in it, and then forgotten."""

    def __init__(self, own: CookieJar | None) -> None:
        self._own = own
        self._set: CookieJar | None = None

    def header(self, url: str) -> str | None:
        """The header Cookie for a request to ``url``."""
        pairs = [_header_of(jar, url) for jar in (self._own, self._set) if jar is not None]
        return "; ".join(filter(None, pairs)) or None

    def learn(self, url: str, headers: Iterable[str]) -> None:
        """Take the Set-Cookie headers of an answer."""
        message = Message()
        for header in headers:
            message.add_header("Set-Cookie", header)
        if message:
            if self._set is None:
                self._set = CookieJar()
            self._set.extract_cookies(cast(Any, _Answer(message)), Request(url))


class _Answer:
    """As much of an answer as the standard library needs to see."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _header_of(jar: CookieJar, url: str) -> str | None:
    request = Request(url)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")
