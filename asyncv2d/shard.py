"""Runs shards through the pipeline and publishes each one whole, or not at all."""

from __future__ import annotations

import errno
import time
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from asyncv2d.engine import Engine
from asyncv2d.job import RETRY_OF, Job
from asyncv2d.own_threads import OwnThreads
from asyncv2d.ports import Reader
from asyncv2d.redact import redacted
from asyncv2d.report import ShardReport
from asyncv2d.sites import Finished, Shard, Site
from asyncv2d.types import (
    Failed,
    Ok,
    Outcome,
    Processed,
    Record,
    Row,
    RunError,
    ShardSpec,
    UserError,
)

_OPEN_SHARDS = 4  # at least; more where they are small, so that slow rows do not hold up all others
_MOST_OPEN_SHARDS = 32
_HELD_ROWS = 32_000  # whose ledger lines are kept, in shards that wait for their last row
_READ_BATCH = 500
_THREADS = 3  # one each to read, to write and to publish
_TAKE_BATCH = 64  # to be woken for each costs more than to write a small file
_AHEAD = 4  # of what workers made, which lies in no budget
_LONGEST_URL = 1 << 15  # no server takes one of that length, and to look through it takes long
_CUT = 1000
_LONGEST_KEY = 200  # bytes; file systems take 255
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


Watch = Callable[[Outcome[Processed]], Awaitable[None]]
RowSource = Callable[["ShardRun"], AsyncIterator[Row]]


class ShardRun:
    """Some shards on their way through one engine."""

    def __init__(
        self,
        engine: Engine,
        site: Site,
        reports: MemoryObjectSendStream[ShardReport],
        watch: Watch | None,
    ) -> None:
        self._engine = engine
        self._site = site
        self._reports = reports
        self._watch = watch
        self._keys = site.job.built.storage.key_format
        self._open: dict[int, Shard] = {}
        self._begun: dict[tuple[int, int], float] = {}
        self._slots = anyio.Semaphore(_open_shards(site.job))
        self._publishing: TaskGroup
        self._threads: OwnThreads

    async def run(self, source: RowSource, drain: anyio.Event) -> None:
        """Run all rows; every shard ends published, given up, or (after a drain) left for later."""
        with self._reports, OwnThreads(_THREADS) as self._threads:
            async with anyio.create_task_group() as self._publishing:
                await self._run(source, drain)

    async def _run(self, source: RowSource, drain: anyio.Event) -> None:
        limit = self._site.job.built.distribution.drain_timeout
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(_cancel_after_drain, drain, limit, watching.cancel_scope)
                # What came on stdin would not come again.
                run = self._engine.pipeline.run(
                    source(self),
                    drain=drain,
                    leaves_queue=not self._site.job.reads_stdin,
                    ahead=_TAKE_BATCH if self._site.job.plan.keeps_files else _AHEAD,
                )
                async with run as outcomes:
                    async for outcome in outcomes:
                        await self._take([outcome, *_waiting(outcomes)])
                watching.cancel_scope.cancel()
        finally:
            for shard in self._open.values():
                shard.abandon()

    async def begin(self, spec: ShardSpec, rows: int | None) -> Shard:
        """Open a shard of so many rows (None: not known yet), once there is a place for it."""
        await self._slots.acquire()
        shard = self._site.open(spec, rows)
        self._open[spec.id] = shard
        with costs_at_most(shard, "cannot write"):
            await self._threads.run(shard.begin)
        return shard

    async def next_batch(
        self, records: Iterator[tuple[int, Record]]
    ) -> Sequence[tuple[int, Record]]:
        """Some more records with their numbers; none at the end."""
        return await self._threads.run(_next_batch, records)

    def end(self, shard: Shard, rows: int) -> None:
        """All ``rows`` rows of a shard were sent."""
        shard.ends_after(rows)
        self._finish_if_complete(shard)

    def restore(self, shard: Shard, row: Row) -> None:
        """Take a row that an earlier process finished."""
        del self._begun[row.shard, row.index]
        shard.restore(row)

    def row(self, shard: int, index: int, record: Record) -> Row:
        """The record as a row."""
        columns = self._site.job.named(record.columns)
        url, problem = columns["url"], record.problem
        if problem is None and not isinstance(url, str | None):
            problem = f"the URL is no text: {url!r:.60}"
        if isinstance(url, str) and len(url) > _LONGEST_URL:
            problem = f"the URL has {len(url)} characters; at most {_LONGEST_URL} are allowed"
            url = f"{url[:_CUT]}…"
        text = url.strip() if isinstance(url, str) else ""
        if isinstance(url, str):
            columns["url"] = redacted(url)  # what is written down goes to other people
        key = record.key or self._keys.key(shard, index)
        if not _can_name_files(key):
            problem = f"the key {key[:60]!r} cannot name files"
            key = key[:_LONGEST_KEY].encode(errors="replace").decode()
        retry_of = record.columns.get(RETRY_OF) if self._site.job.retries_rows else None
        self._begun[shard, index] = time.monotonic()
        return Row(index, key, text, columns, shard, record.parts, problem, retry_of)

    async def _take(self, outcomes: Sequence[Outcome[Processed]]) -> None:
        """Hand outcomes to their shards, and finish each shard with its last one."""
        by_shard = defaultdict[Shard, list[Finished]](list)
        for outcome in outcomes:
            row = outcome.row
            seconds = time.monotonic() - self._begun.pop((row.shard, row.index))
            by_shard[self._open[row.shard]].append((outcome, round(seconds, 3)))
        try:
            for shard, finished in by_shard.items():
                ended: Sequence[Outcome[Processed]] = [outcome for outcome, _ in finished]
                with costs_at_most(shard, "cannot write"):
                    ended = await self._threads.run(shard.add, finished)
                if self._watch is not None:
                    for outcome in ended:
                        await self._watch(outcome)
        finally:
            for outcome in outcomes:
                _close(outcome)
        for shard, finished in by_shard.items():
            shard.came_out(len(finished))  # only now: a complete shard is published
            self._finish_if_complete(shard)

    def _finish_if_complete(self, shard: Shard) -> None:
        """A shard that was given up waits for its last row too: it may soon be tried again."""
        if shard.complete and self._open.get(shard.id) is shard:
            del self._open[shard.id]
            self._publishing.start_soon(self._publish, shard)

    async def _publish(self, shard: Shard) -> None:
        """Publish beside the pipeline, which goes on with other shards."""
        if shard.error is None:
            with costs_at_most(shard, "cannot publish"):
                await self._threads.run(shard.publish)
        await self._reports.send(shard.report())
        self._slots.release()


