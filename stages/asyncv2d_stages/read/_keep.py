"""What a reader keeps between two shards, so that reading them in order reads nothing twice."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Something open."""

    def close(self) -> None:
        """Let go of it."""


T = TypeVar("T", bound=Closable)


class Keep(Generic[T]):
    """A place for one open thing.

    It is no part of the settings it lies in: all are equal, and a copy in another process is empty.
    """

    def __init__(self) -> None:
        self._held: T | None = None

    def take(self) -> T | None:
        """Take it out, if there is one."""
        held, self._held = self._held, None
        return held

    def put(self, thing: T) -> None:
        """Put it in; one that is there already is closed."""
        self.close()
        self._held = thing

    def close(self) -> None:
        """Close what is in it."""
        if (held := self.take()) is not None:
            held.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keep)

    def __hash__(self) -> int:
        return 0

    def __reduce__(self) -> tuple[type[Keep[T]], tuple[()]]:
        return type(self), ()

    def __del__(self) -> None:
        self.close()
