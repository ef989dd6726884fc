"""The causes behind what fsspec's drivers raise, which has nothing in common."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from asyncv2d.redact import said_about
from asyncv2d.remote_errors import DENIED_NAMES, missing_driver, status_of, translating
from asyncv2d.types import Cause, ItemError

_STATUS = {
    400: Cause.HTTP_4XX,
    401: Cause.HTTP_403,
    403: Cause.HTTP_403,
    404: Cause.NOT_FOUND,
    408: Cause.TIMEOUT,
    410: Cause.NOT_FOUND,
    429: Cause.HTTP_429,
}
_DENIED = (*DENIED_NAMES, "Authentication")
_MISSING = ("NotFound", "NoSuchBucket", "NoSuchKey")
_MALFORMED = ("ParamValidation", "InvalidArn")
_LATE = ("Timeout", "TimedOut")
_UNREACHED = ("Connect", "Endpoint", "Disconnected", "SSHException", "NoValidConnections")
_LONGEST = 300


@contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn what a driver raises into an ItemError."""
    with translating(lambda error: _explained(url, error)):
        yield


def _explained(url: str, error: Exception) -> ItemError:
    if isinstance(error, ImportError):
        return ItemError(Cause.NOT_INSTALLED, missing_driver(url.partition("://")[0], error))
    status = status_of(error)
    text = (said_about(url, str(error)) or type(error).__name__)[:_LONGEST]
    return ItemError(_cause(error, status), text, http_status=status)


def _cause(error: Exception, status: int | None) -> Cause:
    kinds: list[tuple[type[Exception] | tuple[type[Exception], ...], Cause]] = [
        ((FileNotFoundError, IsADirectoryError), Cause.NOT_FOUND),
        (PermissionError, Cause.HTTP_403),
        (socket.gaierror, Cause.DNS),
        (TimeoutError, Cause.TIMEOUT),
    ]
    for kind, cause in kinds:
        if isinstance(error, kind):
            return cause
    if status is not None:
        return _STATUS.get(status, Cause.HTTP_5XX if status >= 500 else Cause.HTTP_4XX)
    return _by_name(error)


def _by_name(error: Exception) -> Cause:
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    for marks, cause in (
        (_DENIED, Cause.HTTP_403),
        (_MISSING, Cause.NOT_FOUND),
        (_MALFORMED, Cause.BAD_URL),
        (_LATE, Cause.TIMEOUT),
        (_UNREACHED, Cause.CONNECT),
    ):
        if any(mark in names for mark in marks):
            return cause
    return Cause.BAD_URL if isinstance(error, ValueError) else Cause.CONNECT
