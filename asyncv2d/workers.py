"""A pool of worker processes that start early and die alone.

One segfault or kill costs the call that the worker was busy with and no other; the pool replaces
the worker. (A concurrent.futures pool loses all calls then, and anyio's to_process keeps its
workers until the event loop ends, which is too long inside somebody else's program.)
"""

from __future__ import annotations

import math
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

import anyio
from anyio.abc import TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from asyncv2d.child import Child
from asyncv2d.deadline import waiting
from asyncv2d.nursery import Nursery, StartError
from asyncv2d.nursery_start import WORKER, Begun
from asyncv2d.types import RunError
from asyncv2d.worker_main import LENGTH

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_START_ATTEMPTS = 3
_STDERR_TAIL = 2000


class WorkerDiedError(Exception):
    """The worker process ended in the middle of a call; says how, as far as known."""


class _Worker:
    """One process, and one call at a time."""

    def __init__(self, process: Child) -> None:
        self.process = process
        self._calls = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)
        self._last_words = b""
        self._heard_all = anyio.Event()

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def listen(self) -> None:
        """Keep the end of what the process writes on stderr, for the message if it dies."""
        assert self.process.stderr is not None
        try:
            async for chunk in self.process.stderr:
                self._last_words = (self._last_words + chunk)[-_STDERR_TAIL:]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        finally:
            self._heard_all.set()

    async def receive(self) -> tuple[str, Any]:
        try:
            (length,) = LENGTH.unpack(await self._answers.receive_exactly(LENGTH.size))
            answer = await self._answers.receive_exactly(length)
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise await self._death() from None
        return cast(tuple[str, Any], pickle.loads(answer))

    async def call(self, request: bytes) -> tuple[str, Any]:
        """``("value", …)`` or ``("error", exception)``: either way the worker lives on."""
        try:
            await self._calls.send(LENGTH.pack(len(request)) + request)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            raise await self._death() from None
        return await self.receive()

    async def kill(self) -> None:
        """End the process now and wait until it is gone."""
        await self.process.kill()

    async def _death(self) -> WorkerDiedError:
        with anyio.move_on_after(5):
            await self.process.wait()
            await self._heard_all.wait()
        words = self._last_words.decode(errors="replace").strip()
        return WorkerDiedError(
            f"the worker process ended with code {self.process.returncode}"
            + (f"; its last words: {words}" if words else "")
        )


class WorkerPool:
    """Runs functions in ``size`` worker processes. Use ``open_pool``."""

    def __init__(
        self,
        tasks: TaskGroup,
        size: int,
        warm_up: Callable[[], object],
        begun: Begun | None = None,
    ) -> None:
        self.size = size
        self._tasks = tasks
        self._nursery = Nursery(WORKER, warm_up, begun)
        self._give, self._idle = anyio.create_memory_object_stream[_Worker](size)
        self._all: set[_Worker] = set()
        self._begun = 0
        self._calling = 0  # those who wait for a worker

    @property
    def running(self) -> int:
        """How many worker processes there are."""
        return len(self._all)

    async def run(
        self, function: Callable[[Unpack[Ts]], T], *args: *Ts, timeout_s: float = math.inf
    ) -> T:
        """Call ``function`` (importable by name, with arguments that pickle) in a worker.

        Raises ItemError and RunError as the function raises them, WorkerError with the traceback of
        anything else, WorkerDiedError, or TimeoutError if the call takes longer
        than ``timeout_s`` once a worker is free. Both that and cancelling kill the worker.
        """
        request = pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)
        worker = await self._living_worker()
        try:
            with anyio.fail_after(timeout_s):
                kind, value = await worker.call(request)
        except BaseException:
            await self._replace(worker)
            raise
        self._give.send_nowait(worker)
        if kind == "error":
            raise value
        return cast(T, value)

    def start(self) -> None:
        """Begin to start all workers, without waiting for them."""
        while self._begun < self.size:
            self._start_another()

    def _start_another(self) -> None:
        self._begun += 1
        self._tasks.start_soon(self._start_one)

    async def close(self) -> None:
        """Kill all workers."""
        with anyio.CancelScope(shield=True):
            for worker in list(self._all):
                await worker.kill()
            await self._nursery.close()
            self._give.close()
            self._idle.close()

    async def _living_worker(self) -> _Worker:
        self._calling += 1
        if self._calling > self._idle.statistics().current_buffer_used and self._begun < self.size:
            self._start_another()
        try:
            while True:
                with waiting(holds=True):
                    worker = await self._idle.receive()
                if worker.alive:
                    return worker
                await self._replace(worker)
        finally:
            self._calling -= 1

    async def _replace(self, worker: _Worker) -> None:
        self._all.discard(worker)
        await worker.kill()
        self._tasks.start_soon(self._start_one)

    async def _start_one(self) -> None:
        """Start a worker; one that dies meanwhile is tried again, but not for ever."""
        for _ in range(_START_ATTEMPTS):
            try:
                process = await self._nursery.start()
            except StartError as error:
                reason = str(error)
            else:
                worker = _Worker(process)
                self._all.add(worker)
                self._tasks.start_soon(worker.listen)
                self._give.send_nowait(worker)
                return
        raise RunError(f"worker processes cannot be started: {reason}")


@asynccontextmanager
async def open_pool(
    size: int,
    warm_up: Callable[[], object],
    *,
    at_once: bool = True,
    begun: Begun | None = None,
) -> AsyncIterator[WorkerPool]:
    """A pool of workers that are as after a call of ``warm_up``, and are killed at the end.

    They start ``at_once``, or each when there is work for it. ``begun`` is what they can be forked
    from, if it is there.
    """
    pool = None
    try:
        async with anyio.create_task_group() as tasks:
            pool = WorkerPool(tasks, size, warm_up, begun)
            if at_once:
                pool.start()
            yield pool
            tasks.cancel_scope.cancel()
    finally:
        # After the tasks have ended: they would replace the workers that are killed here.
        if pool is not None:
            await pool.close()
