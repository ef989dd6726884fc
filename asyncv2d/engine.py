"""The pipeline of one process, put together from a configuration: fetch → subsample."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from asyncv2d.budget import ByteBudget
from asyncv2d.calls import prepare, process
from asyncv2d.config import Config
from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.plan import Plan
from asyncv2d.ports import Fetch, FetchContext, Fetcher
from asyncv2d.record import complete
from asyncv2d.registry import load, names
from asyncv2d.spool import Spool, SpoolFolders
from asyncv2d.task import METADATA, Task, sendable
from asyncv2d.types import Blob, Body, Cause, Fetched, ItemError, Processed, Row, Sample
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
    context = FetchContext(Spool(folders, budget, disk), distribution.downloads)
    async with open_pool(distribution.worker_count, partial(prepare, plan)) as pool:
        work = _Subsample(config, plan, pool, folders.fast, save_caption=save_caption)
        fetch = Stage(
            name="fetch",
            open=lambda: _open_fetchers(config, context),
            concurrency=distribution.downloads,
            timeout_s=_download_deadline(config),
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


@asynccontextmanager
async def _open_fetchers(
    config: Config, context: FetchContext
) -> AsyncIterator[Callable[[Row], Awaitable[Fetched]]]:
    async with AsyncExitStack() as stack:
        by_scheme: dict[str, Fetch] = {}
        for name in names("fetch"):
            fetcher = _fetcher(name, config)
            fetch = await stack.enter_async_context(fetcher.open(context))
            by_scheme.update(dict.fromkeys(fetcher.schemes, fetch))

        async def fetch_row(row: Row) -> Fetched:
            return await _choose(by_scheme, row)(row)

        yield fetch_row


def _fetcher(name: str, config: Config) -> Fetcher:
    """The fetcher, with the keys of ``reading`` that it has too."""
    cls = load("fetch", name)
    reading = config.reading.model_dump()
    known = {key: value for key, value in reading.items() if key in cls.model_fields}
    return cast(Fetcher, cls.model_validate(known))


def _choose(by_scheme: Mapping[str, Fetch], row: Row) -> Fetch:
    url = row.url
    if row.problem is not None:
        raise ItemError(Cause.BAD_ROW, row.problem)
    if not url:
        raise ItemError(Cause.BAD_URL, "the row has no URL")
    try:
        scheme = urlsplit(url).scheme.lower() if "://" in url or url.startswith("file:") else ""
    except ValueError as error:
        raise ItemError(Cause.BAD_URL, f"the URL is malformed: {error}") from None
    if scheme not in by_scheme:
        raise ItemError(Cause.BAD_URL, f"nothing here fetches {scheme}:// URLs")
    return by_scheme[scheme]


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
        source = fetched.media["video"]
        folder = self._spool / f"row-{next(self._numbers)}"
        try:
            processed = await self._process(fetched, source, folder)
            samples = [_owned(sample, source) for sample in processed.samples]
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
        if not any(source in sample.parts.values() for sample in completed.samples):
            fetched.close()
        return completed

    async def _process(self, fetched: Fetched, body: Body, folder: Path) -> Processed:
        row = fetched.row
        known = {**row.columns, **fetched.info}
        metadata = {name: known[name] for name in METADATA if known.get(name) is not None}
        task = Task(row.key, sendable(body), metadata, self._plan, folder)
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


def _download_facts(fetched: Fetched) -> dict[str, Any]:
    return {"bytes_downloaded": fetched.size, "http_status": fetched.info.get("http_status")}


def _owned(sample: Sample, source: Body) -> Sample:
    """The worker's sample with owners: parts in the spool are deleted when they are closed."""
    return replace(
        sample, parts={name: _owned_body(body, source) for name, body in sample.parts.items()}
    )


def _owned_body(body: Body, source: Body) -> Body:
    if body == source:
        return source
    path = body.path if isinstance(body, Blob) else None
    if path is None:
        return body
    return Blob(body.size, path=path, on_close=lambda: _remove_part(path))


def _remove_part(path: Path) -> None:
    """Delete a part, and its row's folder with the last one."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
