"""Deadlines of operations that count their work, and not the wait for their turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

import anyio

_around: ContextVar[anyio.CancelScope | None] = ContextVar("deadline", default=None)


class Deadline:
    """Cancels what takes longer than ``seconds``, without what it spends in ``waiting``."""

    def __init__(self, seconds: float) -> None:
        self._scope = anyio.move_on_after(seconds)

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._before = _around.set(self._scope)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        _around.reset(self._before)
        return bool(self._scope.__exit__(kind, error, trace))


@contextmanager
def waiting() -> Iterator[None]:
    """Put off the deadline of this task's operation by the time that is spent in here.

    For waits whose end is sure, and whose length says nothing of the operation itself: in a large
    job, rows wait for hours until it is their turn at a host that takes a few requests an hour.
    """
    scope = _around.get()
    if scope is None:
        yield
        return
    begin, before = anyio.current_time(), scope.deadline
    scope.deadline = math.inf
    try:
        yield
    finally:
        scope.deadline = before + anyio.current_time() - begin
