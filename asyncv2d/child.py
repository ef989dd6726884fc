"""A worker or loop process as the one that had it started sees it."""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio

from asyncv2d.pipes import PipeReceiver, PipeSender

_KILL_DEADLINE_S = 10.0


class Child:
    """A process that runs, with pipes to its standard streams.

    ``stderr`` is None where that is not kept. ``kill`` is what ends it at once.
    """

    def __init__(self, *, keeps_stderr: bool) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.stdin, self.stdout = PipeSender(ours_in), PipeReceiver(ours_out)
        self.stderr: PipeReceiver | None = None
        self._theirs = [theirs_in, theirs_out]
        if keeps_stderr:
            ours_err, theirs_err = os.pipe()
            self.stderr = PipeReceiver(ours_err)
            self._theirs.append(theirs_err)
        self.pid: int | None = None
        self.returncode: int | None = None
        self._kill: Callable[[int], None] = lambda _: None
        self._kill_nursery: Callable[[], None] = lambda: None
        self._ended = anyio.Event()

    @property
    def streams(self) -> list[int]:
        """The file descriptors that it is to have as 0, 1 and perhaps 2."""
        return self._theirs

    def let_go(self) -> None:
        """Close what only the process is to have, so that its end is seen."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def born(self, pid: int, kill: Callable[[int], None], kill_nursery: Callable[[], None]) -> None:
        """It runs from now on, and dies with the nursery at the latest."""
        self.pid, self._kill, self._kill_nursery = pid, kill, kill_nursery

    def ended(self, code: int) -> None:
        """It runs no more; a negative ``code`` is the signal that ended it."""
        self.returncode = code
        self._ended.set()

    async def wait(self) -> int:
        """Wait until it has ended; its code."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def close_pipes(self) -> None:
        """Say no more to it, and hear no more of it."""
        self.let_go()
        await self.stdin.aclose()
        await self.stdout.aclose()
        if self.stderr is not None:
            await self.stderr.aclose()

    async def kill(self) -> None:
        """End it now, and wait until it is gone."""
        with anyio.CancelScope(shield=True):
            await self.close_pipes()
            if self.pid is None or self.returncode is not None:
                return
            self._kill(self.pid)
            with anyio.move_on_after(_KILL_DEADLINE_S):
                await self.wait()
            if self.returncode is None:  # the nursery stands still
                self._kill_nursery()
