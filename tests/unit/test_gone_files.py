"""Files of this machine that are there when they are looked at, and gone when they are read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest

from asyncv2d.engine import Engine, open_engine
from asyncv2d.job import Job, make_job
from asyncv2d.launch.launcher import Control, ShardQueue
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.probe import from_start, open_media
from asyncv2d.publish import open_site
from asyncv2d.shard import Watch, run_shards, table_rows
from asyncv2d.sites import Site
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.tar_out import StreamSite
from asyncv2d.types import (
    Cause,
    Failed,
    Fetched,
    ItemError,
    LocalFile,
    Outcome,
    Processed,
    ShardSpec,
)

pytestmark = pytest.mark.anyio
JOBS: Mapping[str, Mapping[str, Any]] = {
    "stored as it came": {},
    "described": {"FFProbeSubsampler": {}},
}


class Work:
    """A job on three videos of this machine in one shard, of which the second one is to go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.output = folder / "out"
        self.output.mkdir()
        data = MadeVideo(scenes(0.4)).data()
        self.paths = [folder / f"{name}.mp4" for name in ("first", "gone", "last")]
        for path in self.paths:
            path.write_bytes(data)
        self.log: list[str] = []

    def job(self, subsampling: Mapping[str, Any], form: str) -> Job:
        """The job, with URLs of that form."""
        table = self._folder / "urls.txt"
        table.write_text("\n".join(form.format(path) for path in self.paths))
        return make_job(
            {"url_list": str(table), "output_folder": str(self.output)},
            {"subsampling": subsampling, "distribution": {"workers": 1}},
        )

    async def run(self, job: Job, *, after: str) -> list[Mapping[str, Any]]:
        """Run the job; the second video goes when it has come through the stage ``after``."""
        types = job.reader().column_types()
        return await self._run(open_site(job, types, self._folder / "work", "this"), after)

    async def stream(self, job: Job, *, after: str) -> tuple[Mapping[str, Any], list[str]]:
        """The same into a stream; the cause of each row's failure, and the keys in the stream."""
        told: dict[str, Any] = {}

        async def watch(outcome: Outcome[Processed]) -> None:
            cause = outcome.cause if isinstance(outcome, Failed) else None
            told[Path(outcome.row.url).stem] = cause

        with io.BytesIO() as file:
            writer = job.stream_writer().stream(file)
            (report,) = await self._run(StreamSite(job, writer), after, watch)
            assert report["error"] is None
            writer.finish()
            file.seek(0)
            with tarfile.open(fileobj=file) as tar:
                return told, [name for name in tar.getnames() if name.endswith(".mp4")]

    async def _run(
        self, site: Site, after: str, watch: Watch | None = None
    ) -> list[Mapping[str, Any]]:
        job = site.job
        spool = self._folder / "spool"
        spool.mkdir()
        reports: list[Mapping[str, Any]] = []
        control = Control(reports.append, lambda _: None, self.log.append)
        reader = job.reader()
        queue = ShardQueue(reader.shards(10), job.max_shard_retry, control)
        source = partial(table_rows, reader=reader, specs=_taken(queue))
        with anyio.fail_after(60):
            async with (
                open_engine(
                    job.built, job.plan, SpoolFolders(spool, spool, 1 << 30), save_caption=False
                ) as engine,
                run_shards(
                    self._without(engine, after), site, source, drain=control.drain, watch=watch
                ) as running,
            ):
                async for report in running:
                    await queue.done(report.to_json())
        return reports

    def ledger(self) -> Mapping[str, Any]:
        """The cause of each row's failure, and its message."""
        lines = pq.read_table(self.output / "00000.parquet").to_pylist()
        return {Path(line["url"]).stem: (line["cause"], line["error_message"]) for line in lines}

    def _without(self, engine: Engine, after: str) -> Engine:
        stages = engine.pipeline.stages
        before = [stage.name for stage in stages].index(after) + 1
        step: Stage[Any, Any] = Stage("remove", self._remover, concurrency=1, timeout_s=60)
        pipeline = Pipeline[Processed]([*stages[:before], step, *stages[before:]])
        return Engine(pipeline, engine.budget, engine.pool)

    @asynccontextmanager
    async def _remover(self) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
        async def remove(value: Fetched | Processed) -> Fetched | Processed:
            body = (
                value.media["video"]
                if isinstance(value, Fetched)
                else value.samples[0].parts["mp4"]
            )
            if body == LocalFile(self.paths[1]):
                self.paths[1].unlink()
            return value

        yield remove


async def _taken(queue: ShardQueue) -> AsyncIterator[ShardSpec]:
    while (spec := await queue.take()) is not None:
        yield spec


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """That."""
    return Work(tmp_path)


@pytest.mark.parametrize("subsampling", JOBS.values(), ids=JOBS)
@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_gone_before_it_is_processed(
    work: Work, form: str, subsampling: Mapping[str, Any]
) -> None:
    """Its row says so, and those before and after it are well."""
    (report,) = await work.run(work.job(subsampling, form), after="fetch")
    assert report["error"] is None
    assert not work.log
    assert work.ledger() == {
        "first": (None, None),
        "gone": (Cause.NOT_FOUND, "the file cannot be read: No such file or directory"),
        "last": (None, None),
    }


@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_gone_before_it_is_written(work: Work, form: str) -> None:
    """Its shard is made again, in which its row says so, and the others are well."""
    (report,) = await work.run(work.job({}, form), after="subsample")
    assert report["error"] is None
    (line,) = work.log
    assert line.startswith("shard 0 is tried again: cannot write: [Errno 2] No such file")
    assert str(work.paths[1]) in line
    assert work.ledger() == {
        "first": (None, None),
        "gone": (Cause.NOT_FOUND, f"no such file: {work.paths[1]}"),
        "last": (None, None),
    }


def test_gone_before_a_worker_opens_it(work: Work) -> None:
    """That has the same cause, in the same words."""
    body = LocalFile(work.paths[1])
    work.paths[1].unlink()
    with pytest.raises(ItemError) as caught, open_media(body):
        pass
    assert caught.value.cause is Cause.NOT_FOUND
    assert caught.value.detail == "the file cannot be read: No such file or directory"


def test_gone_before_it_is_opened_again(work: Work) -> None:
    """Some formats cannot be rewound for a second look."""
    path = MadeVideo(scenes(1), codec="mpeg4", container="avi").write(work.paths[1])
    with open_media(LocalFile(path)) as media:
        path.unlink()
        with pytest.raises(ItemError) as caught, from_start(media, media.video):
            pass
    assert caught.value.cause is Cause.NOT_FOUND


async def test_gone_before_it_is_written_to_a_stream(work: Work) -> None:
    """Its row fails, and nothing of it is in the stream; the others are."""
    told, names = await work.stream(work.job({}, "{}"), after="subsample")
    assert told == {"first": None, "gone": Cause.NOT_FOUND, "last": None}
    assert sorted(names) == ["00000000.mp4", "00000002.mp4"]
