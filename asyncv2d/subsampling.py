"""The stage that makes samples of what was fetched."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from msgspec.structs import replace

from asyncv2d.calls import process
from asyncv2d.config import Config
from asyncv2d.deadline import waiting
from asyncv2d.mp4_check import is_good_video
from asyncv2d.plan import Plan
from asyncv2d.record import complete
from asyncv2d.task import METADATA, Task, sendable, write_part
from asyncv2d.types import (
    INLINE_BYTES,
    Blob,
    Body,
    Cause,
    Fetched,
    ItemError,
    Modality,
    Processed,
    Sample,
)
from asyncv2d.workers import WorkerDiedError, WorkerPool


class Subsampling:
    """The stage that has each video processed in a worker, where that takes one."""

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
        self._turns = anyio.Semaphore(pool.size)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Callable[[Fetched], Awaitable[Processed]]]:
        """Nothing to open: the result makes the samples of one row."""
        yield self._subsample

    async def _subsample(self, fetched: Fetched) -> Processed:
        figures: Mapping[str, Any] = {}
        try:
            figures = _download_facts(fetched)
            made = await self._process(fetched)
        except BaseException as error:
            fetched.close()
            if isinstance(error, ItemError):
                error.facts = {**figures, **error.facts}
                error.attempts = max(error.attempts, fetched.attempts)
            raise
        made = Processed(made.samples, {**figures, **made.facts}, made.attempts)
        try:
            return complete(fetched, made, save_caption=self._save_caption)
        except BaseException:
            made.close()
            raise

    async def _process(self, fetched: Fetched) -> Processed:
        """The samples; bodies that are in none of them are given up."""
        if not self._plan.reads_media:
            fetched.close()
            return Processed([Sample(fetched.row.key, {}, {})])
        file = self._whole_file(fetched)
        if file is not None and await _is_good(file):
            return Processed([Sample(fetched.row.key, {"mp4": file}, {})], {"frames_decoded": 0})
        with waiting(holds=True):  # for a body that waits for its worker need not lie there twice
            await self._turns.acquire()
        try:
            return await self._in_worker(fetched)
        finally:
            self._turns.release()

    def _whole_file(self, fetched: Fetched) -> Body | None:
        """The file, where it is stored as it came if it is a good one."""
        is_whole = len(fetched.media) == 1 and not fetched.info.get("assembled")
        keeps = self._plan.keeps_files and is_whole and "clips" not in _metadata(fetched)
        return fetched.media.get("video") if keeps else None

    async def _in_worker(self, fetched: Fetched) -> Processed:
        folder = self._spool / f"row-{next(self._numbers)}"
        media = dict(fetched.media)
        try:
            for modality, body in media.items():
                media[modality] = await _for_worker(body, folder)
            made = await self._run(self._task(fetched, media, folder))
        except BaseException:
            for body in media.values():
                body.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sources = list(media.values())
        samples = [_owned(sample, sources) for sample in made.samples]
        handed_on = [body for sample in samples for body in sample.parts.values()]
        for source in sources:
            if source not in handed_on:
                source.close()
        return Processed(samples, made.facts, made.attempts)

    def _task(self, fetched: Fetched, media: Mapping[Modality, Body], folder: Path) -> Task:
        body, sound = media.get("video"), media.get("audio")
        if body is None:
            body, sound = sound, None
        if body is None:
            raise ItemError(Cause.NOT_MEDIA, "the row has neither a video nor sound")
        return Task(
            fetched.row.key,
            sendable(body),
            _metadata(fetched),
            self._plan,
            folder,
            None if sound is None else sendable(sound),
            assembled=bool(fetched.info.get("assembled")),
        )

    async def _run(self, task: Task) -> Processed:
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


async def _is_good(body: Body) -> bool:
    """Whether the headers say that a file is a whole video; False: it takes a worker to know."""
    if isinstance(body, Blob) and body.pieces is not None:
        return is_good_video(body.open())
    return await to_thread.run_sync(_is_good_file, body)


def _is_good_file(body: Body) -> bool:
    try:
        with body.open() as file:
            return is_good_video(file)
    except OSError:
        return False


async def _for_worker(body: Body, folder: Path) -> Body:
    """The body as it is sent to a worker: by its path if it is large."""
    if not isinstance(body, Blob) or body.pieces is None or body.size <= INLINE_BYTES:
        return body
    path = await to_thread.run_sync(write_part, folder, body.pieces)
    give_back = body.on_close

    def close() -> None:
        _remove_part(path)
        if give_back is not None:
            give_back()

    return Blob(body.size, path=path, on_close=close)


def _metadata(fetched: Fetched) -> dict[str, Any]:
    """What is known of a video beforehand and says how to cut it."""
    row = fetched.row
    known = {**row.columns, **fetched.info}
    if row.parts is not None and known.get("receipt") is not None:
        known.pop("clips", None)  # they were cut from the video by the earlier job
    return {name: known[name] for name in METADATA if known.get(name) is not None}


def _download_facts(fetched: Fetched) -> Mapping[str, Any]:
    try:
        size = fetched.size
    except OSError as error:
        raise ItemError(Cause.NOT_FOUND, f"the file cannot be read: {error.strerror}") from error
    return {"bytes_downloaded": size, "http_status": fetched.info.get("http_status")}


def _owned(sample: Sample, sources: Sequence[Body]) -> Sample:
    """The worker's sample with owners: parts in the spool are deleted when they are closed."""
    parts = {name: _owned_body(body, sources) for name, body in sample.parts.items()}
    return replace(sample, parts=parts)


def _owned_body(body: Body, sources: Sequence[Body]) -> Body:
    for source in sources:
        if sendable(source) == body:
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
