"""What a launcher is, and the shards it hands out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import to_thread
from msgspec import Struct, field

from asyncv2d.job import Job
from asyncv2d.nursery import Nursery
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import ShardSpec


class Mission(Struct, frozen=True):
    """A job and the folders to work in.

    ``folder`` takes unfinished shards, on the file system of the output folder if that is on this
    machine; ``spool`` takes bodies. Whoever made them removes them. ``identity`` stands for all
    that decides what the rows become. ``nursery`` starts loop processes.
    """

    job: Job
    folder: Path
    spool: SpoolFolders
    identity: str
    nursery: Nursery


class Control(Struct, frozen=True):
    """How a run is watched and stopped: callbacks for what happens, and the wish to drain."""

    report: Callable[[Mapping[str, Any]], None]
    progress: Callable[[Mapping[str, Any]], None]
    log: Callable[[str], None]
    outcome: Callable[[Mapping[str, Any]], None] | None = None
    drain: anyio.Event = field(default_factory=anyio.Event)


class Launcher(Protocol):
    """Spreads shards over processes or machines."""

    async def run(self, mission: Mission, shards: ShardQueue, control: Control) -> None:
        """Run all shards, or those begun before ``control.drain`` is set.

        Raises UserError where the input turns out to be unreadable, and RunError where processes
        cannot be kept alive. Cancelling ends everything.
        """


class ShardQueue:
    """The shards still to do, read from the input as they are asked for, and those in hand."""

    def __init__(self, shards: Iterator[ShardSpec], max_retry: int, control: Control) -> None:
        self._shards = shards
        self._max_retry = max_retry
        self._control = control
        self._again: list[ShardSpec] = []
        self._ahead = deque[ShardSpec]()
        self._in_hand: dict[int, ShardSpec] = {}
        self._failures: Counter[int] = Counter()
        self._reading = anyio.Lock()
        self._changed = anyio.Event()

    async def take(self, leave: Callable[[], int] = lambda: 0) -> ShardSpec | None:
        """The next shard; None when all are done.

        While shards are in hand elsewhere this waits, since one of them may have to be tried again.
        Who has one already leaves so many to others: it waits, if need be, until they have theirs.
        """
        while True:
            changed = self._changed
            if await self._leaves(leave()) and (spec := await self._next()) is not None:
                # Not waiting for anything from here on: who is cancelled would lose the shard.
                self._in_hand[spec.id] = spec
                self._tell_change()
                return spec
            if changed.is_set():  # such as a shard that came back meanwhile
                continue
            if not self._in_hand:
                return None
            await changed.wait()

    async def has(self, count: int) -> bool:
        """Whether so many shards are still to be taken, as far as is known now."""
        while len(self._ahead) < count:
            async with self._reading:
                spec = await self._read()
                if spec is None:
                    return False
                self._ahead.append(spec)
        return True

    async def are_left(self) -> bool:
        """Whether any shard is not done yet."""
        return bool(self._in_hand or self._again) or await self.has(1)

    async def done(self, report: Mapping[str, Any]) -> None:
        """A shard ended. One that could not be published is tried again, or reported as it is."""
        spec = self._in_hand.pop(report["shard"])
        if report["error"] is not None:
            self._failures[spec.id] += 1
            if self._failures[spec.id] <= self._max_retry:
                self._control.log(f"shard {spec.id} is tried again: {report['error']}")
                self._again.append(spec)
                report = {}
        if report:
            self._control.report(report)
        self._tell_change()

    def put_back(self, shard: int) -> None:
        """A shard that was taken was not begun; that is no failure of it."""
        self._again.append(self._in_hand.pop(shard))
        self._tell_change()

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _leaves(self, others: int) -> bool:
        """Whether so many shards are there beside the next one."""
        return others == 0 or await self.has(others + 1 - len(self._again))

    async def _next(self) -> ShardSpec | None:
        if self._again:
            return self._again.pop()
        async with self._reading:  # what is being read for ``has`` comes first
            return self._ahead.popleft() if self._ahead else await self._read()

    async def _read(self) -> ShardSpec | None:
        return await to_thread.run_sync(next, self._shards, None)
