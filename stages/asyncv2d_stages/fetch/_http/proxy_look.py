"""A look at the proxy: whether anything is answered through it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio

from asyncv2d.types import ItemError, UserError
from asyncv2d_stages.fetch._hosts.dns import open_lookup
from asyncv2d_stages.fetch._hosts.safety import Policy
from asyncv2d_stages.fetch._http.causes import foreseen
from asyncv2d_stages.fetch._http.session import family, open_session, proxy_host

if TYPE_CHECKING:
    from asyncv2d_stages.fetch.http import HttpFetcher

REFUSED = 407
"""The status with which a proxy wants another user or password."""
ANSWERED = 200
"""Stands for any other answer that has no status."""
FAILED = (502, 503, 504)
"""Statuses with which a proxy says that it cannot serve; so may the server itself."""
_AUTH = "authentication"
_LITTLE = {"Range": "bytes=0-0"}


async def ask_through(settings: HttpFetcher, url: str, within_s: float) -> int | None:
    """The status with which ``url`` is answered through the settings' proxy; None: not in time.

    Asked on a connection of its own: one that is open still may be all that is left of a proxy.
    """
    policy = Policy(settings.private_addresses)
    names = open_lookup(policy, within_s, family(settings), proxy_host(settings))
    try:
        with anyio.fail_after(within_s):
            async with (
                names as lookup,
                open_session(settings, lookup) as session,
                session.get(url, headers=_LITTLE, allow_redirects=False) as response,
            ):
                return response.status
    except UserError:  # only yt-dlp can speak with it
        return ANSWERED
    except ItemError:  # it has no address
        return None
    except foreseen() as error:
        if is_refusal(error):
            return REFUSED
        return getattr(error, "status", FAILED[0]) if is_answer(error) else None


def is_refusal(error: Exception) -> bool:
    """Whether the proxy wants other credentials, which is no fault of any row."""
    import aiohttp

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status == REFUSED
    socks = sys.modules.get("aiohttp_socks")
    # Its errors have no codes.
    return socks is not None and isinstance(error, socks.ProxyError) and _AUTH in str(error).lower()


def is_answer(error: Exception) -> bool:
    """Whether the proxy said itself that it cannot reach the server."""
    import aiohttp

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return True
    socks = sys.modules.get("aiohttp_socks")
    is_of_socks = socks is not None and isinstance(error, socks.ProxyError)
    return is_of_socks and getattr(error, "error_code", None) is not None


def is_unreached(error: Exception) -> bool:
    """Whether nobody took the connection to the proxy."""
    import aiohttp

    socks = sys.modules.get("aiohttp_socks")  # only there where it is used
    further = () if socks is None else (socks.ProxyConnectionError,)
    return isinstance(error, (aiohttp.ClientProxyConnectionError, *further))
