"""Opens aiohttp as the settings say: who asks, through what, and to which addresses."""

from __future__ import annotations

import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asyncv2d.types import Cause, UserError
from asyncv2d_stages.fetch._hosts.dns import HostLookup, UnresolvedError, resolver
from asyncv2d_stages.fetch._http.in_order import in_order

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType

    from asyncv2d_stages.fetch._hosts.limits import Hosts
    from asyncv2d_stages.fetch.http import HttpFetcher

_KEPT_S = 5.0
_BUFFER = 1 << 17
_LONGEST_LINE = 1 << 16  # of an answer's head: lists of allowed origins and cookies can be long
_VERSIONS = {socket.AF_INET: 4, socket.AF_INET6: 6}
_FAMILIES = {"auto": socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


def family(settings: HttpFetcher) -> socket.AddressFamily:
    """The kind of addresses to use."""
    return _FAMILIES[settings.ip_version]


def user_agent(settings: HttpFetcher) -> str:
    """The name given to servers."""
    return settings.user_agent or _own_name()


@cache  # the package's whole description is read for it
def _own_name() -> str:
    return f"asyncv2d/{version('asyncv2d')}"


def proxy_host(settings: HttpFetcher) -> str | None:
    """The host of the proxy, if there is one."""
    return None if settings.proxy is None else urlsplit(settings.proxy).hostname


@asynccontextmanager
async def open_session(
    settings: HttpFetcher, lookup: HostLookup, hosts: Hosts | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that follows no redirect, keeps no cookie, and unpacks no body by itself.

    ``hosts`` is where it is kept which of them say more than they are asked.
    """
    import aiohttp
    from multidict import CIMultiDict

    headers = CIMultiDict(
        {
            "User-Agent": user_agent(settings),
            "Accept": "*/*",
            # Media are compressed already; a body that is not can be checked and resumed.
            "Accept-Encoding": "identity",
        }
    )
    headers.update(settings.headers)
    authorization = headers.pop("Authorization", None)
    is_socks = settings.proxy is not None and settings.proxy.startswith("socks")
    async with aiohttp.ClientSession(
        connector=_connector(settings, lookup, hosts),
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=min(settings.connect_timeout, settings.timeout),
            sock_read=settings.answer_timeout or settings.timeout,
        ),
        headers=headers,
        middlewares=() if authorization is None else (_authorizing(authorization),),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_BUFFER,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        proxy=None if is_socks else settings.proxy,
    ) as session:
        yield session


def _authorizing(authorization: str) -> ClientMiddlewareType:
    """Adds the user's header where a row's URL has no credentials of its own: aiohttp takes one."""

    async def send(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.setdefault("Authorization", authorization)
        return await handler(request)

    return send


def _connector(
    settings: HttpFetcher, lookup: HostLookup, hosts: Hosts | None
) -> aiohttp.BaseConnector:
    import aiohttp

    options: dict[str, Any] = {
        "limit": 0,  # there are limits of our own
        "ssl": settings.verify_tls,
        "keepalive_timeout": _KEPT_S,
        "use_dns_cache": False,
    }
    if settings.proxy is not None and settings.proxy.startswith("socks"):
        options["family"] = family(settings)
        return _socks_connector(settings.proxy, hosts, options)
    # No family: the lookup gives addresses of the right one only, and of an address that a row
    # names aiohttp would believe that it is of that family too.
    connector: aiohttp.BaseConnector = in_order(aiohttp.TCPConnector, hosts)(
        resolver=resolver(lookup), socket_factory=_sockets(family(settings)), **options
    )
    return connector


def _sockets(wanted: socket.AddressFamily) -> Callable[[Any], socket.socket]:
    """Makes sockets for addresses of the family that is wanted."""

    def make(address: tuple[Any, ...]) -> socket.socket:
        kind, type_, protocol, _, place = address
        if wanted not in (socket.AF_UNSPEC, kind):
            error = UnresolvedError(
                Cause.DNS, f"{place[0]} is no address of IPv{_VERSIONS[wanted]} (ip_version)"
            )
            error.is_final = True
            raise error
        return socket.socket(kind, type_, protocol)

    return make


def _socks_connector(
    proxy: str, hosts: Hosts | None, options: dict[str, Any]
) -> aiohttp.BaseConnector:
    try:
        from aiohttp_socks import ProxyConnector
    except ImportError:
        raise UserError(
            "reading.proxy: socks proxies need aiohttp-socks, which is not installed:"
            " pip install 'asyncv2d[socks]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        plain = proxy.replace("5h://", "5://")
        kind = in_order(ProxyConnector, hosts)
        connector: aiohttp.BaseConnector = kind.from_url(plain, rdns=True, **options)
    return connector
