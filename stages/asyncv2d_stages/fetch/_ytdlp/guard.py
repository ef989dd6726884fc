"""Keeps yt-dlp away from this network's machines, unless a row plainly names one.

Yt-dlp opens its connections by itself, wherever a page or a redirect leads; all of them ask the
system for addresses first, and there they can be refused.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from asyncv2d.types import ItemError
from asyncv2d_stages.fetch._hosts.safety import (
    Policy,
    PrivateAddresses,
    forbidden,
    is_local,
    plain_address,
)


class RefusedError(OSError):
    """A connection that is not opened; an OSError, which yt-dlp takes for a failed one."""

    def __init__(self, reason: ItemError) -> None:
        super().__init__(reason.detail)
        self.cause_of_row = reason.cause


@contextmanager
def guarded(private: PrivateAddresses, url: str, proxies: Collection[str]) -> Iterator[None]:
    """Within it, addresses are looked up as a row with ``url`` may; one such row at a time.

    ``proxies`` are the hosts that the user named.
    """
    policy, local = Policy(private), is_local(urlsplit(url).hostname or "")
    look_up = socket.getaddrinfo

    def checked(host: Any, *args: Any, **settings: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not name or name in proxies:
            return look_up(host, *args, **settings)
        try:
            policy.check_host(name, from_local=local)
        except ItemError as error:
            raise RefusedError(error) from None
        try:
            found = look_up(host, *args, **settings)
        except UnicodeError as error:  # of a page's link with a name that is none
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        if plain_address(name) is not None:
            return found
        allowed = [entry for entry in found if policy.allows(name, str(entry[4][0]))]
        if found and not allowed:
            raise RefusedError(forbidden(name, str(found[0][4][0])))
        return allowed

    socket.getaddrinfo = checked
    try:
        yield
    finally:
        socket.getaddrinfo = look_up


def proxy_hosts(proxies: Collection[str]) -> frozenset[str]:
    """The hosts of proxies."""
    hosts = (urlsplit(proxy).hostname for proxy in proxies if proxy)
    return frozenset(host for host in hosts if host)
