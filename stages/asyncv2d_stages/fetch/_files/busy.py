"""What a server says, or does, that serves too many already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asyncv2d.types import Cause, ItemError

if TYPE_CHECKING:
    from asyncv2d_stages.fetch._hosts.limits import Turn


class BusyError(ItemError):
    """The server takes no more connections now; ``serves_others`` if it did take some."""

    serves_others = False


class NobodyError(ItemError):
    """Nobody listens where the server should be."""


@contextmanager
def before_asking(turn: Turn) -> Iterator[None]:
    """Here a server that hangs up, or refuses a connection, says nothing of any file.

    Many turn away what is too much for them in that way. Where nobody listens, and nobody ever
    answered, there may as well be no server.
    """
    try:
        yield
    except ItemError as error:
        if error.cause is not Cause.CONNECT:
            raise
        if not isinstance(error, NobodyError):
            turn.host.is_there = True
        elif turn.host.answers == 0:
            raise
        raise BusyError(error.cause, error.detail) from error
