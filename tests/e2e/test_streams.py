"""Rows from stdin, samples to stdout, and outcomes as they come: the command between two pipes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from tests.conftest import Server

Until = Callable[..., None]
_DEADLINE_S = 60


class Piped:
    """A run of the command with pipes for stdin and stdout."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        program = str(Path(sys.executable).with_name("asyncv2d"))
        self._log = folder / "err"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "download", *map(str, arguments), "--set", "reading.retries=0"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.out: IO[bytes] = _given(self._process.stdout)
        self._in: IO[bytes] = _given(self._process.stdin)

    def send(self, *lines: str) -> None:
        """Write lines to its stdin, now."""
        self._in.write("".join(f"{line}\n" for line in lines).encode())
        self._in.flush()

    def outcome(self) -> dict[str, Any]:
        """The next outcome; waits for it."""
        line: dict[str, Any] = json.loads(self.out.readline())
        return line

    def end(self) -> int:
        """Close its stdin; the exit code."""
        self._in.close()
        return self._process.wait(_DEADLINE_S)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    @property
    def err(self) -> str:
        """What it printed on stderr."""
        return self._log.read_text()

    def close(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.wait()
        for pipe in (self.out, self._in):
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def _given(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Piped]]:
    """Start the command in a folder of its own, on ``-``, with further arguments."""
    begun: list[Piped] = []

    def start_one(*arguments: object) -> Piped:
        begun.append(Piped(tmp_path, "-", *arguments))
        return begun[-1]

    yield start_one
    for run in begun:
        run.close()


DATASET = ("--output_folder", "dataset", "--output_format", "webdataset", "--outcomes", "jsonl")
TEXT = ("--input_format", "txt")


def stats(folder: Path) -> list[int]:
    """How many rows each published shard has."""
    files = sorted((folder / "dataset").glob("*_stats.json"))
    return [json.loads(file.read_text())["count"] for file in files]


def test_rows_are_processed_as_they_arrive(
    start: Callable[..., Piped], server: Server, tmp_path: Path
) -> None:
    """The outcome of a row is there while the producer still thinks about the next one."""
    run = start(*TEXT, *DATASET)
    for number in range(3):
        url = server.url(f"ok/short.mp4?{number}")
        run.send(url)
        found = run.outcome()
        assert (found["url"], found["status"]) == (url, "success")
        assert found["samples"] == [f"0000000{number}"]
    run.send(server.url("status/404/a"))
    assert run.outcome()["cause"] == "http_404"
    assert stats(tmp_path) == []
    assert run.end() == 0, run.err
    assert stats(tmp_path) == [4]


def test_a_shard_is_closed_by_age(
    start: Callable[..., Piped], tmp_path: Path, until: Until
) -> None:
    """A slow producer sees results before its shard is full."""
    run = start(*TEXT, *DATASET, "--set", "storage.max_shard_age=0.2")
    run.send("no.mp4")
    until(lambda: stats(tmp_path) == [1])
    run.send("no.mp4")
    until(lambda: stats(tmp_path) == [1, 1])
    assert run.end() == 0, run.err


@pytest.mark.parametrize(
    ("setting", "counts"),
    [("storage.number_sample_per_shard=2", [2, 2, 1]), ("storage.max_shard_bytes=1", [1] * 5)],
)
def test_a_shard_is_closed_when_it_is_full(
    start: Callable[..., Piped],
    server: Server,
    tmp_path: Path,
    until: Until,
    setting: str,
    counts: Sequence[int],
) -> None:
    """By its rows or by its bytes; and the next run goes on behind the last shard."""
    run = start(*TEXT, *DATASET, "--set", setting)
    for number in range(5):
        run.send(server.url(f"ok/short.mp4?{number}"))
        run.outcome()
    assert run.end() == 0, run.err
    assert stats(tmp_path) == counts
    again = start(*TEXT, *DATASET, "--set", setting)
    again.send(server.url("ok/short.mp4?5"))
    assert again.outcome()["key"].startswith(f"{len(counts):05d}")
    assert again.end() == 0, again.err
    assert stats(tmp_path) == [*counts, 1]


def test_columns_of_json_lines(start: Callable[..., Piped], tmp_path: Path) -> None:
    """Values keep their types in the sample's JSON; in the ledger they are text."""
    run = start("--input_format", "jsonl", *DATASET, "--save_additional_columns", "n,list")
    run.send(json.dumps({"url": "no.mp4", "n": 5, "list": [1]}))
    run.send(json.dumps({"url": "no.mp4", "n": "a"}))
    assert run.end() == 0, run.err
    lines = pq.read_table(tmp_path / "dataset" / "00000.parquet").to_pylist()
    assert [(line["n"], line["list"]) for line in lines] == [("5", "[1]"), ("a", None)]


