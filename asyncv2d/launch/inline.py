"""Runs all shards in this process: for debugging, and for small jobs inside another program."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

from asyncv2d.engine import Engine, open_engine
from asyncv2d.launch.launcher import Control, Mission, ShardQueue
from asyncv2d.progress import snapshot
from asyncv2d.shard import run_shards
from asyncv2d.types import ShardSpec

_PROGRESS_EVERY_S = 0.5


class InlineLauncher:
    """One engine, in the event loop that runs already."""

    async def run(self, mission: Mission, shards: ShardQueue, control: Control) -> None:
        """Run all shards."""
        job = mission.job
        engine_context = open_engine(
            job.built, job.plan, mission.spool, save_caption=job.save_caption
        )
        async with engine_context as engine, anyio.create_task_group() as tasks:
            tasks.start_soon(_tell_progress, engine, control)
            async with run_shards(
                engine, job, _specs(shards), folder=mission.folder, drain=control.drain
            ) as reports:
                async for report in reports:
                    await shards.done(report.to_json())
            tasks.cancel_scope.cancel()


async def _specs(shards: ShardQueue) -> AsyncIterator[ShardSpec]:
    while (spec := await shards.take()) is not None:
        yield spec


async def _tell_progress(engine: Engine, control: Control) -> None:
    while True:
        await anyio.sleep(_PROGRESS_EVERY_S)
        control.progress(snapshot(engine))
