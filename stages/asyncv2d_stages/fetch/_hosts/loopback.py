"""Names under ``localhost``, which are no resolver's business."""

from __future__ import annotations

_LOCALHOST = "localhost"


def asked_name(host: str) -> str:
    """The name to look up for ``host``: all names under ``localhost`` mean it (RFC 6761).

    Browsers do so, too. Resolvers of most systems know ``localhost`` alone, and would ask others
    for the rest.
    """
    name = host.rstrip(".").lower()
    return _LOCALHOST if f".{name}".endswith(f".{_LOCALHOST}") else host
