"""URLs as rows and redirects have them, made fit to be sent and otherwise left as they are."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from msgspec import Struct

from asyncv2d.types import Cause, ItemError

if TYPE_CHECKING:
    import yarl

_PORTS = {"http": 80, "https": 443}
_LONGEST_HOST = 253
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_ILLEGAL = re.compile(r"[^!#-;=?-\[\]-~]")
_LEGAL_IN_USER = "%!$&'()*+,;=-._~:"


class Target(Struct, frozen=True):
    """A URL that can be asked for."""

    text: str
    scheme: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """The server: host name and port."""
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and server: what a robots.txt is for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def file(self) -> str:
        """Where it lies: the URL without its query, which may hold a signature of the moment."""
        return self.text.partition("?")[0]

    def as_yarl(self) -> yarl.URL:
        """The URL as aiohttp takes it, not quoted again."""
        import yarl

        return yarl.URL(self.text, encoded=True)

    def redirected(self, location: str) -> Target:
        """Where ``location`` leads from here. Raises ItemError (redirects) if nowhere."""
        try:
            return target(urljoin(self.text, location.strip()))
        except (ItemError, ValueError) as error:
            reason = error.detail if isinstance(error, ItemError) else _said(error, location)
            raise ItemError(Cause.REDIRECTS, f"a redirect leads nowhere: {reason}") from None


def target(url: str) -> Target:
    """Read a URL. Raises ItemError (bad_url) if it cannot be asked for."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise _bad(_said(error, url)) from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        known = "" if _may_tell(url) else f" {scheme or 'missing'},"
        raise _bad(f"its scheme is{known} not http or https")
    if port == 0:
        raise _bad("port 0")
    try:
        host = _host(parts.hostname or "")
    except ValueError as error:
        raise _bad(_said(error, url)) from None
    text = f"{scheme}://{_user(parts)}{f'[{host}]' if ':' in host else host}"
    text += f"{'' if port is None else f':{port}'}{_path(parts)}"
    return Target(text, scheme, host, port or _PORTS[scheme])


def _path(parts: SplitResult) -> str:
    try:
        query = f"?{_quoted(parts.query)}" if parts.query else ""
        return (_quoted(parts.path) or "/") + query
    except UnicodeError:
        raise _bad("it has characters that are none") from None


def _host(name: str) -> str:
    if not name:
        raise _bad("it names no host")
    if ":" in name and "%" not in name:
        return str(ipaddress.IPv6Address(name))
    if not name.isascii():
        name = _in_ascii(name)
    labels = name.removesuffix(".").split(".")
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{name[:80]!r} is no host name")
    return name.lower()


def _in_ascii(name: str) -> str:
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{name[:80]!r} is no host name: {error}") from None


def _user(parts: SplitResult) -> str:
    user = parts.netloc.rpartition("@")[0]
    return f"{quote(user, safe=_LEGAL_IN_USER, errors='replace')}@" if user else ""


def _quoted(text: str) -> str:
    """``text`` with what is illegal in a request quoted, and nothing else."""
    # A header's undecodable bytes are in its text as surrogates.
    raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return _ILLEGAL.sub(lambda found: f"%{ord(found[0]):02X}", raw)


def _said(error: ValueError, url: str) -> str:
    """What is wrong with ``url``; such errors quote parts of it."""
    return "it cannot be read" if _may_tell(url) else str(error)


def _may_tell(url: str) -> bool:
    """Whether a password may be anywhere in ``url``, which is malformed."""
    return "@" in url


def _bad(reason: str) -> ItemError:
    return ItemError(Cause.BAD_URL, f"the URL is malformed: {reason}")
