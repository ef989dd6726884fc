"""Ends downloads that come so slowly that they would keep their process for hours.

A server that sends a byte now and then never stands still for long enough to be noticed. So what
comes is counted, and where it comes out of sockets: readers of more wait until all of it is there.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import Lock
from typing import Any

from asyncv2d_stages.fetch._http.least import Least
from asyncv2d_stages.fetch._ytdlp.guard import RefusedError
from asyncv2d_stages.fetch._ytdlp.instead import instead


class Pace:
    """How fast the connections of one download bring something, all together.

    Time counts while one of them is waited for: taking long over what came is nobody's delay.
    """

    def __init__(self, least: Least, clock: Callable[[], float] = time.monotonic) -> None:
        self._least = least
        self._clock = clock
        self._lock = Lock()
        self._waiting = 0
        self._seen = 0.0
        self._waited = 0.0
        self._came = 0
        self._is_too_slow = False

    def begin(self) -> None:
        """One more waits."""
        with self._lock:
            self._count()
            self._waiting += 1

    def end(self, came: int = 0) -> None:
        """One waits no more, and ``came`` bytes are there."""
        with self._lock:
            self._count()
            self._waiting -= 1
            self._came += came
            if self._came >= self._least.size:
                self._came, self._waited = 0, 0.0
            self._is_too_slow |= self._waited > self._least.within_s

    def check(self) -> None:
        """Raise RefusedError (stalled) where that is too slow; then no other connection goes on."""
        if self._is_too_slow:
            raise RefusedError(self._least.failure())

    def _count(self) -> None:
        now = self._clock()
        if self._waiting:
            self._waited += now - self._seen
        self._seen = now


@contextmanager
def paced(least: Least) -> Iterator[None]:
    """Within it, what comes over this process's connections may not come slower."""
    pace = Pace(least)
    connections = (http.client.HTTPConnection, http.client.HTTPSConnection)
    with ExitStack() as stack:
        if least.rate:
            read = _reading(socket.SocketIO.readinto, pace)
            stack.enter_context(instead(socket.SocketIO, "readinto", read))
            for kind in connections:
                stack.enter_context(instead(kind, "connect", _connecting(kind.connect, pace)))
        yield


def _reading(read: Callable[..., int | None], pace: Pace) -> Callable[..., int | None]:
    @wraps(read)
    def counted(self: socket.SocketIO, buffer: Any) -> int | None:
        came = None
        pace.begin()
        try:
            came = read(self, buffer)
        finally:
            pace.end(came or 0)
        if came:  # else it is at its end
            pace.check()
        return came

    return counted


def _connecting(connect: Callable[..., None], pace: Pace) -> Callable[..., None]:
    @wraps(connect)
    def counted(self: http.client.HTTPConnection) -> None:
        pace.begin()
        try:
            connect(self)
        finally:
            pace.end()

    return counted
