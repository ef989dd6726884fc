"""What a URL of FTP or SFTP names: a server, a login and a file."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from msgspec import Struct

from asyncv2d.types import Cause, ItemError

_TYPE = re.compile(r"(?i);type=[ai]\Z")  # how to send it, which is no part of its name
_ENDS_COMMAND = re.compile(rb"[\r\n\0]")


class Target(Struct, frozen=True):
    """Where a file lies. Names are bytes: what they are in characters, only the server knows."""

    url: str
    host: str
    port: int
    user: bytes
    password: bytes
    path: bytes

    def __repr__(self) -> str:
        """Without the password."""
        return f"Target({self.place})"

    @property
    def place(self) -> str:
        """The server: host name and port."""
        return f"{self.host}:{self.port}"


def target(url: str, port: int) -> Target:
    """What ``url`` names; without a port there, this one. Raises ItemError (bad_url)."""
    try:
        parts = urlsplit(url)
        host, own_port = parts.hostname, parts.port
        user, password, path = (
            _unquoted(parts.username),
            _unquoted(parts.password),
            _unquoted(_path(parts)),
        )
    except ValueError:
        raise ItemError(Cause.BAD_URL, "the URL's host, port or characters make no sense") from None
    if not host or own_port == 0:
        raise ItemError(Cause.BAD_URL, "the URL names no server")
    if not path:
        raise ItemError(Cause.BAD_URL, "the URL names no file")
    if any(map(_ENDS_COMMAND.search, (user, password, path))):
        raise ItemError(Cause.BAD_URL, "the URL has an end of line, or NUL, in a name")
    return Target(url, host, own_port or port, user, password, b"/" + path)


def _path(parts: SplitResult) -> str:
    fragment = f"#{parts.fragment}" if parts.fragment else ""  # means nothing here but itself
    return _TYPE.sub("", parts.path + fragment).strip("/")


def _unquoted(text: str | None) -> bytes:
    return unquote_to_bytes((text or "").encode("utf-8", "surrogateescape"))
