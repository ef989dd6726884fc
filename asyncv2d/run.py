"""A whole run: from a job to a dataset and a summary."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TextIO

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus
from msgspec.structs import replace

from asyncv2d.job import Job
from asyncv2d.launch.launcher import Control, Launcher, Mission, ShardQueue
from asyncv2d.launch.processes import ProcessesLauncher
from asyncv2d.nursery import Nursery
from asyncv2d.nursery_start import LOOP
from asyncv2d.output import output_folder
from asyncv2d.published import published, published_rows, retried
from asyncv2d.report import Summary
from asyncv2d.spool_folders import SpoolFolders, spool_folders
from asyncv2d.store import open_store
from asyncv2d.types import RunError, ShardSpec, UserError

_NOBODY_READS = (errno.EPIPE, errno.EIO)  # a pipe's reader, or a terminal, is gone


def _inline() -> Launcher:
    from asyncv2d.launch.inline import (
        InlineLauncher,  # brings the engine, which a launcher needs not
    )

    return InlineLauncher()


_LAUNCHERS: Mapping[str, Callable[[], Launcher]] = {
    "multiprocessing": ProcessesLauncher,
    "inline": _inline,
}


class Watcher(Protocol):
    """Somebody who watches a run, such as a display."""

    def progress(self, state: Mapping[str, Any]) -> None:
        """The state of the engines, some times a second."""

    def report(self, report: Mapping[str, Any], summary: Summary) -> None:
        """A shard is done; ``summary`` counts it already."""

    def log(self, text: str) -> None:
        """Something worth a line."""

    def outcome(self, line: Mapping[str, Any]) -> None:
        """What became of one row; called where the job asks for outcomes."""


class Silent:
    """A watcher that says nothing."""

    def progress(self, state: Mapping[str, Any]) -> None:
        """Nothing."""

    def report(self, report: Mapping[str, Any], summary: Summary) -> None:
        """Nothing."""

    def log(self, text: str) -> None:
        """Nothing."""

    def outcome(self, line: Mapping[str, Any]) -> None:
        """Nothing."""


class PrintedOutcomes(Silent):
    """A watcher that prints what becomes of each row, a line of JSON for each."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def outcome(self, line: Mapping[str, Any]) -> None:
        """Print it now: somebody may be waiting for it."""
        print_line(json.dumps(line), self._file)


def print_line(line: str, file: TextIO) -> None:
    """Print it at once. If nobody reads that any more, the run goes on."""
    try:
        file.write(line + "\n")
        file.flush()
    except OSError as error:
        if error.errno not in _NOBODY_READS:
            raise
        # What is buffered would be written again when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def run_job(job: Job, watcher: Watcher | None = None) -> Summary:
    """Run a job to its end, blocking. Raises UserError where the input or output is unusable."""
    return anyio.run(run_job_async, job, watcher or Silent())


async def run_job_async(job: Job, watcher: Watcher, nursery: Nursery | None = None) -> Summary:
    """Run a job to its end. ``nursery`` is for loop processes, and may have begun already.

    In the main thread the first SIGINT, SIGTERM or SIGHUP drains and the second one cancels; the
    summary then says that the run was interrupted.
    """
    shards = iter(()) if job.reads_stdin else _shards(job)  # the input may be unusable
    run = _Run(job, watcher)
    async with run.heeding_signals():  # before there is anything that a signal could leave behind
        with spool_folders(Path(job.tmp_dir), job.built.distribution.byte_budget) as spool:
            await _run_in(spool, run, job, shards, nursery or Nursery(LOOP))
    return run.summary


async def _run_in(
    spool: SpoolFolders, run: _Run, job: Job, shards: Iterator[ShardSpec], nursery: Nursery
) -> None:
    if job.writes_stdout:
        await run.to_stdout(shards, spool)
        return
    with output_folder(job) as (folder, identity):
        mission = Mission(job, folder, spool, identity, nursery)
        try:
            if job.incremental_mode == "retry_failed":
                await run.retry(shards, mission)
            else:
                await run.to_folder(shards, mission)
        finally:
            await nursery.close()


