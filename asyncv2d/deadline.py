"""Deadlines of operations that count their work, and not the wait for their turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

import anyio


class Queue:
    """The operations that wait for their turn now, and may be sent away when a run is to stop."""

    def __init__(self) -> None:
        self._waiting: dict[Deadline, None] = {}
        self._is_closed = False

    def close(self) -> None:
        """Send all away that wait, and those that will."""
        self._is_closed = True
        for operation in self._waiting:
            operation.send_away()

    @contextmanager
    def place(self, operation: Deadline) -> Iterator[None]:
        """A place in the queue."""
        self._waiting[operation] = None
        if self._is_closed:
            operation.send_away()
        try:
            yield
        finally:
            del self._waiting[operation]


class Deadline:
    """Cancels what takes longer than ``seconds``, without what it spends in ``waiting``.

    While it ``waits`` it is in ``queue``; ``was_sent_away`` says how that ended.
    """

    def __init__(self, seconds: float, queue: Queue | None = None) -> None:
        self.was_sent_away = self.waits = False
        self._scope = anyio.move_on_after(seconds)
        self._queue = Queue() if queue is None else queue

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._before = _around.set(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        _around.reset(self._before)
        return bool(self._scope.__exit__(kind, error, trace))

    def send_away(self) -> None:
        """Cancel it: its turn will not come."""
        self.was_sent_away = True
        self._scope.cancel()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Put the deadline off by the time that is spent in here."""
        begin, before = anyio.current_time(), self._scope.deadline
        self._scope.deadline, self.waits = math.inf, True
        try:
            yield
        finally:
            self.waits = False
            self._scope.deadline = before + anyio.current_time() - begin

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """The same in the queue."""
        with self.stopped(), self._queue.place(self):
            yield


_around: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current_operation() -> Deadline | None:
    """The operation that is going on here."""
    return _around.get()


@contextmanager
def waiting(*, holds: bool = False) -> Iterator[None]:
    """A wait whose end is sure, and whose length says nothing of the operation itself.

    In a large job, rows wait for hours until it is their turn at a host that takes a few requests
    an hour. The deadline around is put off by the time that is spent in here. ``holds``: something
    is done already that would be lost; else the operation is given up if the run is to stop.
    """
    operation = _around.get()
    if operation is None or operation.waits:
        yield
        return
    with operation.stopped() if holds else operation.queueing():
        yield
