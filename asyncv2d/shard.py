"""Runs shards through the pipeline and publishes each one whole, or not at all."""

from __future__ import annotations

import time
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from asyncv2d.engine import Engine
from asyncv2d.job import Job
from asyncv2d.ports import Reader
from asyncv2d.publish import OpenShard
from asyncv2d.record import input_schema
from asyncv2d.report import ShardReport
from asyncv2d.types import Failed, Ok, Processed, Record, Row, ShardSpec, UserError

_OPEN_SHARDS = 4
_READ_BATCH = 500


class _ShardRun:
    """Some shards on their way through one engine."""

    def __init__(
        self, engine: Engine, job: Job, folder: Path, reports: MemoryObjectSendStream[ShardReport]
    ) -> None:
        self._engine = engine
        self._job = job
        self._folder = folder
        self._reports = reports
        self._reader: Reader = job.reader()
        self._keys = job.built.storage.key_format
        self._columns = job.renamed_columns()
        self._schema = input_schema(self._reader.column_types(), self._columns)
        self._open: dict[int, OpenShard] = {}
        self._slots = anyio.Semaphore(_OPEN_SHARDS)
        self._publishing: TaskGroup

    async def run(self, specs: AsyncIterator[ShardSpec], drain: anyio.Event) -> None:
        """Run all ``specs``; every shard ends published, given up, or (after a drain) dropped."""
        with self._reports:
            async with anyio.create_task_group() as self._publishing:
                await self._run(specs, drain)

    async def _run(self, specs: AsyncIterator[ShardSpec], drain: anyio.Event) -> None:
        limit = self._job.built.distribution.drain_timeout
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(_cancel_after_drain, drain, limit, watching.cancel_scope)
                rows = self._rows(specs)
                async with self._engine.pipeline.run(rows, drain=drain) as outcomes:
                    async for outcome in outcomes:
                        await self._take(outcome)
                watching.cancel_scope.cancel()
        finally:
            for shard in self._open.values():
                shard.abandon()

    async def _rows(self, specs: AsyncIterator[ShardSpec]) -> AsyncIterator[Row]:
        """The rows of all shards, one shard after the other."""
        async for spec in specs:
            await self._slots.acquire()
            shard = OpenShard(self._job, spec, self._schema, self._folder, started=time.time())
            self._open[spec.id] = shard
            records = enumerate(self._reader.records(spec))
            sent = 0
            with _costs_at_most(shard, "cannot read"):
                await to_thread.run_sync(shard.begin)
                while batch := await to_thread.run_sync(_next_batch, records):
                    for index, record in batch:
                        sent += 1
                        yield self._row(spec.id, index, record)
                    if shard.error is not None:
                        break
            shard.ends_after(sent)
            self._finish_if_complete(shard)

    async def _take(self, outcome: Ok[Processed] | Failed) -> None:
        """Hand one outcome to its shard, and finish the shard with its last one."""
        shard = self._open[outcome.row.shard]
        try:
            with _costs_at_most(shard, "cannot write"):
                await to_thread.run_sync(shard.add, outcome)
        finally:
            _close(outcome)
        self._finish_if_complete(shard)

    def _row(self, shard: int, index: int, record: Record) -> Row:
        columns = {new: record.columns.get(old) for old, new in self._columns.items()}
        url = columns["url"]
        text = url.strip() if isinstance(url, str) else "" if url is None else str(url)
        key = record.key or self._keys.key(shard, index)
        return Row(index, key, text, columns, shard, record.parts, record.problem)

    def _finish_if_complete(self, shard: OpenShard) -> None:
        """A shard that was given up waits for its last row too: it may soon be tried again."""
        if shard.complete and self._open.get(shard.id) is shard:
            del self._open[shard.id]
            self._publishing.start_soon(self._publish, shard)

    async def _publish(self, shard: OpenShard) -> None:
        """Publish beside the pipeline, which goes on with other shards."""
        if shard.error is None:
            with _costs_at_most(shard, "cannot publish"):
                await to_thread.run_sync(shard.publish)
        await self._reports.send(shard.report())
        self._slots.release()


@contextmanager
def _costs_at_most(shard: OpenShard, what: str) -> Iterator[None]:
    """Give the shard up where its reader or writer fails, however: the others go on.

    Nothing is hidden: the shard is tried again, and if that fails too, the summary says why and the
    exit code is 1.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 — a reader or writer may be anybody's plug-in
        shard.give_up(_reason(what, error))


def _reason(what: str, error: Exception) -> str:
    """One line for a foreseen error, the traceback for any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{what}: {error}"
    return f"{what}: {''.join(traceback.format_exception(error))}"


def _next_batch(
    records: Iterator[tuple[int, Record]],
) -> Sequence[tuple[int, Record]]:
    return list(islice(records, _READ_BATCH))


def _close(outcome: Ok[Processed] | Failed) -> None:
    if isinstance(outcome, Ok):
        outcome.value.close()


@asynccontextmanager
async def run_shards(
    engine: Engine,
    job: Job,
    specs: AsyncIterator[ShardSpec],
    *,
    folder: Path,
    drain: anyio.Event,
) -> AsyncIterator[AsyncIterator[ShardReport]]:
    """Run ``specs`` through ``engine``; gives each shard's report once it is published.

    ``folder`` is where unfinished shards are written, on the file system of the output folder.
    After ``drain`` is set no further row begins; what is in hand gets ``drain_timeout`` seconds.
    """
    send, receive = anyio.create_memory_object_stream[ShardReport](_OPEN_SHARDS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ShardRun(engine, job, folder, send).run, specs, drain)
        async with receive:
            yield receive
        tasks.cancel_scope.cancel()


async def _cancel_after_drain(drain: anyio.Event, limit: float, scope: anyio.CancelScope) -> None:
    await drain.wait()
    await anyio.sleep(limit)
    scope.cancel()
