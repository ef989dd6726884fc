"""Starts worker and loop processes, as forks of one that has imported what all of them need."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio import to_thread

from asyncv2d.child import Child
from asyncv2d.nursery_main import (
    BORN,
    DEAD,
    FORK,
    KILL,
    LENGTH,
    NEWS,
    ORDER,
    READY,
)
from asyncv2d.nursery_start import Begun, Kind, begin

_START_DEADLINE_S = 60.0


class StartError(Exception):
    """A process could not be started; says why, as far as known."""


class Nursery:
    """Starts processes of one kind, all of which would first call ``warm_up``.

    The process that they are forked from has ``begun``, or is started with the first of them, and
    anew where it has died; they die with it.
    """

    def __init__(
        self,
        kind: Kind,
        warm_up: Callable[[], object] | None = None,
        begun: Begun | None = None,
    ) -> None:
        self._kind = kind
        self._warm_up = pickle.dumps(warm_up)
        self._begun = begun
        self._opening = anyio.Lock()
        self._line: _Line | None = None

    async def start(self) -> Child:
        """Start a process. Raises StartError."""
        line = await self._open_line()
        try:
            with anyio.fail_after(_START_DEADLINE_S):
                await line.is_ready()
                return await line.fork()
        except TimeoutError:
            await line.close()  # it stands still, and would not end either what it has forked
            raise StartError(f"not ready within {_START_DEADLINE_S:g} s") from None

    async def close(self) -> None:
        """Start no more. Those that were started have to have ended, or will see to it."""
        line, self._line = self._line, None
        begun, self._begun = self._begun, None
        if line is not None:
            await line.close()
        if begun is not None:
            begun.end()

    async def _open_line(self) -> _Line:
        async with self._opening:
            if self._line is not None and self._line.is_cut:
                await self.close()
            if self._line is None:
                begun, self._begun = self._begun or begin(self._kind), None
                self._line = _Line(begun)
                await self._line.say_first(self._warm_up)
            return self._line


class _Line:
    """The connection to the process that others are forked from."""

    def __init__(self, begun: Begun) -> None:
        self._kind = begun.kind
        self._process = begun.process
        self._socket = begun.line
        self._said = begun.said
        self._words = ""
        self._news = b""
        self._ready, self._cut = anyio.Event(), anyio.Event()
        self._unborn = deque[_Birth]()
        self._children: dict[int, Child] = {}
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    @property
    def is_cut(self) -> bool:
        """Whether that process is gone."""
        return self._cut.is_set()

    async def say_first(self, warm_up: bytes) -> None:
        """What every process would have to call first."""
        message = LENGTH.pack(len(warm_up)) + warm_up
        with anyio.CancelScope(shield=True), suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(self._socket, message)

    async def is_ready(self) -> None:
        """Wait until that process can fork, or has died."""
        await self._ready.wait()

    async def fork(self) -> Child:
        """Have it fork. Raises StartError."""
        if self.is_cut:
            raise StartError(await self._last_words())
        child = Child(keeps_stderr=self._kind.keeps_stderr)
        birth = _Birth(child)
        try:
            self._unborn.append(birth)
            self._order(FORK, 0, child.streams)
            child.let_go()
            await birth.over.wait()
        except BaseException:
            birth.is_wanted = False
            await child.kill()
            raise
        if child.pid is None:
            await child.close_pipes()
            raise StartError(birth.failure or await self._last_words())
        return child

    async def close(self) -> None:
        """Hang up, and wait until that process has ended."""
        with anyio.CancelScope(shield=True):
            self._hang_up()
            await self._last_words()  # somebody may still ask for them
            if self._said is not None:
                self._said.close()

    def _hang_up(self) -> None:
        """End that process, and with it what it forked and has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._lose()

    def _order(self, kind: bytes, pid: int, fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._socket, [ORDER.pack(kind, pid)], fds or [])
        except (BrokenPipeError, ConnectionResetError):  # it has died, of which ``_hear`` hears
            return

    def _hear(self) -> None:
        try:
            heard = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._lose()
            return
        self._news += heard
        whole = len(self._news) // NEWS.size * NEWS.size
        for kind, pid, code in NEWS.iter_unpack(self._news[:whole]):
            self._learn(kind, pid, code)
        self._news = self._news[whole:]

    def _learn(self, kind: bytes, pid: int, code: int) -> None:
        if kind == READY:
            self._ready.set()
        elif kind == BORN:
            self._welcome(self._unborn.popleft(), pid, code)
        elif kind == DEAD and (child := self._children.pop(pid, None)) is not None:
            child.ended(code)

    def _welcome(self, birth: _Birth, pid: int, error: int) -> None:
        if pid == 0:
            birth.failure = os.strerror(error)
        elif birth.is_wanted:
            self._children[pid] = birth.child
            birth.child.born(pid, self._kill, self._hang_up)
        else:
            self._kill(pid)
        birth.over.set()

    def _kill(self, pid: int) -> None:
        self._order(KILL, pid)

    def _lose(self) -> None:
        """That process is gone, and all that it forked with it."""
        if not self.is_cut:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        self._cut.set()
        self._ready.set()
        for birth in self._unborn:
            birth.over.set()
        for child in self._children.values():
            child.ended(-signal.SIGKILL)
        self._unborn.clear()
        self._children.clear()

    async def _last_words(self) -> str:
        code = await to_thread.run_sync(self._process.wait)
        if not self._words:
            self._words = f"it ended with code {code}"
            if self._said is not None:
                self._said.seek(0)
                lines = self._said.read().decode(errors="replace").strip().splitlines()
                self._words = lines[-1] if lines else self._words
        return self._words


class _Birth:
    """A child that is to be born."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.is_wanted = True
        self.failure: str | None = None
        self.over = anyio.Event()
