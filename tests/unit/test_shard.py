"""Shards on their way through an engine: each one ends published or given up, never in between."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pyarrow.parquet as pq
import pytest

from asyncv2d.engine import open_engine
from asyncv2d.job import Job, make_job
from asyncv2d.publish import open_site
from asyncv2d.report import ShardReport
from asyncv2d.shard import run_shards, table_rows
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import ShardSpec

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
SIZE = 3


class Work:
    """A job on a table of rows that fail at once, and what is needed to run its shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "urls.csv"
        self.output = folder / "out"
        self.output.mkdir()
        self.drain = anyio.Event()

    def job(self) -> Job:
        """The job."""
        config = {
            "storage": {"number_sample_per_shard": SIZE},
            "distribution": {"workers": 1, "downloads": 4},
            "reading": {"retries": 0},
        }
        arguments = {"url_list": str(self.table), "output_folder": str(self.output)}
        return make_job({**arguments, "output_format": "webdataset"}, config)

    def rows(self, urls: list[str]) -> list[ShardSpec]:
        """Write the table; its shards."""
        with self.table.open("w", newline="") as file:
            csv.writer(file).writerows([["url"], *([url] for url in urls)])
        return list(self.job().reader().shards(SIZE))

    @asynccontextmanager
    async def reports(
        self, specs: list[ShardSpec] | AsyncIterator[ShardSpec]
    ) -> AsyncIterator[AsyncIterator[ShardReport]]:
        """Run shards; the reports as they come."""
        job, spool = self.job(), self.folder / "spool"
        spool.mkdir(exist_ok=True)
        reader = job.reader()
        source = _each(specs) if isinstance(specs, list) else specs
        rows = partial(table_rows, reader=reader, specs=source)
        site = open_site(job, reader.column_types(), self.folder / "work", "made of this")
        with anyio.fail_after(60):
            async with (
                open_engine(
                    job.built, job.plan, SpoolFolders(spool, spool, 1 << 30), save_caption=False
                ) as engine,
                run_shards(engine, site, rows, drain=self.drain) as reports,
            ):
                yield reports

    async def run(self, specs: list[ShardSpec]) -> dict[int, str | None]:
        """Run shards to the end; the error of each, or None."""
        async with self.reports(specs) as reports:
            return {report.shard: report.error async for report in reports}

    def ledger(self, shard: int) -> list[str]:
        """The keys in a shard's ledger."""
        keys: list[str] = pq.read_table(self.output / f"{shard:05d}.parquet")["key"].to_pylist()
        return keys


async def _each(specs: list[ShardSpec]) -> AsyncIterator[ShardSpec]:
    for spec in specs:
        yield spec


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """That."""
    return Work(tmp_path)


def bad(count: int) -> list[str]:
    """URLs that fail at once."""
    return [f"no/such/file-{number}.mp4" for number in range(count)]


@pytest.mark.parametrize("count", [1, SIZE, 10 * SIZE + 1])
async def test_all_are_published(work: Work, count: int) -> None:
    """With a line in the ledger for each row, in order."""
    specs = work.rows(bad(count))
    assert await work.run(specs) == {spec.id: None for spec in specs}
    keys = [key for spec in specs for key in work.ledger(spec.id)]
    assert keys == [f"{n // SIZE * 10 + n % SIZE:06d}" for n in range(count)]
    assert not any((work.folder / "work").rglob("*.tar"))


async def test_a_url_without_end(work: Work) -> None:
    """Fails alone, and is cut short where it is written down."""
    specs = work.rows(["http://127.0.0.1:1/x" + "?a=" * 30_000, *bad(1)])
    assert await work.run(specs) == {0: None}
    (line, _) = pq.read_table(work.output / "00000.parquet").to_pylist()
    assert line["cause"] == "bad_row"
    assert "the URL has 90020 characters; at most 32768 are allowed" in line["error_message"]
    assert len(line["url"]) < 2000


