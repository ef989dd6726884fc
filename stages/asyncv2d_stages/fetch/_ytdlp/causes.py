"""What went wrong at a site, from what yt-dlp raised."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from typing import Any

from asyncv2d.types import Cause, ItemError, RunError
from asyncv2d_stages.fetch._http.causes import of_status, retry_after
from asyncv2d_stages.fetch._ytdlp.clean import clean_text
from asyncv2d_stages.fetch._ytdlp.guard import RefusedError
from asyncv2d_stages.fetch._ytdlp.segments import BadSegmentError

# Where a site means more by a status than a server of files.
_STATUS = {
    401: Cause.LOGIN_REQUIRED,
    402: Cause.LOGIN_REQUIRED,
    429: Cause.RATE_LIMITED,
    451: Cause.GEO_BLOCKED,
}
_CLASSES = {
    "GeoRestrictedError": Cause.GEO_BLOCKED,
    "UserNotLive": Cause.LIVE,
    "UnsupportedError": Cause.NOT_MEDIA,
}
# The first that is found counts; what sites say to robots goes before what they say of videos.
_ROBOT = re.compile(
    r"not a bot|captcha|verify (that )?you are (a )?human|unusual traffic", re.IGNORECASE
)
_SAYINGS = [
    (Cause.LOGIN_REQUIRED, _ROBOT.pattern),
    (Cause.RATE_LIMITED, r"rate.?limit|too many requests|try again later.{0,40}requests"),
    (
        Cause.AGE_RESTRICTED,
        r"age.?(restricted|restriction|limit|gate)|confirm your age|verify your age|adult content"
        r"|inappropriate for some users|18 years",
    ),
    (Cause.PRIVATE, r"\bprivate\b|password.?protected|enter (the|a) password|protected by a passw"),
    (Cause.NO_FORMAT, r"no (video )?formats|requested format|\bdrm\b"),
    (
        Cause.GEO_BLOCKED,
        r"geo.?(restrict|block)|in your (country|region|location)|from your (country|location)"
        r"|not available (in|from) .{0,40}(country|region|location)|in your current region",
    ),
    (
        Cause.LIVE,
        r"\bis live\b|not currently live|live (event|stream).{0,40}(will|begin|start|offline)"
        r"|premieres? (in|will)|will begin|has not (yet )?started|is offline|live event has ended",
    ),
    (
        Cause.LOGIN_REQUIRED,
        r"log ?in|sign ?in|logged.?in|registered users|account credentials|--cookies|--username"
        r"|members?.only|join this channel|subscri(be|bers|ption)|authenticat|premium",
    ),
    (
        Cause.UNAVAILABLE,
        r"unavailable|no longer (available|exist)|(has|have|was|were|been) (been )?(removed|deleted"
        r"|taken down)|does not exist|doesn.t exist|not exist|terminated|not be found|not found"
        r"|expired|isn.t available|is not available|suspended|copyright",
    ),
    (Cause.NOT_MEDIA, r"unsupported url|no media|no videos? (could be )?(found|in)|no suitable"),
]
_PATTERNS = [(cause, re.compile(saying, re.IGNORECASE)) for cause, saying in _SAYINGS]
_DECORATION = re.compile(r"\x1b\[[0-9;]*m")
_BLURB = re.compile(
    r"[;.]?\s*(please report this issue on|Confirm you are on the latest|See {1,2}https://github\.com/yt"
    r"|Use --cookies|Use --list-formats|Also see {1,2}https).*",
    re.DOTALL | re.IGNORECASE,
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_TUNNEL = "Tunnel connection failed: 407"
_NO_SOCKS = (0xFE, 0xFF)
_HTTP_ERROR = re.compile(r"HTTP Error (\d{3})\b")
_LONGEST = 400


def explained(error: BaseException, warnings: list[str]) -> ItemError:
    """The cause behind ``error``; ``warnings`` is what yt-dlp had said before."""
    chain = list(_chain(error))
    text = _plain(chain)
    facts: dict[str, Any] = {}
    status = next(filter(None, map(_status, chain)), None) or _said_status(text)
    if status is not None:
        facts["http_status"] = status
    if any(map(_is_refused_by_proxy, chain)):
        facts["proxy_refused"] = True
    cause = _cause(chain, text, status)
    if (wait_s := next(filter(None, map(_wait, chain)), None)) is not None:
        facts["retry_after_s"] = wait_s
    if cause is Cause.LOGIN_REQUIRED and _ROBOT.search(text):
        facts["robot"] = True
    if cause is Cause.NO_FORMAT and warnings:
        text = f"{text} (before that: {warnings[-1]})"
    return ItemError(cause, clean_text(text)[:_LONGEST], **facts)


def full_disk(error: BaseException) -> RunError | None:
    """A full disk, if that is behind ``error``: no row is to blame, and none would fare better."""
    errors = [item for item in _chain(error) if isinstance(item, OSError)]
    found = next((item for item in errors if item.errno in _FULL), None)
    return None if found is None else RunError(f"cannot keep downloads: {found.strerror}")


def refused(error: BaseException) -> ItemError | None:
    """The refusal of ours behind ``error``, if there is one."""
    ours = next((item for item in _chain(error) if isinstance(item, RefusedError)), None)
    return None if ours is None else ItemError(ours.cause_of_row, str(ours))


def _is_refused_by_proxy(error: BaseException) -> bool:
    """Whether the proxy wants another user or password; what sites say is no proof of that."""
    if type(error).__name__ == "Socks5Error":
        return error.args[0] in _NO_SOCKS
    return isinstance(error, OSError) and str(error).startswith(_NO_TUNNEL)


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _wait(error: BaseException) -> float | None:
    """Seconds that the site asks to wait."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    return None if headers is None else retry_after(headers.get("Retry-After"))