@pytest.mark.parametrize("skip", [True, False])
def test_a_line_that_cannot_be_read(
    start: Callable[..., Piped], tmp_path: Path, skip: bool
) -> None:
    """Is a failed row or ends the run, as asked for; its number is named."""
    run = start(
        *("--input_format", "jsonl", *DATASET),
        *("--set", f"reading.on_bad_row={'skip' if skip else 'fail'}"),
    )
    run.send('{"url": "no.mp4"}', "{", '{"url": "no.mp4"}')
    assert run.end() == (0 if skip else 2)
    if skip:
        causes = pq.read_table(tmp_path / "dataset" / "00000.parquet")["cause"].to_pylist()
        assert causes == ["not_found", "bad_row", "not_found"]
    else:
        assert "line 2" in run.err
        assert "Traceback" not in run.err


def test_interrupted(start: Callable[..., Piped], server: Server, tmp_path: Path) -> None:
    """Ctrl-C ends a run whose producer says nothing; what was finished is published."""
    run = start(*TEXT, *DATASET)
    run.send(server.url("ok/short.mp4"))
    run.outcome()
    run.signal(signal.SIGINT)
    assert run.end() == 130
    assert stats(tmp_path) == [1]


def test_after_a_run_that_was_killed(
    start: Callable[..., Piped], server: Server, tmp_path: Path
) -> None:
    """Nothing of its unfinished shard gets into the next run's, whose rows are others."""
    killed = start(*TEXT, *DATASET)
    killed.send(server.url("ok/short.mp4?1"))
    assert killed.outcome()["key"] == "00000000"
    killed.signal(signal.SIGKILL)
    assert killed.end() == -signal.SIGKILL
    run = start(*TEXT, *DATASET)
    run.send(server.url("ok/short.mp4?2"))
    assert run.end() == 0, run.err
    with tarfile.open(tmp_path / "dataset" / "00000.tar") as archive:
        assert archive.getnames() == ["00000000.mp4", "00000000.json"]
    (line,) = pq.read_table(tmp_path / "dataset" / "00000.parquet").to_pylist()
    assert line["url"].endswith("?2")


def test_nobody_reads_the_outcomes(
    start: Callable[..., Piped], server: Server, tmp_path: Path
) -> None:
    """The dataset is made all the same."""
    run = start(*TEXT, *DATASET)
    run.send(server.url("ok/short.mp4?1"))
    run.outcome()
    run.out.close()
    run.send(server.url("ok/short.mp4?2"), server.url("ok/short.mp4?3"))
    assert run.end() == 0, run.err
    assert "Traceback" not in run.err
    assert stats(tmp_path) == [3]


def test_samples_to_stdout(start: Callable[..., Piped], server: Server, tmp_path: Path) -> None:
    """They come while rows are still arriving, as one tar; outcomes and logs are on stderr."""
    run = start(*TEXT, "--output_folder", "-", "--outcomes", "jsonl")
    found: dict[str, bytes] = {}
    run.send(server.url("ok/short.mp4"), "no.mp4")
    with tarfile.open(fileobj=run.out, mode="r|", bufsize=tarfile.BLOCKSIZE) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
            if len(found) == 2:
                run.send(server.url("ok/one-scene.mp4"))
                assert run.end() == 0, run.err
    assert sorted(found) == ["00000000.json", "00000000.mp4", "00000002.json", "00000002.mp4"]
    assert found["00000000.mp4"] == server.videos["short.mp4"]
    assert json.loads(found["00000002.json"])["key"] == "00000002"
    assert '"cause": "not_found"' in run.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["err"]


def test_a_table_to_stdout(tmp_path: Path, server: Server) -> None:
    """A table works as well."""
    (tmp_path / "urls.csv").write_text(f"url\n{server.url('ok/short.mp4')}\nno.mp4\n")
    run = Piped(tmp_path, "urls.csv", "--output_folder", "-")
    data = run.out.read()
    assert run.end() == 0, run.err
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["00000000.mp4", "00000000.json"]
    assert "2 rows: 1 ok" in run.err
    run.close()


def test_the_reader_goes_away(
    start: Callable[..., Piped], server: Server, tmp_path: Path, until: Until
) -> None:
    """The run ends by itself, without a word of error and with nothing left behind."""
    run = start(*TEXT, "--output_folder", "-", "--tmp_dir", tmp_path / "tmp")
    run.send(server.url("ok/short.mp4"))
    assert len(run.out.read(512)) == 512
    run.out.close()
    run.send(server.url("ok/one-scene.mp4"))
    until(lambda: "went away" in run.err)
    assert run.end() == 0
    assert "Traceback" not in run.err
    assert not [*(tmp_path / "tmp").iterdir()]


def test_no_format(start: Callable[..., Piped]) -> None:
    """Nothing tells what comes on stdin but ``--input_format``."""
    run = start("--output_folder", "dataset")
    assert run.end() == 2
    assert run.err.startswith("error: --input_format: rows from stdin need one of: txt")
