"""What an FTP URL names: a server, a login and a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from asyncv2d.types import Cause, ItemError

_PORT = 21
_ANONYMOUS = b"anonymous"
_NO_PASSWORD = b"anonymous@"
_TYPE = re.compile(r"(?i);type=[ai]\Z")  # how to send it, which is no part of its name
_ENDS_COMMAND = re.compile(rb"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file lies. Names are bytes: what they are in characters, only the server knows."""

    url: str = field(repr=False)
    host: str
    port: int
    user: bytes
    password: bytes = field(repr=False)
    path: bytes

    @property
    def place(self) -> str:
        """The server: host name and port."""
        return f"{self.host}:{self.port}"


def target(url: str) -> Target:
    """What ``url`` names. Raises ItemError (bad_url)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        user, password, path = (
            _unquoted(parts.username),
            _unquoted(parts.password),
            _unquoted(_path(parts)),
        )
    except ValueError:
        raise ItemError(Cause.BAD_URL, "the URL's host, port or characters make no sense") from None
    if not host or port == 0:
        raise ItemError(Cause.BAD_URL, "the URL names no server")
    if not path:
        raise ItemError(Cause.BAD_URL, "the URL names no file")
    if any(map(_ENDS_COMMAND.search, (user, password, path))):
        raise ItemError(Cause.BAD_URL, "the URL has an end of line, or NUL, in a name")
    if not user:
        user, password = _ANONYMOUS, password or _NO_PASSWORD
    return Target(url, host, port or _PORT, user, password, b"/" + path)


def _path(parts: SplitResult) -> str:
    fragment = f"#{parts.fragment}" if parts.fragment else ""  # means nothing here but itself
    return _TYPE.sub("", parts.path + fragment).strip("/")


def _unquoted(text: str | None) -> bytes:
    return unquote_to_bytes((text or "").encode("utf-8", "surrogateescape"))
