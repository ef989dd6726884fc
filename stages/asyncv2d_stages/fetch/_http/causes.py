"""The cause behind a status, and behind what aiohttp raises."""

from __future__ import annotations

import errno
import ssl
import sys
import time
from email.utils import parsedate_to_datetime

from asyncv2d.redact import redacted
from asyncv2d.types import Cause, ItemError, RunError

_STATUS = {
    403: Cause.HTTP_403,
    404: Cause.HTTP_404,
    410: Cause.HTTP_404,
    408: Cause.TIMEOUT,
    429: Cause.HTTP_429,
}
_BUSY = (429, 503)
_LONGEST_TEXT = 300
_TOO_MANY_FILES = (
    "too many open files for so many downloads at a time: raise the limit (ulimit -n), or lower"
    " distribution.downloads"
)


def of_status(status: int) -> Cause:
    """What a status that brings no body means."""
    if status in _STATUS:
        return _STATUS[status]
    if status >= 500:
        return Cause.HTTP_5XX
    if status < 300:
        return Cause.CONNECT  # such as 101: no answer to what was asked
    return Cause.HTTP_4XX if status >= 400 else Cause.REDIRECTS


def is_busy(status: int) -> bool:
    """Whether the status asks for fewer requests."""
    return status in _BUSY


def retry_after(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks to wait: it is a number, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def foreseen() -> tuple[type[Exception], ...]:
    """What a request may raise that is no mistake in a program."""
    import aiohttp

    # Only there where it is used, and its errors are of no common kind.
    socks = sys.modules.get("aiohttp_socks")
    names = ("ProxyError", "ProxyConnectionError", "ProxyTimeoutError")
    # One that hangs up in the middle of its greeting is an EOFError.
    further = () if socks is None else (EOFError, *(getattr(socks, name) for name in names))
    return (aiohttp.ClientError, TimeoutError, ssl.SSLError, ValueError, OSError, *further)


def is_nonsense(error: Exception) -> bool:
    """Whether the host did answer, but in no way that can be read."""
    import aiohttp

    return isinstance(error, aiohttp.ClientResponseError)


def _text(error: Exception) -> str:
    """What the error says, in one line; some of aiohttp's hold all that had come."""
    import aiohttp

    said, before = str(error), ""
    if isinstance(
        error, aiohttp.ClientHttpProxyError
    ):  # its own text names the proxy, not the host
        said, before = error.message, f"the proxy says HTTP {error.status} "
    elif isinstance(error, aiohttp.ClientResponseError):  # its own text begins with a status 400
        said, before = error.message, "the answer cannot be read: "
    said = redacted(" ".join(said[:_LONGEST_TEXT].split()))
    return before + said or type(error).__name__


def explained(error: Exception, status: int | None) -> ItemError:
    """The cause behind what aiohttp raised; ``status`` of the answer, if one began.

    Raises RunError where it is no fault of the row, and no row would fare better.
    """
    import aiohttp

    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        raise RunError(_TOO_MANY_FILES) from error
    text = _text(error)
    # A connection that broke after the answer began left the body cut off.
    broken = Cause.CONNECT if status is None else Cause.TRUNCATED
    causes: list[tuple[type[Exception] | tuple[type[Exception], ...], Cause]] = [
        (aiohttp.InvalidURL, Cause.BAD_URL),
        ((aiohttp.ClientSSLError, ssl.SSLError), Cause.TLS),
        (aiohttp.ClientConnectorDNSError, Cause.DNS),
        ((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError), broken),
        # aiohttp has a class of its own for "no byte in time"; a plain one is the total time.
        (aiohttp.ServerTimeoutError, Cause.TIMEOUT if status is None else Cause.STALLED),
        (TimeoutError, Cause.TIMEOUT),
        (aiohttp.ClientResponseError, Cause.CONNECT),
        ((aiohttp.ClientError, OSError), broken),
        (ValueError, Cause.BAD_URL),
    ]
    cause = next((cause for kinds, cause in causes if isinstance(error, kinds)), Cause.CONNECT)
    if isinstance(error, TimeoutError) and not str(error):
        text = "the transfer took too long in all"
    return ItemError(cause, text, http_status=status)
