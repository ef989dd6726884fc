"""Puts something in the place of what yt-dlp, or Python under it, has: they have no doors there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within it, ``owner.name`` is ``value``."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
