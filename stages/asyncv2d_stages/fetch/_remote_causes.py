"""The causes behind what fsspec's drivers raise, which has nothing in common."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from asyncv2d.redact import redacted
from asyncv2d.types import Cause, ItemError, RunError

_STATUS = {
    400: Cause.HTTP_4XX,
    401: Cause.HTTP_403,
    403: Cause.HTTP_403,
    404: Cause.NOT_FOUND,
    408: Cause.TIMEOUT,
    410: Cause.NOT_FOUND,
    429: Cause.HTTP_429,
}
# Those of botocore, google.auth and azure have no common base and may not be installed.
_DENIED = ("Credential", "ClientAuthenticationError", "SSOToken", "RefreshError", "Authentication")
_MISSING = ("NotFound", "NoSuchBucket", "NoSuchKey")
_LATE = ("Timeout", "TimedOut")
_UNREACHED = ("Connect", "Endpoint", "Disconnected", "SSHException", "NoValidConnections")
# Drivers whose package has another name than what one installs.
_INSTALL = {"s3fs": "'asyncv2d[s3]'", "smbclient": "smbprotocol", "smbprotocol": "smbprotocol"}
_LONGEST = 300


@contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn what a driver raises into an ItemError."""
    try:
        yield
    except (ItemError, RunError):
        raise
    except ImportError as error:
        raise _not_installed(url, error) from error
    except Exception as error:
        status = _status(error)
        text = redacted(" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
        raise ItemError(_cause(error, status), text, http_status=status) from error


def _not_installed(url: str, error: ImportError) -> ItemError:
    scheme = url.partition("://")[0]
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    package = (cause.name or "").partition(".")[0]
    if not package:
        detail = f"{scheme}:// needs a driver that is not installed: {error}"
    else:
        install = _INSTALL.get(package, package)
        detail = f"{scheme}:// needs the package {package}: pip install {install}"
    return ItemError(Cause.NOT_INSTALLED, detail)


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
        (_LATE, Cause.TIMEOUT),
        (_UNREACHED, Cause.CONNECT),
    ):
        if any(mark in names for mark in marks):
            return cause
    return Cause.BAD_URL if isinstance(error, ValueError) else Cause.CONNECT


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, wherever its driver keeps that."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status if isinstance(status, int) else None
        for holder in (error, response):
            for name in ("status", "status_code", "code"):
                status = getattr(holder, name, None)
                if isinstance(status, int) and 100 <= status < 600:
                    return status
        error = error.__cause__
    return None
