"""A dataset that is gone on with: failed rows tried again, and what must not be mixed."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Server, Started

ROWS_OF_A_SHARD = 2


class Job:
    """A table with a second column, and the dataset that the command makes of it."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder = folder
        self._command = command
        self.table = folder / "urls.jsonl"
        self.output = folder / "dataset"

    def rows(self, *urls: str) -> None:
        """Write the table."""
        lines = [json.dumps({"url": url, "n": number}) for number, url in enumerate(urls)]
        self.table.write_text("\n".join(lines))

    def run(self, *arguments: str) -> Started:
        """Run the command to its end."""
        started = self.start(*arguments)
        assert started.code is not None
        return started

    def start(self, *arguments: str) -> Started:
        """Start the command."""
        return self._command.start(
            *("download", self.table, "--output_folder", self.output),
            *("--output_format", "webdataset", "--save_additional_columns", "n"),
            *("--set", "reading.retries=0"),
            *("--set", f"storage.number_sample_per_shard={ROWS_OF_A_SHARD}", *arguments),
        )

    def ledger(self, *columns: str) -> list[Mapping[str, Any]]:
        """These columns of all ledgers, which open as one table."""
        files = sorted(map(str, self.output.glob("*.parquet")))
        lines: list[Mapping[str, Any]] = ds.dataset(files).to_table(columns=[*columns]).to_pylist()
        return lines


@pytest.fixture
def job(tmp_path: Path, command: Command) -> Job:
    """That."""
    return Job(tmp_path, command)


class TestRetryFailed:
    """``--incremental_mode retry_failed``."""

    def test_rows_that_may_be_well_by_now(self, job: Job, server: Server) -> None:
        """Are new shards behind the others, which refer to the old rows; a second time, none is."""
        job.rows(
            server.url("ok/short.mp4"), server.url("flaky/1/short.mp4"), server.url("status/404/a")
        )
        assert job.run().code == 0
        again = job.run("--incremental_mode", "retry_failed")
        assert again.code == 0, again.err
        assert "1 rows: 1 ok" in again.err
        lines = job.ledger("key", "n", "cause", "retry_of")
        assert lines == [
            {"key": "000000", "n": 0, "cause": None, "retry_of": None},
            {"key": "000001", "n": 1, "cause": "http_5xx", "retry_of": None},
            {"key": "000010", "n": 2, "cause": "http_404", "retry_of": None},
            {"key": "000020", "n": 1, "cause": None, "retry_of": "000001"},
        ]
        third = job.run("--incremental_mode", "retry_failed")
        assert third.code == 0
        assert "no failed row is to be tried again" in third.err
        assert server.hits.total() == 4

    def test_chosen_causes(self, job: Job, server: Server) -> None:
        """Those that are named, and those alone; what fails again can be tried once more."""
        job.rows(server.url("status/404/a"), server.url("status/500/a"), server.url("status/403/a"))
        assert job.run().code == 0
        for _ in range(2):
            arguments = (
                "--incremental_mode",
                "retry_failed",
                "--retry_causes",
                "http_404,http_403",
            )
            assert job.run(*arguments).code == 0
        lines = job.ledger("key", "cause", "retry_of")[3:]
        assert lines == [
            {"key": "000020", "cause": "http_404", "retry_of": "000000"},
            {"key": "000021", "cause": "http_403", "retry_of": "000010"},
            {"key": "000030", "cause": "http_404", "retry_of": "000020"},
            {"key": "000031", "cause": "http_403", "retry_of": "000021"},
        ]
        assert server.count("status/500/a") == 1

    def test_an_unknown_cause(self, job: Job) -> None:
        """Is refused."""
        job.rows("a.mp4")
        run = job.run("--incremental_mode", "retry_failed", "--retry_causes", "bad_luck")
        assert run.code == 2
        assert "--retry_causes" in run.err


class TestChanged:
    """Another table or configuration than the dataset was made of."""

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            (("--set", "storage.encoder.crf=30"), "storage.encoder.crf: null, now 30"),
            (("--caption_col", "n"), 'arguments.caption_col: null, now "n"'),
        ],
        ids=["configuration", "argument"],
    )
    def test_other_settings(self, job: Job, arguments: tuple[str, ...], what: str) -> None:
        """Are refused with what differs, unless that is allowed."""
        job.rows("no.mp4", "nor this.mp4")
        assert job.run().code == 0
        before = sorted(path.name for path in job.output.iterdir())
        run = job.run(*arguments)
        assert run.code == 2
        assert what in run.err
        assert sorted(path.name for path in job.output.iterdir()) == before
        assert job.run(*arguments, "--allow_changed").code == 0
        assert job.run(*arguments).code == 0

    def test_how_rows_are_fetched(self, job: Job) -> None:
        """Makes no difference."""
        job.rows("no.mp4")
        assert job.run().code == 0
        assert job.run("--set", "reading.timeout=5", "--set", "distribution.workers=1").code == 0

    def test_a_longer_table(self, job: Job) -> None:
        """Is refused; where it is allowed, its new rows are done, and an unfinished shard anew."""
        job.rows("no.mp4", "no.mp4", "no.mp4")
        assert job.run().code == 0
        job.rows(*["no.mp4"] * 5)
        run = job.run()
        assert run.code == 2
        assert "input.bytes" in run.err
        again = job.run("--allow_changed")
        assert again.code == 0
        assert "2 shards published, 1 were there already" in again.err
        assert [line["n"] for line in job.ledger("n")] == [0, 1, 2, 3, 4]

    def test_begin_anew(self, job: Job) -> None:
        """With ``overwrite`` nothing of the old dataset stays."""
        job.rows("no.mp4", "no.mp4", "no.mp4")
        assert job.run().code == 0
        job.rows("no.mp4")
        assert job.run("--incremental_mode", "overwrite").code == 0
        assert [line["n"] for line in job.ledger("n")] == [0]


