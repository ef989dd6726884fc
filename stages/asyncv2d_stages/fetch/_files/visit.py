"""One try to get a file from a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from asyncv2d_stages.fetch._files.deadlines import Deadlines
from asyncv2d_stages.fetch._files.urls import Target
from asyncv2d_stages.fetch._hosts.limits import Turn
from asyncv2d_stages.fetch._http.transfer import Transfer

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.remote import RemoteFetcher


class Visit(Struct, frozen=True):
    """What is wanted, from the first of these addresses where there is somebody."""

    settings: RemoteFetcher
    wanted: Target
    addresses: Sequence[str]
    deadlines: Deadlines
    turn: Turn
    transfer: Transfer


Get = Callable[[Visit], Awaitable[bool]]
"""Gets a file; False: there is no room now for what it is said to be. Raises ItemError."""