async def test_a_slow_row_does_not_hold_up_the_next_shard(work: Work, server: Server) -> None:
    """Rows of following shards go through meanwhile."""
    specs = work.rows([server.url("hold/short.mp4"), *bad(3 * SIZE - 1)])
    async with work.reports(specs) as reports:
        first = [(await anext(reports)).shard, (await anext(reports)).shard]
        assert sorted(first) == [1, 2]
        server.release("hold/short.mp4")
        assert (await anext(reports)).shard == 0


async def test_the_input_is_gone(work: Work) -> None:
    """A shard whose rows cannot be read is given up with the reason, and the others go on."""
    specs = work.rows(bad(2 * SIZE))
    gone = ShardSpec(9, str(work.folder / "gone.csv"), 0, SIZE)
    found = await work.run([specs[0], gone, specs[1]])
    assert (found[0], found[1]) == (None, None)
    assert "gone.csv: cannot read the input file" in str(found[9])


async def test_the_input_has_become_shorter(work: Work) -> None:
    """A shard with fewer rows than were counted is not published, and nothing waits for them."""
    specs = work.rows(bad(2 * SIZE))
    work.rows(bad(SIZE + 1))
    found = await work.run(specs)
    assert found[0] is None
    assert "1 rows where 3 were counted" in str(found[1])


async def test_the_same_shard_again(work: Work, server: Server) -> None:
    """Rows of a try that was given up do not get into the next one."""
    specs = work.rows([server.url("hold/short.mp4"), *bad(SIZE - 1)])
    again = anyio.Event()

    async def source() -> AsyncIterator[ShardSpec]:
        yield ShardSpec(0, specs[0].source, 0, SIZE + 1, specs[0].offset)
        await again.wait()
        yield specs[0]

    async with work.reports(source()) as reports:
        server.release("hold/short.mp4")
        first = await anext(reports)
        assert "3 rows where 4 were counted" in str(first.error)
        again.set()
        second = await anext(reports)
        assert second.error is None
        assert second.figures.rows == SIZE
    assert work.ledger(0) == ["000000", "000001", "000002"]


async def test_the_work_folder_cannot_be_made(work: Work) -> None:
    """Is a reason for each shard, not a crash."""
    specs = work.rows(bad(SIZE + 1))
    (work.folder / "work").write_text("a file")
    found = await work.run(specs)
    assert all("work" in str(error) for error in found.values())
    assert len(found) == 2


async def test_drained(work: Work, server: Server, until: Callable[..., None]) -> None:
    """Begun shards whose rows are all in hand are published; no other is begun."""
    specs = work.rows([*bad(SIZE - 1), server.url("hold/short.mp4"), *bad(50 * SIZE)])
    async with work.reports(specs) as reports:
        await anyio.to_thread.run_sync(until, lambda: server.count("hold/short.mp4"))
        work.drain.set()
        await anyio.wait_all_tasks_blocked()
        server.release("hold/short.mp4")
        found = {report.shard: report.error async for report in reports}
    assert found[0] is None
    assert len(found) < 30


async def test_left_early(work: Work, server: Server, until: Callable[..., None]) -> None:
    """Leaving keeps finished rows for the next run, which asks for the others only."""
    paths = ["ok/short.mp4?row=0", "hold/short.mp4", "ok/short.mp4?row=2"]
    specs = work.rows([server.url(path) for path in paths])
    journal = work.folder / "work" / "00000" / "journal.jsonl"
    async with work.reports(specs):
        await anyio.to_thread.run_sync(until, lambda: _lines(journal) == 3)
        await anyio.to_thread.run_sync(until, lambda: server.count("hold/short.mp4"))
    assert not any((work.folder / "spool").iterdir())
    server.release("hold/short.mp4")
    assert await work.run(specs) == {0: None}
    assert [server.count(path) for path in paths] == [1, 2, 1]
    assert work.ledger(0) == ["000000", "000001", "000002"]
    assert not any((work.folder / "work").iterdir())


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
