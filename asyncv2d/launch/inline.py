"""Runs all shards in this process: for debugging, and for small jobs inside another program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio

from asyncv2d.engine import Engine, open_engine
from asyncv2d.launch.launcher import Control, Mission, ShardQueue
from asyncv2d.progress import snapshot
from asyncv2d.publish import open_site
from asyncv2d.record import outcome_line
from asyncv2d.shard import RowSource, run_shards, table_rows
from asyncv2d.sites import Site
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Outcome, Processed, ShardSpec

_PROGRESS_EVERY_S = 0.5


class InlineLauncher:
    """One engine, in the event loop that runs already."""

    async def run(self, mission: Mission, shards: ShardQueue, control: Control) -> None:
        """Run all shards."""
        job, reader = mission.job, mission.job.reader()
        site = open_site(job, reader.column_types(), mission.folder, mission.identity)
        source = partial(table_rows, reader=reader, specs=_specs(shards))
        await run_inline(site, mission.spool, source, control, shards.done)


async def run_inline(
    site: Site,
    spool: SpoolFolders,
    source: RowSource,
    control: Control,
    done: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Run the rows of ``source`` through an engine in this process; ``done`` gets the reports."""
    job = site.job
    watch = None if control.outcome is None else partial(_tell_outcome, control.outcome)
    async with (
        open_engine(job.built, job.plan, spool, save_caption=job.save_caption) as engine,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_tell_progress, engine, control)
        async with run_shards(engine, site, source, drain=control.drain, watch=watch) as reports:
            async for report in reports:
                await done(report.to_json())
        tasks.cancel_scope.cancel()


async def _tell_outcome(
    tell: Callable[[Mapping[str, Any]], None], outcome: Outcome[Processed]
) -> None:
    tell(outcome_line(outcome))


async def _specs(shards: ShardQueue) -> AsyncIterator[ShardSpec]:
    while (spec := await shards.take()) is not None:
        yield spec


async def _tell_progress(engine: Engine, control: Control) -> None:
    while True:
        await anyio.sleep(_PROGRESS_EVERY_S)
        control.progress(snapshot(engine))
