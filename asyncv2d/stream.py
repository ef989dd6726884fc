"""Rows that arrive one by one, as from stdin: a shard is closed when it is full, or old enough."""

from __future__ import annotations

import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from itertools import count

import anyio
from anyio.from_thread import BlockingPortal
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from asyncv2d.shard import ShardRun
from asyncv2d.sites import Shard
from asyncv2d.types import Record, Row, RunError, ShardSpec

_AHEAD = 64  # records that are read before there is a place for them

Arrived = Record | RunError


class Limits(Struct, frozen=True):
    """When a shard is closed: at so many rows, bytes written, or seconds after its first row."""

    rows: int
    bytes: int | None = None
    age_s: float | None = None


class ArrivingRows(Struct):
    """The rows made of records that arrive, in shards from number ``first`` on."""

    records: MemoryObjectReceiveStream[Arrived]
    first: int
    limits: Limits
    _ended: bool = False

    async def rows(self, run: ShardRun) -> AsyncIterator[Row]:
        """All rows, each as soon as it has arrived."""
        record = await self._next(None)
        for number in count(self.first):
            if record is None:
                return
            shard = await run.begin(ShardSpec(number, "-", 0, 0), None)
            deadline = _after(self.limits.age_s)
            sent = 0
            try:
                while record is not None and not self._is_full(shard, sent):
                    yield run.row(number, sent, record)
                    sent += 1
                    if sent < self.limits.rows:
                        record = await self._next(deadline)
                    else:
                        record = None
            finally:  # also where the run is drained: there will be no more rows
                run.end(shard, sent)
            if record is None and not self._ended:
                record = await self._next(None)

    def _is_full(self, shard: Shard, sent: int) -> bool:
        most = self.limits.bytes
        return sent > 0 and most is not None and shard.bytes_written >= most

    async def _next(self, deadline: float | None) -> Record | None:
        """The next record; None at the end, or where none comes until ``deadline``."""
        with anyio.CancelScope(deadline=float("inf") if deadline is None else deadline):
            try:
                arrived = await self.records.receive()
            except anyio.EndOfStream:
                self._ended = True
                return None
            if isinstance(arrived, RunError):
                raise arrived
            return arrived
        return None


def _after(seconds: float | None) -> float | None:
    return None if seconds is None else anyio.current_time() + seconds


@asynccontextmanager
async def arriving(
    records: Iterator[Record],
) -> AsyncIterator[MemoryObjectReceiveStream[Arrived]]:
    """What an iterator gives that blocks until the next record has come.

    It is read by a thread of its own, which may be blocked for ever: nothing waits for it.
    """
    send, receive = anyio.create_memory_object_stream[Arrived](_AHEAD)
    async with BlockingPortal() as portal, receive:
        threading.Thread(target=_pump, args=(records, portal, send), daemon=True).start()
        try:
            yield receive
        finally:
            await portal.stop(cancel_remaining=True)


def _pump(
    records: Iterator[Record], portal: BlockingPortal, send: MemoryObjectSendStream[Arrived]
) -> None:
    try:
        for arrived in _with_errors(records):
            portal.call(send.send, arrived)
        portal.call(send.aclose)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, CancelledError, RuntimeError):
        return  # nobody listens any more; what the records raised has been sent as one of them


def _with_errors(records: Iterator[Record]) -> Iterator[Arrived]:
    """The records, and at the end the error that ended them."""
    try:
        yield from records
    except RunError as error:
        yield error
    except Exception as error:  # noqa: BLE001 — raised where rows are taken; here it would be lost
        yield RunError(f"cannot read rows: {''.join(traceback.format_exception(error))}")
