"""What asyncssh raises, as causes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh
from asyncssh.saslprep import SASLPrepError

from asyncv2d.redact import said_about
from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._files.busy import BusyError

_LONGEST_TEXT = 300
_REFUSED = re.compile(r"(?i)\btoo many authentication failures\b")  # it has no code of its own
_KINDS: tuple[tuple[tuple[type[Exception], ...], Cause], ...] = (
    ((SASLPrepError,), Cause.BAD_URL),  # of a user's name
    ((asyncssh.PermissionDenied, asyncssh.SFTPPermissionDenied), Cause.HTTP_403),
    ((asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath), Cause.NOT_FOUND),
    ((asyncssh.SFTPFileIsADirectory, asyncssh.SFTPInvalidFilename), Cause.NOT_FOUND),
    ((asyncssh.SFTPNotADirectory, asyncssh.SFTPLinkLoop), Cause.NOT_FOUND),
    ((asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection), Cause.CONNECT),
    ((asyncssh.SFTPError,), Cause.HTTP_5XX),
)


@contextmanager
def explaining(url: str, broken: Cause = Cause.CONNECT) -> Iterator[None]:
    """Raise what asyncssh raises as an ItemError; ``broken`` is a connection that was lost.

    What it cannot make sense of, in packets, keys or names, are errors of its own that have no base
    in common but ValueError. None of our own code in here raises one; the error stays the cause.
    """
    try:
        yield
    except (asyncssh.Error, ValueError) as error:
        text = (said_about(url, str(error)) or type(error).__name__)[:_LONGEST_TEXT]
        cause = _cause(error)
        if cause is Cause.HTTP_429:
            raise BusyError(cause, text) from error
        raise ItemError(broken if cause is Cause.CONNECT else cause, text) from error


def _cause(error: asyncssh.Error | ValueError) -> Cause:
    if isinstance(error, asyncssh.DisconnectError):
        if error.code == asyncssh.DISC_TOO_MANY_CONNECTIONS:
            return Cause.HTTP_429
        if _REFUSED.search(error.reason):
            return Cause.HTTP_403
    return next((cause for kinds, cause in _KINDS if isinstance(error, kinds)), Cause.CONNECT)
