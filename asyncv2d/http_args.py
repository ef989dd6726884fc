"""How files are asked for over HTTP: in ``reading``, and for whatever fetches so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from asyncv2d.ports import Settings

_HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_HeaderText = Annotated[str, Field(pattern=r"^[\t -~]*$")]


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
    proxy: str | None = Field(default=None, pattern=r"^(https?|socks5h?|socks4)://.")
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
