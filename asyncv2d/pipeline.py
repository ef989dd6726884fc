"""A chain of asynchronous 1:1 operations joined by bounded streams.

Each row that goes in comes out as exactly one outcome. A stage runs ``concurrency`` operations at a
time; the streams between stages are short, so a slow stage holds back the ones before it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Generic, TypeVar, cast

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from asyncv2d.deadline import Deadline, Queue
from asyncv2d.types import Cause, Failed, ItemError, Ok, Outcome, Row, RunError

In = TypeVar("In")
Out = TypeVar("Out")
Next = TypeVar("Next")

_BUFFER = 4

Operation = Callable[[In], Awaitable[Out]]
_Receive = MemoryObjectReceiveStream[Any]
_Send = MemoryObjectSendStream[Any]


class Stage(Struct, Generic[In, Out], frozen=True):
    """One step: ``open`` gives the operation, of which ``concurrency`` work at a time.

    ``waiting`` more may have begun that wait for something, such as their turn at a host.

    An operation that takes longer than ``timeout_s`` seconds, without its waits for a turn, is
    cancelled, and its row fails with ``timeout_cause``.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Operation[In, Out]]]
    concurrency: int
    timeout_s: float
    timeout_cause: Cause = Cause.TIMEOUT
    waiting: int = 0


class Meter(Struct):
    """How a stage spends its time; seconds are summed over its concurrent operations."""

    name: str
    concurrency: int
    busy: int = 0
    done: int = 0
    busy_s: float = 0.0
    blocked_on_input_s: float = 0.0
    blocked_on_output_s: float = 0.0


class Pipeline(Generic[Out]):
    """An immutable chain of stages; ``then`` makes a longer one. A wrong join is a type error."""

    def __init__(self, stages: Sequence[Stage[Any, Any]]) -> None:
        self.stages = tuple(stages)
        self.meters = [Meter(stage.name, stage.concurrency) for stage in stages]

    @staticmethod
    def of(stage: Stage[Row, Next]) -> Pipeline[Next]:
        """A pipeline of one stage, which takes rows."""
        return Pipeline[Next]([stage])

    def then(self, stage: Stage[Out, Next]) -> Pipeline[Next]:
        """This pipeline with one more stage at its end."""
        return Pipeline[Next]([*self.stages, stage])

    @asynccontextmanager
    async def run(
        self,
        rows: AsyncIterable[Row],
        *,
        drain: anyio.Event | None = None,
        leaves_queue: bool = False,
        ahead: int = _BUFFER,
    ) -> AsyncIterator[MemoryObjectReceiveStream[Outcome[Out]]]:
        """Send ``rows`` through; the stream gives their outcomes in the order they are done.

        So many may be done ``ahead`` of whoever takes them.
        When ``drain`` is set, no further row is taken, and the stream ends once those in hand are
        done; with ``leaves_queue``, those that only wait for their turn are left undone, and give
        no outcome. Leaving the context early cancels everything, and closes what nobody received.
        """
        between: list[_Receive] = []
        queue, drain = Queue(), drain or anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                send, receive = anyio.create_memory_object_stream[Any](_BUFFER)
                tasks.start_soon(_feed, rows, send, drain)
                if leaves_queue:
                    tasks.start_soon(_when, drain, queue.close)
                for stage, meter in zip(self.stages, self.meters, strict=True):
                    size = ahead if stage is self.stages[-1] else _BUFFER
                    send, following = anyio.create_memory_object_stream[Any](size)
                    between.append(following.clone())
                    tasks.start_soon(_run_stage, stage, meter, queue, receive, send)
                    receive = following
                async with receive:
                    yield cast(MemoryObjectReceiveStream[Outcome[Out]], receive)
                tasks.cancel_scope.cancel()
        finally:
            for stream in between:
                _drop_rest(stream)


def _drop_rest(stream: _Receive) -> None:
    with stream, suppress(anyio.EndOfStream, anyio.WouldBlock):
        while True:
            _close(stream.receive_nowait())


def _close(outcome: Outcome[Any]) -> None:
    """Give up a value that has an owner's duties, such as a Blob with its spool file."""
    close = getattr(outcome.value, "close", None) if isinstance(outcome, Ok) else None
    if close is not None:
        close()