class TestRetryOddColumns:
    """Columns that make it hard to find the table's values again in the ledger."""

    def test_names_like_ours(self, job: Job, server: Server) -> None:
        """Each value comes from its own column, also where ``input_NAME`` is taken."""
        url = server.url("flaky/1/short.mp4")
        line = {"url": url, "n": 1, "key": "a", "input_key": "b", "input_url": "c"}
        job.table.write_text(json.dumps(line))
        columns = ("--save_additional_columns", "n,key,input_key,input_url")
        assert job.run(*columns).code == 0
        again = job.run(*columns, "--incremental_mode", "retry_failed")
        assert again.code == 0, again.err
        assert "1 rows: 1 ok" in again.err
        last = job.ledger("n", "input_input_key", "input_key", "input_url", "url")[-1]
        assert last == {
            "n": 1,
            "input_input_key": "a",
            "input_key": "b",
            "input_url": "c",
            "url": url,
        }

    @pytest.mark.parametrize("value", [b"\0\xff", {"bytes": b"x", "path": "p"}])
    def test_bytes(self, job: Job, server: Server, value: Any) -> None:
        """Columns of bytes are kept, though media look the same in other ledgers."""
        job.table = job.folder / "urls.parquet"
        row = {"url": server.url("flaky/1/short.mp4"), "n": value}
        pq.write_table(pa.Table.from_pylist([row]), job.table)
        assert job.run().code == 0
        assert job.run("--incremental_mode", "retry_failed").code == 0
        assert [line["n"] for line in job.ledger("n")] == [value, value]


def test_a_table_that_grew_after_a_retry(job: Job, server: Server) -> None:
    """Its new rows are never taken for those that were tried again."""
    job.rows(server.url("flaky/1/short.mp4"), "no.mp4")
    assert job.run().code == 0
    assert job.run("--incremental_mode", "retry_failed").code == 0
    job.rows(server.url("ok/short.mp4"), "no.mp4", "no.mp4", "no.mp4")
    run = job.run("--allow_changed")
    assert run.code == 2
    assert "the number of a shard of rows that were tried again" in run.err


def test_a_retry_that_is_killed(job: Job, server: Server, until: Callable[..., None]) -> None:
    """Is gone on with: rows that it finished are not asked for again."""
    finished = ["flaky/1/short.mp4?0", "flaky/1/short.mp4?1"]
    others = ["status/500/a", "hold/short.mp4?0", "hold/short.mp4?1"]
    job.rows(*map(server.url, finished + others))
    assert job.run("--set", "reading.total_timeout=1").code == 0
    slow = ("--set", "distribution.downloads=1")
    retry = ("--incremental_mode", "retry_failed", *slow)
    run = job.start(*retry)
    until(lambda: list(job.output.glob("_tmp/shards/00004/journal.jsonl")))
    until(lambda: not list(job.output.glob("_tmp/shards/00003")))
    run.signal(signal.SIGKILL)
    assert run.code == -signal.SIGKILL
    server.release("hold/short.mp4")
    again = job.run(*retry)
    assert again.code == 0, again.err
    assert [server.count(path) for path in finished] == [2, 2]
    lines = job.ledger("cause", "retry_of")[5:]
    assert [line["retry_of"] for line in lines] == [
        "000000",
        "000001",
        "000010",
        "000011",
        "000020",
    ]


def test_many_small_shards(job: Job) -> None:
    """Shards that are complete in the moment in which they end are published all the same."""
    job.rows(*[f"no/{number}.mp4" for number in range(300)])
    run = job.run("--set", "distribution.distributor=inline")
    assert run.code == 0, run.err
    assert "150 shards published" in run.err


class TestAnEarlierDataset:
    """Tars as input."""

    def test_videos_that_differ(self, job: Job, server: Server, command: Command) -> None:
        """What was found of one video does not have to look like what was found of another."""
        job.rows("no.mp4", "no.mp4", *map(server.url, ("ok/short.mp4", "ok/sound.mp4")))
        probe = ("--set", 'subsampling={"FFProbeSubsampler": {}}', "--encode_formats", "{}")
        assert job.run(*probe).code == 0
        second = job.folder / "second"
        run = command.run(
            *("download", job.output, "--output_folder", second, "--encode_formats", "{}"),
            *("--output_format", "webdataset"),
        )
        assert run.code == 0, run.err
        assert "2 rows: 2 ok" in run.err
        assert [path.name for path in sorted(second.glob("*.tar"))] == ["00001.tar"]

    @pytest.mark.parametrize("key", ["\udc80", "k" * 251])
    def test_a_key_that_cannot_name_files(
        self, job: Job, videos: Mapping[str, bytes], command: Command, key: str
    ) -> None:
        """Fails its sample alone."""
        earlier, second = job.folder / "earlier", job.folder / "second"
        earlier.mkdir()
        with tarfile.open(earlier / "00000.tar", "w") as tar:
            for name in ("a", key, "b"):
                info = tarfile.TarInfo(f"{name}.mp4")
                info.size = len(videos["short.mp4"])
                tar.addfile(info, io.BytesIO(videos["short.mp4"]))
        run = command.run(
            *("download", earlier, "--output_folder", second, "--output_format", "files"),
            *("--encode_formats", '{"video": "mp4"}'),
        )
        assert run.code == 0, run.err
        assert "3 rows: 2 ok (2 samples), 1 failed" in run.err
        lines = pq.read_table(second / "00000.parquet").to_pylist()
        assert [line["cause"] for line in lines if line["cause"]] == ["bad_row"]
