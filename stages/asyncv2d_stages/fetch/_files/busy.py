"""What a server says, or does, that serves too many already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asyncv2d.types import Cause, ItemError


class BusyError(ItemError):
    """The server takes no more connections now; ``serves_others`` if it did take some."""

    serves_others = False


@contextmanager
def before_asking() -> Iterator[None]:
    """Here a server that refuses a connection, or hangs up, says nothing of any file.

    Many turn away what is too much for them in that way.
    """
    try:
        yield
    except ItemError as error:
        if error.cause is Cause.CONNECT:
            raise BusyError(error.cause, error.detail) from error
        raise