async def _feed(rows: AsyncIterable[Row], send: _Send, drain: anyio.Event) -> None:
    with send:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_when, drain, tasks.cancel_scope.cancel)
            iterator = aiter(rows)
            try:
                async for row in iterator:
                    await _hand_on(send, Ok(row, row))
            finally:
                with anyio.CancelScope(shield=True):
                    if isinstance(iterator, AsyncGenerator):
                        await iterator.aclose()
            tasks.cancel_scope.cancel()


async def _when(event: anyio.Event, react: Callable[[], None]) -> None:
    await event.wait()
    react()


async def _run_stage(
    stage: Stage[Any, Any], meter: Meter, queue: Queue, receive: _Receive, send: _Send
) -> None:
    # The next stage sees the end once this one is closed, so an error in closing is not missed.
    with receive, send:
        async with stage.open() as operation, anyio.create_task_group() as tasks:
            crew = _Crew(stage, operation, meter, queue, receive, send, tasks)
            crew.grow()


class _Crew(Struct):
    """The concurrent operations of a stage: as many as there is work for, and no more than allowed.

    Most of those that a stage allows may never be needed, and each costs memory.
    """

    stage: Stage[Any, Any]
    operation: Operation[Any, Any]
    meter: Meter
    queue: Queue
    receive: _Receive
    send: _Send
    tasks: TaskGroup
    size: int = 0

    def grow(self) -> None:
        """One more."""
        self.size += 1
        self.tasks.start_soon(self._work, self.receive.clone(), self.send.clone())

    async def _work(self, receive: _Receive, send: _Send) -> None:
        meter = self.meter
        async with receive, send:
            begin = time.monotonic()
            while (outcome := await _next(receive)) is not None:
                received = time.monotonic()
                meter.busy += 1
                if meter.busy == self.size < self.stage.concurrency + self.stage.waiting:
                    self.grow()
                try:
                    result = await _apply(self.stage, self.operation, outcome, self.queue)
                finally:
                    meter.busy -= 1
                finished = time.monotonic()
                if result is not None:
                    await _hand_on(send, result)
                del outcome, result  # this may wait long for the next one, and bodies are large
                sent = time.monotonic()
                meter.done += 1
                meter.blocked_on_input_s += received - begin
                meter.busy_s += finished - received
                meter.blocked_on_output_s += sent - finished
                begin = sent


async def _next(receive: _Receive) -> Outcome[Any] | None:
    """The next outcome, None at the end; at once if it is there, without a round of the loop."""
    try:
        try:
            return cast("Outcome[Any]", receive.receive_nowait())
        except anyio.WouldBlock:
            return cast("Outcome[Any]", await receive.receive())
    except anyio.EndOfStream:
        return None


async def _hand_on(send: _Send, outcome: Outcome[Any]) -> None:
    """Send an outcome, at once if there is room; one that cannot be sent is given up."""
    try:
        try:
            send.send_nowait(outcome)
        except anyio.WouldBlock:
            await send.send(outcome)
    except BaseException:
        _close(outcome)
        raise


async def _apply(
    stage: Stage[Any, Any], operation: Operation[Any, Any], outcome: Outcome[Any], queue: Queue
) -> Outcome[Any] | None:
    """Turn one outcome into the next; this is where unknown errors become the cause ``bug``.

    None where the operation was sent away before its turn.
    """
    if isinstance(outcome, Failed):
        return outcome
    row = outcome.row
    deadline = Deadline(stage.timeout_s, queue)
    try:
        with deadline:
            return Ok(row, await operation(outcome.value))
    except RunError:  # no fault of the row: the run cannot go on
        raise
    except ItemError as error:
        return Failed(row, stage.name, error.cause, error.detail, error.attempts, error.facts)
    except Exception as error:  # noqa: BLE001 — told as ``bug``, with its traceback
        detail = "".join(traceback.format_exception(error))
        return Failed(row, stage.name, Cause.BUG, detail)
    if deadline.was_sent_away:
        return None
    return Failed(row, stage.name, stage.timeout_cause, f"not done in {stage.timeout_s:g} s")
