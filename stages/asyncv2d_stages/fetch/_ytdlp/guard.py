"""Keeps yt-dlp away from this network's machines, unless a row plainly names one.

Yt-dlp opens its connections by itself, wherever a page or a redirect leads; all of them ask the
system for addresses first, and there they can be refused. A proxy looks addresses up itself: what
goes through it can be refused by the name in the request alone.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from asyncv2d.types import ItemError
from asyncv2d_stages.fetch._hosts.loopback import asked_name
from asyncv2d_stages.fetch._hosts.safety import (
    Policy,
    PrivateAddresses,
    forbidden,
    is_local,
    plain_address,
)
from asyncv2d_stages.fetch._ytdlp.instead import instead


class RefusedError(OSError):
    """A connection that is not opened; an OSError, which yt-dlp takes for a failed one."""

    def __init__(self, reason: ItemError) -> None:
        super().__init__(reason.detail)
        self.cause_of_row = reason.cause


@contextmanager
def guarded(private: PrivateAddresses, url: str, proxies: Collection[str]) -> Iterator[None]:
    """Within it, machines are asked as a row with ``url`` may ask; one such row at a time.

    ``proxies`` are the hosts that the user named.
    """
    policy, local = Policy(private), is_local(urlsplit(url).hostname or "")

    def check(name: str) -> None:
        try:
            policy.check_host(name, from_local=local)
        except ItemError as error:
            raise RefusedError(error) from None

    look_up = _looking_up(policy, check, proxies)
    connection = http.client.HTTPConnection
    with (
        instead(socket, "getaddrinfo", look_up),
        instead(connection, "putrequest", _asking(connection.putrequest, check)),
        instead(connection, "set_tunnel", _tunnelling(connection.set_tunnel, check)),
    ):
        yield


def _looking_up(
    policy: Policy, check: Callable[[str], None], proxies: Collection[str]
) -> Callable[..., Any]:
    """Looks addresses up, and hides those that may not be reached."""
    look_up = socket.getaddrinfo

    @wraps(look_up)
    def checked(host: Any, *args: Any, **settings: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not name or name in proxies:
            return look_up(host, *args, **settings)
        check(name)
        try:
            found = look_up(asked_name(name), *args, **settings)
        except UnicodeError as error:  # of a page's link with a name that is none
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        if plain_address(name) is not None:
            return found
        allowed = [entry for entry in found if policy.allows(name, str(entry[4][0]))]
        if found and not allowed:
            raise RefusedError(forbidden(name, str(found[0][4][0])))
        return allowed

    return checked


def _asking(ask: Callable[..., None], check: Callable[[str], None]) -> Callable[..., None]:
    """Begins a request. To a proxy that names the machine whom the request is for."""

    @wraps(ask)
    def checked(
        self: http.client.HTTPConnection, method: str, url: str, *args: Any, **settings: Any
    ) -> None:
        name = urlsplit(url).hostname if "://" in url.partition("?")[0] else None
        check(name or vars(self).get("_tunnel_host") or self.host)
        ask(self, method, url, *args, **settings)

    return checked


def _tunnelling(tunnel: Callable[..., None], check: Callable[[str], None]) -> Callable[..., None]:
    """Has a proxy open a connection to a machine."""

    @wraps(tunnel)
    def checked(self: http.client.HTTPConnection, host: str, *args: Any, **settings: Any) -> None:
        check(urlsplit(f"//{host}").hostname or "")
        tunnel(self, host, *args, **settings)

    return checked


def proxy_hosts(proxies: Collection[str]) -> frozenset[str]:
    """The hosts of proxies."""
    hosts = (urlsplit(proxy).hostname for proxy in proxies if proxy)
    return frozenset(host for host in hosts if host)
