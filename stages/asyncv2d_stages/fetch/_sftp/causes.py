"""What asyncssh raises, as causes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh

from asyncv2d.redact import redacted, without_user
from asyncv2d.types import Cause, ItemError

_LONGEST_TEXT = 300
_KINDS: tuple[tuple[tuple[type[asyncssh.Error], ...], Cause], ...] = (
    ((asyncssh.PermissionDenied, asyncssh.SFTPPermissionDenied), Cause.HTTP_403),
    ((asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath), Cause.NOT_FOUND),
    ((asyncssh.SFTPFileIsADirectory, asyncssh.SFTPInvalidFilename), Cause.NOT_FOUND),
    ((asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection), Cause.CONNECT),
    ((asyncssh.SFTPError,), Cause.HTTP_5XX),
)


@contextmanager
def explaining(url: str, broken: Cause = Cause.CONNECT) -> Iterator[None]:
    """Raise what asyncssh raises as an ItemError; ``broken`` is a connection that was lost."""
    try:
        yield
    except asyncssh.Error as error:
        said = " ".join(error.reason.split()) or type(error).__name__
        text = without_user(redacted(said), url)[:_LONGEST_TEXT]
        cause = next((cause for kinds, cause in _KINDS if isinstance(error, kinds)), Cause.CONNECT)
        raise ItemError(broken if cause is Cause.CONNECT else cause, text) from error
