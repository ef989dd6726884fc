"""The pipeline of one process, put together from a configuration: fetch → subsample."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from asyncv2d.budget import ByteBudget
from asyncv2d.calls import prepare, process
from asyncv2d.config import Config
from asyncv2d.fetching import open_fetchers
from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.plan import Plan
from asyncv2d.ports import FetchContext
from asyncv2d.record import complete
from asyncv2d.spool import Spool, SpoolFolders
from asyncv2d.task import METADATA, Task, sendable
from asyncv2d.types import Blob, Body, Cause, Fetched, ItemError, Processed, Sample
from asyncv2d.workers import WorkerDiedError, WorkerPool, open_pool

_DOWNLOAD_DEADLINE_FACTOR = 4
_RESTART_S = 120.0  # for workers that have to be replaced meanwhile


@dataclass(frozen=True, slots=True)
class Engine:
    """An open engine: run ``pipeline`` over rows."""

    pipeline: Pipeline[Processed]
    budget: ByteBudget
    pool: WorkerPool


@asynccontextmanager
async def open_engine(
    config: Config, plan: Plan, folders: SpoolFolders, *, save_caption: bool
) -> AsyncIterator[Engine]:
    """Start the workers and build the pipeline. ``folders`` are the engine's own."""
    distribution = config.distribution
    budget = ByteBudget(distribution.loop_budget)
    disk = ByteBudget(_disk_room(folders.large) // distribution.loop_count)
    spool = Spool(folders, budget, disk)
    context = FetchContext(spool, distribution.downloads, wants=plan.modalities)
    async with open_pool(distribution.worker_count, partial(prepare, plan)) as pool:
        work = _Subsample(config, plan, pool, folders.fast, save_caption=save_caption)
        fetch = Stage(
            name="fetch",
            open=lambda: open_fetchers(config, context),
            concurrency=distribution.downloads,
            timeout_s=_download_deadline(config),
            waiting=distribution.waiting,
        )
        subsample = Stage(
            name="subsample",
            open=work.open,
            concurrency=distribution.worker_count,
            timeout_s=distribution.worker_timeout * work.attempts + _RESTART_S,
            timeout_cause=Cause.WORKER_TIMEOUT,
        )
        yield Engine(Pipeline.of(fetch).then(subsample), budget, pool)


def _disk_room(folder: Path) -> int:
    """Half of what is free: the dataset may have to grow on the same disk."""
    return shutil.disk_usage(folder).free // 2


def _download_deadline(config: Config) -> float:
    """A deadline behind the fetchers' own ones, so that a fetcher without any cannot hang."""
    reading = config.reading
    return reading.total_timeout * (reading.retries + 1) * _DOWNLOAD_DEADLINE_FACTOR


class _Subsample:
    """The stage that hands each video to a worker."""

    attempts = 2

    def __init__(
        self,
        config: Config,
        plan: Plan,
        pool: WorkerPool,
        spool: Path,
        *,
        save_caption: bool,
    ) -> None:
        self._plan = plan
        self._timeout = config.distribution.worker_timeout
        self._pool = pool
        self._spool = spool
        self._numbers = count()
        self._save_caption = save_caption

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Callable[[Fetched], Awaitable[Processed]]]:
        yield self._subsample

    async def _subsample(self, fetched: Fetched) -> Processed:
        folder = self._spool / f"row-{next(self._numbers)}"
        sources = list(fetched.media.values())
        try:
            processed = await self._process(fetched, folder)
            samples = [_owned(sample, sources) for sample in processed.samples]
            facts = {**_download_facts(fetched), **processed.facts}
            processed = replace(processed, samples=samples, facts=facts)
            completed = complete(fetched, processed, save_caption=self._save_caption)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            fetched.close()
            if isinstance(error, ItemError):
                error.facts = {**_download_facts(fetched), **error.facts}
                error.attempts = max(error.attempts, fetched.attempts)
            raise
        handed_on = [body for sample in completed.samples for body in sample.parts.values()]
        for source in sources:
            if source not in handed_on:
                source.close()
        return completed

    async def _process(self, fetched: Fetched, folder: Path) -> Processed:
        row, media = fetched.row, fetched.media
        if not self._plan.reads_media:
            return Processed([Sample(row.key, {}, {})])
        body, sound = media.get("video"), media.get("audio")
        if body is None:
            body, sound = sound, None
        if body is None:
            raise ItemError(Cause.NOT_MEDIA, "the row has neither a video nor sound")
        metadata = _metadata(fetched)
        separate = None if sound is None else sendable(sound)
        task = Task(
            row.key,
            sendable(body),
            metadata,
            self._plan,
            folder,
            separate,
            assembled=bool(fetched.info.get("assembled")),
        )
        for attempt in range(1, self.attempts + 1):
            try:
                processed = await self._pool.run(process, task, timeout_s=self._timeout)
            except TimeoutError:
                detail = f"not processed within worker_timeout ({self._timeout:g} s)"
                raise ItemError(Cause.WORKER_TIMEOUT, detail) from None
            except WorkerDiedError as error:
                last = error
            else:
                return replace(processed, attempts=attempt)
        failure = ItemError(Cause.WORKER_DIED, str(last))
        failure.attempts = self.attempts
        raise failure


def _metadata(fetched: Fetched) -> dict[str, Any]:
    """What is known of a video beforehand and says how to cut it."""
    row = fetched.row
    known = {**row.columns, **fetched.info}
    if row.parts is not None and known.get("receipt") is not None:
        known.pop("clips", None)  # they were cut from the video by the earlier job
    return {name: known[name] for name in METADATA if known.get(name) is not None}


def _download_facts(fetched: Fetched) -> dict[str, Any]:
    return {"bytes_downloaded": fetched.size, "http_status": fetched.info.get("http_status")}


def _owned(sample: Sample, sources: Sequence[Body]) -> Sample:
    """The worker's sample with owners: parts in the spool are deleted when they are closed."""
    parts = {name: _owned_body(body, sources) for name, body in sample.parts.items()}
    return replace(sample, parts=parts)


def _owned_body(body: Body, sources: Sequence[Body]) -> Body:
    if body in sources:
        return sources[sources.index(body)]
    path = body.path if isinstance(body, Blob) else None
    if path is None:
        return body
    return Blob(body.size, path=path, on_close=lambda: _remove_part(path))


def _remove_part(path: Path) -> None:
    """Delete a part, and its row's folder with the last one."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
