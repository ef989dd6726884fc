"""Names under ``localhost``: they mean this machine (RFC 6761), whether or not a resolver knows."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOCALHOST = "localhost"


def or_loopback(look_up: Callable[[str], T], host: str) -> T:
    """What ``look_up`` finds; for a name under ``localhost`` that it does not know, this machine.

    Browsers do so, too; the resolvers of many systems know ``localhost`` alone.
    """
    try:
        return look_up(host)
    except socket.gaierror:
        if host == _LOCALHOST or not f".{host.rstrip('.').lower()}".endswith(f".{_LOCALHOST}"):
            raise
        return look_up(_LOCALHOST)
