"""A loop process: takes shards from its launcher as it becomes free, and reports them."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup

from asyncv2d.engine import Engine, open_engine
from asyncv2d.job import Job
from asyncv2d.launch import protocol
from asyncv2d.nursery_start import WORKER, Begun, fork
from asyncv2d.pipes import PipeReceiver, PipeSender
from asyncv2d.ports import Pauses
from asyncv2d.progress import snapshot
from asyncv2d.publish import open_site
from asyncv2d.record import outcome_line
from asyncv2d.registry import load, names
from asyncv2d.shard import run_shards, table_rows
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Outcome, Processed, RunError, ShardSpec

_PROGRESS_EVERY_S = 0.5
_MANY_FILES = 65536


class LoopProcess:
    """The loop's side of the conversation."""

    def __init__(
        self, incoming: ByteReceiveStream, outgoing: ByteSendStream, workers: Begun
    ) -> None:
        self._workers = workers
        self._incoming = protocol.messages(incoming)
        self._outgoing = outgoing
        self._lock = anyio.Lock()
        self._give, self._shards = anyio.create_memory_object_stream[ShardSpec | None](1)
        self._drain = anyio.Event()
        self._pauses = Pauses(self._tell_pause)
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Run the job that the launcher sends, until it has no more shards."""
        async with aclosing(self._incoming):
            first = await anext(self._incoming, None)
            if first is None:  # there is no job after all
                return
            job = Job.model_validate(first["job"])
            folder = Path(first["folder"])
            spool = SpoolFolders.from_json(first["spool"])
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._listen, tasks.cancel_scope)
                try:
                    await self._run_job(job, spool, folder, first["identity"])
                except (RunError, BaseExceptionGroup) as error:
                    if (foreseen := RunError.found_in(error)) is None:
                        raise
                    await self._say({"error": foreseen.problems, "code": foreseen.exit_code})
                finally:
                    spool.remove()  # also if the launcher was killed
                tasks.cancel_scope.cancel()

    async def _run_job(self, job: Job, spool: SpoolFolders, folder: Path, identity: str) -> None:
        reader = job.reader()
        site = open_site(job, reader.column_types(), folder, identity)
        source = partial(table_rows, reader=reader, specs=self._specs())
        watch = None if job.outcomes is None else self._tell_outcome
        engine_context = open_engine(
            job.built,
            job.plan,
            spool,
            save_caption=job.save_caption,
            pauses=self._pauses,
            begun=self._workers,
        )
        async with engine_context as engine, anyio.create_task_group() as tasks:
            gc.freeze()  # what is imported by now stays: not to be searched for garbage again
            tasks.start_soon(self._tell_progress, engine)
            async with run_shards(engine, site, source, drain=self._drain, watch=watch) as reports:
                async for report in reports:
                    await self._say({"report": report.to_json()})
            await self._say({"progress": snapshot(engine)})
            tasks.cancel_scope.cancel()

    def _tell_pause(self, host: str, seconds: float) -> None:
        self._tasks.start_soon(self._say, {"pause": [host, seconds]})

    async def _tell_outcome(self, outcome: Outcome[Processed]) -> None:
        await self._say({"outcome": outcome_line(outcome)})

    async def _specs(self) -> AsyncIterator[ShardSpec]:
        while True:
            await self._say({"want": True})
            spec = await self._shards.receive()
            if spec is None:
                return
            yield spec

    async def _listen(self, scope: anyio.CancelScope) -> None:
        async for message in self._incoming:
            if "shard" in message:
                await self._say({"begun": message["shard"]["id"]})
                await self._give.send(ShardSpec(**message["shard"]))
            elif "end" in message:
                await self._give.send(None)
            elif "drain" in message:
                self._drain.set()
            elif "pause" in message:
                self._pauses.heard(*message["pause"])
        scope.cancel()  # the launcher is gone, or wants it to end now

    async def _tell_progress(self, engine: Engine) -> None:
        while True:
            await anyio.sleep(_PROGRESS_EVERY_S)
            await self._say({"progress": snapshot(engine)})

    async def _say(self, message: dict[str, Any]) -> None:
        # Where the launcher is gone, ``_listen`` hears of it and ends all this.
        with suppress(anyio.BrokenResourceError):
            async with self._lock:
                await protocol.send(self._outgoing, message)


def prepare() -> None:
    """Import what most jobs need, before loop processes are forked that would each do so."""
    for name in names("fetch"):
        for module in load("fetch", name).needs:
            import_module(module)


def main() -> None:
    """Talk to the launcher over stdin and stdout; whatever else is printed goes to stderr."""
    # Now: there are no threads yet, and what workers need is imported.
    if (workers := fork(WORKER)) is not None:
        _run(workers)


def _run(workers: Begun) -> None:
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.SIG_IGN)  # the launcher decides
    _allow_many_files()
    outgoing = PipeSender(os.dup(1))
    os.dup2(2, 1)
    loop = LoopProcess(PipeReceiver(sys.stdin.fileno()), outgoing, workers)
    anyio.run(loop.run)
    # All is done and said. Python's own end takes a tenth of a second, and would wait for threads
    # that are still asking the system for the address of a host.
    os._exit(0)


def _allow_many_files() -> None:
    """Each download is an open file, and the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