def _said_status(text: str) -> int | None:
    found = _HTTP_ERROR.search(text)
    return int(found[1]) if found else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that are behind it, the outermost first."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        behind = getattr(item, "exc_info", None)
        waiting.append(behind[1] if isinstance(behind, tuple) and len(behind) > 1 else None)
        waiting += [getattr(item, "cause", None), getattr(item, "reason", None)]
        waiting += [item.__cause__, item.__context__]


def _cause(chain: list[BaseException], text: str, status: int | None) -> Cause:
    ours = (RefusedError, BadSegmentError)
    refused = next((item for item in chain if isinstance(item, ours)), None)
    if refused is not None:
        return refused.cause_of_row
    names = {type(item).__name__ for item in chain}
    if known := next((cause for name, cause in _CLASSES.items() if name in names), None):
        return known
    if status == 429:
        return Cause.RATE_LIMITED
    said = next((cause for cause, pattern in _PATTERNS if pattern.search(text)), None)
    if status is not None and (said is None or said is Cause.UNAVAILABLE):
        return _STATUS.get(status) or of_status(status)
    return said or _of_connection(chain, names)


def _of_connection(chain: list[BaseException], names: set[str]) -> Cause:
    """No answer came, or no whole one; else the page was not understood."""
    text = " ".join(str(item) for item in chain).lower()
    if any(isinstance(item, socket.gaierror) for item in chain) or "name resolution" in text:
        return Cause.DNS
    if names & {"SSLError", "CertificateVerifyError", "SSLCertVerificationError"}:
        return Cause.TLS
    broke_off = any(getattr(item, "broke_off", False) for item in chain)
    if "timed out" in text or any(isinstance(item, TimeoutError) for item in chain):
        return Cause.STALLED if broke_off else Cause.TIMEOUT
    if broke_off or names & {"IncompleteRead", "ContentTooShortError"}:
        return Cause.TRUNCATED
    if names & {"TransportError", "ProxyError", "ConnectionError", "RemoteDisconnected"}:
        return Cause.CONNECT
    return Cause.EXTRACTOR_FAILED


def _plain(chain: list[BaseException]) -> str:
    """What the site or yt-dlp says, without colours and advice for yt-dlp's own users."""
    innermost = next((item for item in chain if getattr(item, "orig_msg", None)), None)
    text = str(getattr(innermost, "orig_msg", None) or chain[0])
    text = _DECORATION.sub("", text).removeprefix("ERROR: ")
    return " ".join(_BLURB.sub("", text).split()) or type(chain[0]).__name__
