"""Which addresses may be connected to: URL lists come from strangers.

A row that plainly names a machine of this network is meant to; a public host name whose answer, or
whose redirect, leads there is a trick.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from asyncv2d.types import Cause, ItemError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PrivateAddresses = Literal["auto", "deny", "allow"]

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
# Where a proxy looks names up, their addresses are never seen here.
_METADATA_NAMES = frozenset(
    {
        *("metadata", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com"),
        *("instance-data", "instance-data.ec2.internal"),
    }
)
_REMEMBERED = 4096
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# What Python takes for global: site-local addresses, NAT64 and segments of one network, old relays.
_NOT_GLOBAL = tuple(
    map(ipaddress.ip_network, ("fec0::/10", "64:ff9b:1::/48", "5f00::/16", "192.88.99.0/24"))
)
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")


class Policy(Struct, frozen=True):
    """What of this network may be reached: ``auto``: what a row plainly names."""

    private: PrivateAddresses

    def check_host(self, host: str, *, from_local: bool) -> None:
        """Refuse a host by what its name says.

        ``from_local``: everything on the way here, such as redirects, was plainly local too.
        """
        address = plain_address(host)
        if address is None and (odd := _odd_address(host)) is not None:
            if self._is_refused(odd, named=False):
                raise forbidden(host, odd)
            raise ItemError(Cause.BAD_URL, f"{host} is no usual way to write an address")
        if address is not None and self._is_refused(address, named=from_local):
            raise forbidden(host, address)
        if host.rstrip(".").lower() in _METADATA_NAMES:
            raise forbidden(host, host)
        if address is None and is_local_name(host) and not self._may_be_private(named=from_local):
            raise ItemError(Cause.FORBIDDEN_ADDRESS, f"{host} names a machine of this network")

    def allows(self, host: str, address: str) -> bool:
        """Whether ``host``, which passed ``check_host``, may have this address."""
        return not self._is_refused(ipaddress.ip_address(address), named=is_local_name(host))

    def _is_refused(self, address: Address, *, named: bool) -> bool:
        inner = _embedded(address)
        if inner is not None and self._is_refused(inner, named=False):
            return True
        if address in _METADATA:
            return True
        if address.is_link_local or address.is_unspecified or address.is_multicast:
            return self.private != "allow"
        return not _is_global(address) and not self._may_be_private(named=named)

    def _may_be_private(self, *, named: bool) -> bool:
        return self.private == "allow" or (self.private == "auto" and named)


def forbidden(host: str, address: Address | str) -> ItemError:
    """The error of a host with an address that may not be reached."""
    detail = f"{host} has the address {address}, which is not open to rows of unknown origin"
    return ItemError(
        Cause.FORBIDDEN_ADDRESS, detail if str(address) != host else f"{host} may not be reached"
    )


def is_local(host: str) -> bool:
    """Whether a host plainly says that it is a machine of this network."""
    address = plain_address(host)
    return is_local_name(host) if address is None else not _is_global(address)


def is_local_name(host: str) -> bool:
    """Whether a host name is one that only this network knows."""
    name = host.rstrip(".").lower()
    return plain_address(host) is None and ("." not in name or name.endswith(_LOCAL_SUFFIXES))


@lru_cache(_REMEMBERED)
def plain_address(host: str) -> Address | None:
    """The address that a host is, written as usual; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_global(address: Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_GLOBAL)


def _odd_address(host: str) -> Address | None:
    """The address behind 2130706433, 0x7f000001, 0177.0.0.1 or 127.1, as the system reads it."""
    name = host.rstrip(".").lower()
    if not name or not all(part and _is_number(part) for part in name.split(".")):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _is_number(part: str) -> bool:
    if part.startswith("0x"):
        return all(digit in "0123456789abcdef" for digit in part[2:])
    return part.isascii() and part.isdecimal()


def _embedded(address: Address) -> Address | None:
    """The IPv4 address inside an IPv6 one: mapped, compatible, 6to4, Teredo or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
