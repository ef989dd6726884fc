"""The pipeline of one process, put together from a configuration: fetch → subsample."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from msgspec import Struct

from asyncv2d.budget import ByteBudget
from asyncv2d.calls import prepare
from asyncv2d.config import Config
from asyncv2d.fetching import open_fetchers
from asyncv2d.nursery_start import Begun
from asyncv2d.overdraft import Overdraft
from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.plan import Plan
from asyncv2d.ports import FetchContext, Pauses
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.subsampling import Subsampling
from asyncv2d.types import INLINE_BYTES, Cause, Processed
from asyncv2d.workers import WorkerPool, open_pool

_DOWNLOAD_DEADLINE_FACTOR = 4
_RESTART_S = 120.0  # for workers that have to be replaced meanwhile


class Engine(Struct, frozen=True):
    """An open engine: run ``pipeline`` over rows."""

    pipeline: Pipeline[Processed]
    budget: ByteBudget
    pool: WorkerPool


@asynccontextmanager
async def open_engine(
    config: Config,
    plan: Plan,
    folders: SpoolFolders,
    *,
    save_caption: bool,
    pauses: Pauses | None = None,
    begun: Begun | None = None,
) -> AsyncIterator[Engine]:
    """Start the workers and build the pipeline. ``folders`` are the engine's own.

    ``pauses`` connects it with other engines that ask the same hosts. ``begun`` is what the workers
    can be forked from, if it is there.
    """
    distribution = config.distribution
    budget = ByteBudget(distribution.loop_budget)
    overdraft = None if folders.shared is None else Overdraft(folders.shared / "overdraft")
    disk = ByteBudget(folders.room // distribution.loop_count, overdraft)
    # Most that are kept as they are never get to a worker, so none needs to be a file for that.
    inline_bytes = budget.limit if plan.keeps_files else INLINE_BYTES
    spool = Spool(folders, budget, disk, inline_bytes, largest=folders.room)
    context = FetchContext(
        spool,
        distribution.loop_downloads,
        wants=plan.modalities,
        share=1 / distribution.loop_count,
        pauses=pauses or Pauses(),
    )
    warm_up, at_once = partial(prepare, plan), not plan.keeps_files
    size = distribution.worker_count
    async with open_pool(size, warm_up, at_once=at_once, begun=begun) as pool:
        work = Subsampling(config, plan, pool, folders.fast, save_caption=save_caption)
        fetch = Stage(
            name="fetch",
            open=lambda: open_fetchers(config, context),
            concurrency=distribution.loop_downloads,
            timeout_s=_download_deadline(config),
            waiting=distribution.waiting,
        )
        subsample = Stage(
            name="subsample",
            open=work.open,
            concurrency=distribution.worker_count,
            # Whatever waits for a worker must not hold up those that take none.
            waiting=distribution.loop_downloads if plan.keeps_files else 0,
            timeout_s=distribution.worker_timeout * work.attempts + _RESTART_S,
            timeout_cause=Cause.WORKER_TIMEOUT,
        )
        yield Engine(Pipeline.of(fetch).then(subsample), budget, pool)


def _download_deadline(config: Config) -> float:
    """A deadline behind the fetchers' own ones, so that a fetcher without any cannot hang."""
    reading = config.reading
    return reading.total_timeout * (reading.retries + 1) * _DOWNLOAD_DEADLINE_FACTOR