class _Run:
    def __init__(self, job: Job, watcher: Watcher) -> None:
        self._job = job
        self._watcher = watcher
        self._published = set[int]()
        self.summary = Summary()
        outcome = watcher.outcome if job.outcomes else None
        self._control = Control(self._report, watcher.progress, watcher.log, outcome)

    @asynccontextmanager
    async def heeding_signals(self) -> AsyncIterator[None]:
        """Heed signals meanwhile, in the main thread; the second one ends what is done here."""
        with _one_error():
            async with anyio.create_task_group() as tasks:
                if threading.current_thread() is threading.main_thread():
                    await tasks.start(self._heed_signals, tasks.cancel_scope)
                yield
                tasks.cancel_scope.cancel()

    async def to_stdout(self, shards: Iterator[ShardSpec], spool: SpoolFolders) -> None:
        """Run all rows; their samples go to stdout."""
        from asyncv2d.launch.streaming import run_to_stdout  # brings the engine
        from asyncv2d.tar_out import ReaderGoneError

        try:
            with _one_error():
                await run_to_stdout(self._job, shards, spool, self._control)
        except ReaderGoneError as error:
            self._watcher.log(f"{error}: stopped")

    async def to_folder(self, shards: Iterator[ShardSpec], mission: Mission) -> None:
        """Run all rows; shards appear in the output folder."""
        if mission.job.reads_stdin:
            from asyncv2d.launch.streaming import run_from_stdin  # brings the engine

            await run_from_stdin(mission, self._control)
        else:
            await self._run_table(shards, mission)
        self._look_for_published(mission.job)

    async def _run_table(self, shards: Iterator[ShardSpec], mission: Mission) -> None:
        job, settings = mission.job, mission.job.built.distribution
        self._watcher.log(
            f"up to {settings.loop_count} loop process(es), each with {settings.loop_downloads}"
            f" downloads, {settings.worker_count} worker process(es) and"
            f" {settings.loop_budget >> 20} MiB for bodies in flight"
        )
        queue = ShardQueue(self._to_do(shards), job.max_shard_retry, self._control)
        if settings.distributor == "inline":
            await mission.nursery.close()  # it may have begun, for what will not be needed
        launcher = _LAUNCHERS[settings.distributor]()
        await launcher.run(mission, queue, self._control)

    def _look_for_published(self, job: Job) -> None:
        """A dataset that somebody else deletes meanwhile is not complete."""
        there = published(open_store(job.output_folder), job.built.storage.key_format)
        for shard in self._published - there:
            self.summary.unpublished[shard] = "it was there, and something else deleted it"

    async def retry(self, shards: Iterator[ShardSpec], mission: Mission) -> None:
        """Try failed rows again, as shards behind all others."""
        from asyncv2d.retry import gather  # brings pyarrow

        job, store = mission.job, open_store(mission.job.output_folder)
        done = published(store, job.built.storage.key_format)
        first = max((*done, *(spec.id for spec in shards)), default=-1) + 1
        retry = await to_thread.run_sync(gather, job, store, mission.folder.parent, first)
        if retry is None:
            self._watcher.log("no failed row is to be tried again")
            return
        again = Job.model_validate(
            {**job.model_dump(), "url_list": str(retry.table), "input_format": "parquet"}
        )
        specs = (replace(spec, id=retry.first + spec.id) for spec in _shards(again))
        identity = f"{mission.identity} {retry.digest}"
        await self.to_folder(specs, replace(mission, job=again, identity=identity))
        if self.summary.exit_code == 0:
            retry.table.unlink()

    def _to_do(self, shards: Iterator[ShardSpec]) -> Iterator[ShardSpec]:
        store, keys = open_store(self._job.output_folder), self._job.built.storage.key_format
        done = published(store, keys)
        others = set[int]() if self._job.incremental_mode == "retry_failed" else retried(store)
        is_here = store.local_folder is not None  # elsewhere, one report after the other takes long
        for spec in shards:
            if spec.id in others:
                raise UserError(
                    f"shard {spec.id} of this input has the number of a shard of rows that were"
                    " tried again: the table grew since; use another output_folder, or"
                    " --incremental_mode overwrite"
                )
            rows = published_rows(store, keys, spec.id) if spec.id in done and is_here else None
            if spec.id in done and self._is_same(spec, rows):
                self.summary.skipped += 1
                self._published.add(spec.id)
            else:
                yield spec

    def _is_same(self, spec: ShardSpec, rows: int | None) -> bool:
        """Shards are fixed slices of the input; one of another size belongs to another input."""
        now = spec.stop - spec.start
        if rows is None or rows == now:
            return True
        if self._job.allow_changed:
            return False
        raise UserError(
            f"shard {spec.id} is published with {rows} rows, but has {now} in this input: the table"
            " or number_sample_per_shard changed since; use another output_folder,"
            " --incremental_mode overwrite, or --allow_changed to make such shards anew"
        )

    def _report(self, report: Mapping[str, Any]) -> None:
        self.summary.add(report)
        if report["error"] is None:
            self._published.add(report["shard"])
        self._watcher.report(report, self.summary)

    async def _heed_signals(
        self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]
    ) -> None:
        with anyio.open_signal_receiver(*_stops()) as signals:
            task_status.started()
            async for _ in signals:
                self.summary.interrupted = True
                if self._control.drain.is_set():
                    self._watcher.log("cancelled")
                    scope.cancel()
                    return
                self._control.drain.set()
                self._watcher.log(
                    "stopping: rows in hand are finished and complete shards published;"
                    " press Ctrl-C again to stop at once"
                )


def _stops() -> list[signal.Signals]:
    """What ends a run; a terminal that is closed does, unless ``nohup`` was asked to prevent it."""
    stops = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        stops.append(signal.SIGHUP)
    return stops


def _shards(job: Job) -> Iterator[ShardSpec]:
    """The shards of the input; its first rows are looked at already."""
    shards = job.reader().shards(job.built.storage.number_sample_per_shard)
    first = next(shards, None)
    if first is None:
        raise UserError(f"{job.url_list}: no rows in the input; expected at least one URL")
    return chain([first], shards)


@contextmanager
def _one_error() -> Iterator[None]:
    """Task groups raise groups of errors; one that was foreseen is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        if (foreseen := RunError.found_in(group)) is not None:
            raise foreseen from None
        raise
