"""How files are asked for over HTTP: in ``reading``, and for whatever fetches so."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from asyncv2d.ports import Settings

_HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_HeaderText = Annotated[str, Field(pattern=r"^[\t -~]*$")]

_PROXY_SCHEMES = ("http", "https", "socks4", "socks5", "socks5h")
_NO_HOST = re.compile(r"""[\s\0-\x1f"<>\\^`{|}]""")


class HttpArgs(Settings):
    """How hosts are treated, and when they are given up."""

    timeout: float = Field(default=60, gt=0)
    """Seconds without a connection, an answer or a byte after which an attempt is given up."""
    dns_timeout: float = Field(default=15, gt=0)
    """Seconds in which a host name has to be resolved; at most ``timeout``."""
    connect_timeout: float = Field(default=20, gt=0)
    """Seconds in which a connection has to be made; at most ``timeout``."""
    answer_timeout: float | None = Field(default=None, gt=0)
    """Seconds in which an answer has to begin; null: ``timeout``."""
    stall_timeout: float | None = Field(default=None, gt=0)
    """Seconds without a byte after which a body is given up; null: ``timeout``."""
    least_rate: int = Field(default=200, ge=0)
    """Bytes a second that a body has to bring, or a page's segments together, taken over 2 minutes
    (or ``timeout`` and ``stall_timeout``, if that is longer); what comes slower is ``stalled``.
    0: no limit."""
    total_timeout: float = Field(default=3600, gt=0)
    """Seconds that one attempt may take in all."""
    retries: int = Field(default=2, ge=0, le=100)
    """Further attempts after a failure that may pass (timeouts, 429, 5xx, broken transfers)."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Largest body accepted; null: no limit."""
    max_redirects: int = Field(default=10, gt=0, le=100)
    """Redirects in a row at which a URL is given up."""
    per_host: float | None = Field(default=None, gt=0)
    """Requests a second to one host; null: no fixed rate."""
    host_connections: int | None = Field(default=None, gt=0)
    """Most requests at a time to one host, and most loops; null: as many as it does well with."""
    host_patience: float = Field(default=60, gt=0)
    """Seconds that rows wait for a host that fails or asks for a pause."""
    user_agent: str | None = Field(default=None, pattern=r"^[ -~]+$")
    """The name given to servers; null: the program's, with its version."""
    headers: Mapping[_HeaderName, _HeaderText] = Field(default_factory=dict)
    """Further headers of every request."""
    cookies: str | None = None
    """A cookies.txt file in Netscape's format."""
    proxy: str | None = None
    """The proxy that all requests go through."""
    ip_version: Literal["auto", 4, 6] = "auto"
    """Which addresses of a host are used."""
    verify_tls: bool = True
    """Whether a host's certificate has to be good."""
    ignore_opt_out: bool = False
    """Whether files are taken whose server asks to leave them out (X-Robots-Tag)."""
    respect_robots_txt: bool = False
    """Whether a host's robots.txt is asked for and followed."""
    private_addresses: Literal["auto", "deny", "allow"] = "auto"
    """Addresses of this network: ``auto``: only for rows that plainly name them."""

    @field_validator("proxy")
    @classmethod
    def _can_be_reached(cls, proxy: str | None) -> str | None:
        if proxy is not None:
            _check_proxy(proxy)
        return proxy

    @field_validator("ip_version", mode="before")
    @classmethod
    def _as_number(cls, version: Any) -> Any:
        return int(version) if version in ("4", "6") else version

    @field_validator("ip_version")
    @classmethod
    def _fits_proxy(
        cls, version: Literal["auto", 4, 6], info: ValidationInfo
    ) -> Literal["auto", 4, 6]:
        proxy = info.data.get("proxy")
        other = _version_of(urlsplit(proxy).hostname or "") if proxy else None
        if other is not None and version not in ("auto", other):
            raise ValueError(f"the proxy has an address of IPv{other}")
        return version


def _version_of(host: str) -> int | None:
    """Of the address that a host is; None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def _check_proxy(proxy: str) -> None:
    """Refuse what is no proxy's URL; its password is not told."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("no URL of a proxy: its host or its port cannot be read") from None
    if parts.scheme not in _PROXY_SCHEMES:
        raise ValueError(f"a proxy's URL begins with one of: {', '.join(_PROXY_SCHEMES)}, and ://")
    if not host or _NO_HOST.search(host):
        raise ValueError("no URL of a proxy: it names no host")
    if port == 0:
        raise ValueError("no URL of a proxy: port 0")
    if port is None and parts.scheme.startswith("socks"):
        raise ValueError("the proxy's port is missing, as in socks5://host:1080")
