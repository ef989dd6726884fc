"""What a server says that serves too many already."""

from __future__ import annotations

from asyncv2d.types import ItemError


class BusyError(ItemError):
    """The server takes no more connections now; ``serves_others`` if it did take some."""

    serves_others = False
