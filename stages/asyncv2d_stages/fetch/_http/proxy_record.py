"""What became of the servers that a proxy was asked for last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

_REMEMBERED = 3  # servers that were served, of which not all may be gone at once
_SEVERAL = 4  # servers in a row that failed, until it may be the proxy that does


class ProxyRecord:
    """Remembers a few that were served last, and those that failed since."""

    def __init__(self) -> None:
        self._served: OrderedDict[str, str] = OrderedDict()  # by server, what it was asked for
        self._failing: set[str] = set()

    @property
    def served(self) -> int:
        """How many servers are known that were served."""
        return len(self._served)

    @property
    def fails(self) -> bool:
        """Whether several servers in a row failed, and no other was served since."""
        return len(self._failing) >= _SEVERAL

    def add_served(self, origin: str, url: str) -> None:
        """A server was served, when it was asked for ``url``."""
        self._served[origin] = url
        self._served.move_to_end(origin)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)
        self.forgive()

    def add_failed(self, place: str) -> None:
        """A server was not."""
        if not self.fails:
            self._failing.add(place)

    def forgive(self) -> None:
        """Those that failed did so for themselves."""
        self._failing.clear()

    def served_files(self) -> Sequence[str]:
        """What was served last: any other file may be one that its server cannot give."""
        return [*self._served.values()]

    def small_files(self) -> Sequence[str]:
        """What to ask for, to see whether servers answer."""
        return [f"{origin}/robots.txt" for origin in self._served]
