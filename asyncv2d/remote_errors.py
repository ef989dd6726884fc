"""The errors of fsspec's drivers, which have nothing in common, as one clear line each."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asyncv2d.types import ItemError, RunError

MISTAKES = (AssertionError, AttributeError, LookupError, NameError, TypeError)
"""What a mistake in a program raises, ours or a driver's: no trouble with a store."""

_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT)
_FULL_STATUS = 507
_DENIED_STATUS = (401, 403)
# Those of botocore, google.auth and azure have no common base and may not be installed.
DENIED_NAMES = ("Credential", "ClientAuthenticationError", "SSOToken", "RefreshError")
"""Parts of the names of errors that mean: access denied."""
# Drivers whose package has another name than what one installs.
_INSTALL = {"s3fs": "'asyncv2d[s3]'", "asyncssh": "'asyncv2d[sftp]'", "smbclient": "smbprotocol"}


@contextmanager
def translating(meaning: Callable[[Exception], Exception]) -> Iterator[None]:
    """Raise what a driver, or a decompressor, raises as what ``meaning`` makes of it.

    Anybody's may be behind a URL, and their errors have no base in common, so whatever it is has to
    be caught, and is so here alone. Nothing is hidden: it is raised again, with the driver's own
    error as its cause, and mistakes in a program pass with their traceback.
    """
    try:
        yield
    except (ItemError, RunError, *MISTAKES):
        raise
    except Exception as error:
        raise meaning(error) from error


@contextmanager
def in_clear_words(place: Callable[[], str], prefix: str = "") -> Iterator[None]:
    """Raise what a driver raises as an OSError, or as a RunError where trying again is no use."""
    with translating(lambda error: _translated(error, f"{place()}: {prefix}")):
        yield


def missing_driver(scheme: str, error: ImportError) -> str:
    """What to install for URLs of this scheme."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    package = (cause.name or "").partition(".")[0]
    if not package:
        return f"{scheme}:// needs a driver that is not installed: {error}"
    install = _INSTALL.get(package, package)
    return f"{scheme}:// needs the driver {package}, which is not installed: pip install {install}"


def _translated(error: Exception, prefix: str) -> OSError | RunError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if _is_denied(error):
        return RunError(f"{prefix}access denied: {reason}")
    if _is_full(error):
        return RunError(f"{prefix}the store is full: {reason}")
    kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
    return kind(f"{prefix}{reason}")


def _is_denied(error: Exception) -> bool:
    by_name = any(name in type(error).__name__ for name in DENIED_NAMES)
    return by_name or isinstance(error, PermissionError) or status_of(error) in _DENIED_STATUS


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in _FULL_ERRNO or status_of(error) == _FULL_STATUS


def status_of(error: BaseException | None) -> int | None:
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