def _open_shards(job: Job) -> int:
    settings, size = job.built.distribution, job.built.storage.number_sample_per_shard
    rows = settings.loop_downloads + settings.waiting
    return min(max(_OPEN_SHARDS, rows // size + 2, _HELD_ROWS // size), _MOST_OPEN_SHARDS)


async def table_rows(
    run: ShardRun, reader: Reader, specs: AsyncIterator[ShardSpec]
) -> AsyncIterator[Row]:
    """The rows of all shards, one shard after the other, without those that are done already."""
    async for spec in specs:
        shard = await run.begin(spec, spec.stop - spec.start)
        records = enumerate(reader.records(spec))
        sent = 0
        with costs_at_most(shard, "cannot read"):
            while shard.error is None and (batch := await run.next_batch(records)):
                for index, record in batch:
                    sent += 1
                    row = run.row(spec.id, index, record)
                    if shard.is_done(index):
                        run.restore(shard, row)
                    else:
                        yield row
        run.end(shard, sent)


@contextmanager
def costs_at_most(shard: Shard, what: str) -> Iterator[None]:
    """Give the shard up where its reader or writer fails, however: the others go on.

    Nothing is hidden: the shard is tried again, and if that fails too, the summary says why and the
    exit code is 1. A full disk ends the run: no shard would fare better.
    """
    try:
        yield
    except RunError as error:
        if not isinstance(error, UserError):
            raise
        shard.give_up(str(error))
    except Exception as error:
        # A reader or writer may be anybody's, and raise anything. The shard is not published, and
        # its error, with the traceback where it was not foreseen, is in the report.
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise RunError(
                f"{shard.place}: {error.strerror}; make room and run the same command again: what"
                " is finished is kept"
            ) from error
        shard.give_up(_reason(what, error))


def _can_name_files(key: str) -> bool:
    """Whether a key, which may be an earlier dataset's, is text, and short enough for files."""
    try:
        return len(key.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:
        return False


def _reason(what: str, error: Exception) -> str:
    """One line for a foreseen error, the traceback for any other."""
    if isinstance(error, OSError):
        return f"{what}: {error}"
    return f"{what}: {''.join(traceback.format_exception(error))}"


def _waiting(outcomes: MemoryObjectReceiveStream[Outcome[Processed]]) -> list[Outcome[Processed]]:
    """Further outcomes that are there already: to hand them over one by one would cost more."""
    found: list[Outcome[Processed]] = []
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while len(found) < _TAKE_BATCH:
            found.append(outcomes.receive_nowait())
    return found


def _next_batch(records: Iterator[tuple[int, Record]]) -> Sequence[tuple[int, Record]]:
    return list(islice(records, _READ_BATCH))


def _close(outcome: Ok[Processed] | Failed) -> None:
    if isinstance(outcome, Ok):
        outcome.value.close()


@asynccontextmanager
async def run_shards(
    engine: Engine,
    site: Site,
    source: RowSource,
    *,
    drain: anyio.Event,
    watch: Watch | None = None,
) -> AsyncIterator[AsyncIterator[ShardReport]]:
    """Run rows through ``engine``; gives each shard's report once it is published.

    ``watch`` is called with every outcome. After ``drain`` is set no further row begins; what is in
    hand gets ``drain_timeout`` seconds.
    """
    send, receive = anyio.create_memory_object_stream[ShardReport](_OPEN_SHARDS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ShardRun(engine, site, send, watch).run, source, drain)
        async with receive:
            yield receive
        tasks.cancel_scope.cancel()


async def _cancel_after_drain(drain: anyio.Event, limit: float, scope: anyio.CancelScope) -> None:
    await drain.wait()
    await anyio.sleep(limit)
    scope.cancel()
