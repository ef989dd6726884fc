"""Where a request may go."""

from __future__ import annotations

from asyncv2d_stages.fetch._hosts.dns import HostLookup
from asyncv2d_stages.fetch._hosts.safety import Policy, plain_address
from asyncv2d_stages.fetch._http.urls import Target


class Way:
    """Whether a target may be gone to; ``lookup`` is None where a proxy looks hosts up."""

    def __init__(self, policy: Policy, lookup: HostLookup | None) -> None:
        self._policy = policy
        self._lookup = lookup

    async def check(self, wanted: Target, *, from_local: bool) -> None:
        """Raises ItemError if not. Looks the host up before a slot is taken: that may take long."""
        self._policy.check_host(wanted.host, from_local=from_local)
        if self._lookup is not None and plain_address(wanted.host) is None:
            await self._lookup.addresses(wanted.host)
