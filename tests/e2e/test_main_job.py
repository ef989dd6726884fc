"""The main job as a user runs it: the command, video2dataset's YAML, real videos, real faults."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Server, Started

Until = Callable[..., None]

CONFIG = """\
subsampling:
    ResolutionSubsampler: {args: {video_size: 224, resize_mode: "scale,crop,pad"}}
    FrameSubsampler: {args: {frame_rate: 5}}
    CutDetectionSubsampler: {cuts_are_clips: True, args: {cut_detection_mode: "all", \
framerates: null, threshold: 27, min_scene_len: 15}}
    ClippingSubsampler: {args: {min_length: 4.0, max_length: 20.0, max_length_strategy: "all", \
precision: "keyframe_adjusted"}}
    FFProbeSubsampler: {args: {extract_keyframes: False}}
reading: {yt_args: {download_size: 360, download_audio_rate: 44100, yt_metadata_args: null}, \
timeout: 60, sampler: null}
storage: {number_sample_per_shard: 1000, oom_shard_count: 5, captions_are_subtitles: False}
distribution: {processes_count: 16, thread_count: 32, subjob_size: 1000, \
distributor: "multiprocessing"}
"""
# What becomes of each path, and how often it is asked for with one retry.
GOOD = {
    "ok/one-scene.mp4": 1,
    "ok/two-scenes.mp4": 1,
    "chunked/one-scene.mp4": 1,
    "gzip/one-scene.mp4": 1,
    "redirect/one-scene.mp4": 1,
    "flaky/1/one-scene.mp4": 2,
}
BAD = {
    "ok/short.mp4": ("no_clips", 1),
    "ok/sound.mp4": ("no_video_stream", 1),
    "ok/not-there.mp4": ("http_404", 1),
    "status/410/a": ("http_404", 1),
    "status/403/a": ("http_403", 1),
    "status/429/a": ("http_429", 2),
    "status/418/a": ("http_4xx", 1),
    "status/500/a": ("http_5xx", 2),
    "status/304/a": ("redirects", 1),
    "status/204/a": ("empty", 1),
    "loop/a": ("redirects", 10),
    "html/a": ("not_media", 1),
    "disguised/a": ("not_media", 1),
    "text/a": ("not_media", 1),
    "empty/a": ("empty", 1),
    "cut/one-scene.mp4": ("truncated", 2),
    "stall/one-scene.mp4": ("stalled", 2),
    "silent/a": ("timeout", 2),
    "drip/a": ("timeout", 2),
    "reset/a": ("connect", 2),
    "reset-after/one-scene.mp4": ("truncated", 2),
    "nonsense/a": ("connect", 2),
}
# URLs that lead to no server.
ELSEWHERE = {
    "": "bad_url",
    "http://": "bad_url",
    "http://[::1/a.mp4": "bad_url",
    "gopher://127.0.0.1/a.mp4": "bad_url",
    "http://127.0.0.1:1/a.mp4": "connect",
    "no/such/file.mp4": "not_found",
}


class Job:
    """A table and a configuration in a folder, and the dataset the command makes of them."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder = folder
        self._command = command
        self.tmp_dir = folder / "tmp"
        self.config = folder / "cfg.yaml"
        self.table = folder / "urls.csv"
        self.config.write_text(CONFIG)

    def rows(self, urls: Iterable[str]) -> None:
        """Write the table."""
        with self.table.open("w", newline="") as file:
            rows = ((url, f"caption of {url}") for url in urls)
            csv.writer(file).writerows([("url", "text"), *rows])

    def start(
        self, output: str = "dataset", *, largest_file: int | None = None, **settings: Any
    ) -> Started:
        """Start the command; ``settings`` are keys of the configuration, with ``__`` for ``.``."""
        overrides = [
            argument
            for name, value in settings.items()
            for argument in ("--set", f"{name.replace('__', '.')}={json.dumps(value)}")
        ]
        return self._command.start(
            *("download", self.table, "--config", self.config),
            *("--output_folder", self.folder / output, "--output_format", "webdataset"),
            *("--caption_col", "text", "--tmp_dir", self.tmp_dir, *overrides),
            largest_file=largest_file,
        )

    def dataset(self, output: str = "dataset") -> Dataset:
        """What lies in the output folder."""
        return Dataset(self.folder / output)


class Dataset:
    """A dataset on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def names(self) -> list[str]:
        """All files."""
        return sorted(path.name for path in self.folder.iterdir() if path.name[0] != "_")

    @property
    def parts(self) -> Mapping[str, bytes]:
        """The members of all tars."""
        found: dict[str, bytes] = {}
        for path in sorted(self.folder.glob("*.tar")):
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    assert file is not None
                    assert member.name not in found
                    found[member.name] = file.read()
        return found

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The lines of all ledgers."""
        paths = sorted(self.folder.glob("*.parquet"))
        return [line for path in paths for line in pq.read_table(path).to_pylist()]

    @property
    def stats(self) -> list[dict[str, Any]]:
        """All shard reports."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*_stats.json"))]

    def assert_equals(self, other: Dataset) -> None:
        """The same files with the same samples and lines, but for attempts and times."""
        assert self.names == other.names
        assert self.parts == other.parts
        own = ("attempts", "seconds")
        assert _timeless(self.ledger, *own) == _timeless(other.ledger, *own)
        times = ("duration", "start_time", "end_time")
        assert _timeless(self.stats, *times) == _timeless(other.stats, *times)


def _timeless(lines: Iterable[Mapping[str, Any]], *without: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in without} for line in lines]


@pytest.fixture
def job(tmp_path: Path, command: Command) -> Job:
    """A job in a folder of its own."""
    return Job(tmp_path, command)


def processes_below(pid: int) -> dict[int, str]:
    """The name of every process below ``pid``, which is not among them."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: dict[int, str] = {}
    wanted = {pid}
    while below := {child for child, parent in parents.items() if parent in wanted} - set(found):
        found |= dict.fromkeys(below, "")
        wanted = below
    return {child: _name(child) for child in found}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def workers_below(pid: int) -> list[int]:
    """The worker processes of a run."""
    return [child for child, name in processes_below(pid).items() if name == "asyncv2d worker"]


def loops_below(pid: int) -> list[int]:
    """The loop processes of a run."""
    return [child for child, name in processes_below(pid).items() if name == "asyncv2d loop"]


def spool_of(pid: int) -> Path | None:
    """The spool folder that a run holds."""
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = handle.readlink()
        except OSError:
            continue
        if target.parent.name.startswith("asyncv2d-spool-"):
            return target.parent
    return None


def assert_nothing_left(job: Job, pids: Iterable[int], spool: Path, until: Until) -> None:
    """No process, no temporary file, no half shard."""
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not spool.exists()
    assert not list(job.tmp_dir.glob("*"))


class TestFaults:
    """One run over good videos and every fault there is."""

    @pytest.fixture
    def run(self, job: Job, server: Server) -> Dataset:
        """The dataset of that run."""
        urls = [*map(server.url, [*GOOD, *BAD]), *ELSEWHERE]
        job.rows(urls)
        limits = {"timeout": 1, "total_timeout": 3, "retries": 1}
        settings: dict[str, Any] = {f"reading__{name}": value for name, value in limits.items()}
        started = job.start(reading__fetcher="http", **settings)
        assert started.code == 0, started.err
        return job.dataset()

    def test_the_run(self, run: Dataset, server: Server) -> None:
        """Every row is an outcome with the right cause; files, keys, JSON and stats are right."""
        urls = [*map(server.url, [*GOOD, *BAD]), *ELSEWHERE]
        self._check_files(run)
        self._check_ledger(run, urls, server)
        self._check_stats(run, len(urls))
        self._check_requests(server)
        self._check_samples(run, urls)

    @staticmethod
    def _check_files(run: Dataset) -> None:
        assert run.names == ["00000.parquet", "00000.tar", "00000_stats.json"]

    @staticmethod
    def _check_ledger(run: Dataset, urls: list[str], server: Server) -> None:
        lines: dict[str, list[dict[str, Any]]] = {}
        for line in run.ledger:
            lines.setdefault(line["key"].partition("_")[0], []).append(line)
        assert sorted(lines) == [f"{number:08d}" for number in range(len(urls))]
        causes = {server.url(path): cause for path, (cause, _) in BAD.items()} | ELSEWHERE
        for number, url in enumerate(urls):
            for line in lines[f"{number:08d}"]:
                assert (line["url"] or "") == url
                assert line["caption"] == f"caption of {url}"
                assert line["cause"] == causes.get(url), (url, line["error_message"])
                assert (line["status"] == "success") == (url not in causes)
        assert len(lines["00000001"]) == 2  # two scenes
        by_url = {line["url"]: line for line in run.ledger}
        assert by_url[server.url("flaky/1/one-scene.mp4")]["attempts"] == 2
        assert by_url[server.url("status/500/a")]["http_status"] == 500
        assert by_url[server.url("ok/short.mp4")]["status"] == "failed_to_subsample"
        assert by_url[server.url("html/a")]["status"] == "failed_to_download"

    @staticmethod
    def _check_stats(run: Dataset, rows: int) -> None:
        (stats,) = run.stats
        assert stats["count"] == rows
        assert stats["successes"] == len(GOOD)
        failed = stats["failed_to_download"] + stats["failed_to_subsample"]
        assert stats["count"] == stats["successes"] + failed
        assert sum(stats["status_dict"].values()) == rows
        assert stats["samples"] == len(GOOD) + 1
        # each frame of the videos that could be decoded, once: 95 + 5 × 45, and short.mp4's 10
        assert stats["frames_decoded"] == 95 + 5 * 45 + 10

    @staticmethod
    def _check_requests(server: Server) -> None:
        wanted = GOOD | {path: times for path, (_, times) in BAD.items()}
        wanted["ok/one-scene.mp4"] += 1  # the redirect leads here
        # aiohttp asks once more by itself where a connection that was used before breaks
        assert wanted.pop("reset/a") <= server.count("reset/a") <= 4
        assert {path: server.count(path) for path in wanted} == wanted

    @staticmethod
    def _check_samples(run: Dataset, urls: list[str]) -> None:
        parts = run.parts
        keys = sorted({name.partition(".")[0] for name in parts})
        assert sorted(parts) == sorted(f"{k}.{ext}" for k in keys for ext in ("json", "mp4", "txt"))
        assert keys == sorted(ln["key"] for ln in run.ledger if ln["status"] == "success")
        for key in keys:
            url = urls[int(key.partition("_")[0])]
            record = json.loads(parts[f"{key}.json"])
            assert record["key"] == key
            assert record["url"] == url
            assert record["status"] == "success"
            assert record["error_message"] is None
            assert parts[f"{key}.txt"].decode() == record["caption"] == f"caption of {url}"
            ((begin, end),) = record["clips"]
            assert 4 <= end - begin <= 20
            assert record["video_metadata"]["streams"]
            _check_video(parts[f"{key}.mp4"], end - begin)


def _check_video(data: bytes, duration: float) -> None:
    with av.open(io.BytesIO(data), "r") as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (224, 224)
        assert video.average_rate == Fraction(5)
        frames = sum(1 for _ in container.decode(video))
        assert abs(frames - duration * 5) <= 1
        assert container.streams.audio


SHARDED: dict[str, Any] = {"storage__number_sample_per_shard": 2}


def many(server: Server, count: int) -> list[str]:
    """URLs of as many rows, no two alike."""
    return [server.url(f"ok/one-scene.mp4?row={number}") for number in range(count)]


def test_a_second_run_redoes_nothing(job: Job, server: Server) -> None:
    """Published shards are left alone, down to their bytes, and nothing is downloaded again."""
    job.rows(many(server, 4))
    assert job.start(**SHARDED).code == 0
    before = {path: path.read_bytes() for path in job.dataset().folder.iterdir()}
    requests = server.hits.total()
    again = job.start(**SHARDED)
    assert again.code == 0
    assert "2 were there already" in again.err
    assert server.hits.total() == requests
    assert {path: path.read_bytes() for path in job.dataset().folder.iterdir()} == before


def test_killed_workers_cost_nothing(job: Job, server: Server, until: Until) -> None:
    """With its workers killed while they hold work, a run ends by itself with the same dataset."""
    job.rows([*many(server, 4), server.url("hold/one-scene.mp4")])
    run = job.start()
    until(lambda: server.count("hold/one-scene.mp4") and len(workers_below(run.pid)) > 0)
    for worker in workers_below(run.pid):
        os.kill(worker, signal.SIGSTOP)
    server.release("hold/one-scene.mp4")
    until(lambda: server.hits.total() == 5)
    for worker in workers_below(run.pid):
        os.kill(worker, signal.SIGKILL)
    assert run.code == 0, run.err
    assert job.start("undisturbed").code == 0
    job.dataset().assert_equals(job.dataset("undisturbed"))


@pytest.mark.parametrize("victim", ["loop", "nursery"])
def test_a_killed_loop_process_is_replaced(
    job: Job, server: Server, until: Until, victim: str
) -> None:
    """Its shards are done again, also where what it was forked from takes it along."""
    job.rows([*many(server, 5), server.url("hold/one-scene.mp4")])
    run = job.start(**SHARDED)
    until(lambda: server.count("hold/one-scene.mp4"))
    (loop,) = loops_below(run.pid)
    (nursery,) = [pid for pid in processes_below(run.pid) if loop in processes_below(pid)]
    killed = {"loop": loop, "nursery": nursery}[victim]
    gone = [killed, *processes_below(killed)]
    os.kill(killed, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in gone))
    server.release("hold/one-scene.mp4")
    assert run.code == 0, run.err
    assert "another one takes its place" in run.err
    assert job.start("undisturbed", **SHARDED).code == 0
    job.dataset().assert_equals(job.dataset("undisturbed"))


def test_loops_that_die_together(job: Job, server: Server, until: Until) -> None:
    """A shard that one of them gave back is not lost with the next, which was dead already."""
    held = "hold/one-scene.mp4"
    job.rows([server.url(f"{held}?row={row}") for row in range(12)])
    run = job.start(storage__number_sample_per_shard=1, distribution__loops=2)
    until(lambda: len(loops_below(run.pid)) == 2 and server.hits.total() >= 4)
    loop = loops_below(run.pid)[0]
    (nursery,) = [pid for pid in processes_below(run.pid) if loop in processes_below(pid)]
    os.kill(nursery, signal.SIGKILL)
    until(lambda: loops_below(run.pid) and loop not in loops_below(run.pid))
    server.release(held)
    assert run.code == 0, run.err
    assert {line["status"] for line in job.dataset().ledger} == {"success"}
    assert len(job.dataset().ledger) == 12


def test_killed_as_a_whole_and_started_again(job: Job, server: Server, until: Until) -> None:
    """A restart leaves published shards alone, redoes the others, and removes what was left."""
    urls = [*many(server, 3), server.url("hold/one-scene.mp4")]
    job.rows(urls)
    run = job.start(**SHARDED)
    until((job.dataset().folder / "00000_stats.json").exists)
    until(lambda: server.count("hold/one-scene.mp4"))
    spool = spool_of(run.pid)
    assert spool is not None
    below = processes_below(run.pid)
    run.signal(signal.SIGKILL)
    assert run.code == -signal.SIGKILL
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    server.release("hold/one-scene.mp4")
    again = job.start(**SHARDED)
    assert again.code == 0, again.err
    assert_nothing_left(job, [], spool, until)
    assert [server.count(f"ok/one-scene.mp4?row={row}") for row in (0, 1)] == [1, 1]
    assert server.count("hold/one-scene.mp4") == 2
    assert server.hits.total() == len(urls) + 1
    assert not (job.dataset().folder / "_tmp").exists()
    assert job.start("undisturbed", **SHARDED).code == 0
    job.dataset().assert_equals(job.dataset("undisturbed"))


def test_what_was_published_is_deleted_meanwhile(job: Job, server: Server, until: Until) -> None:
    """The run does not end well, says which shards are gone, and can be gone on with."""
    job.rows([*many(server, 3), server.url("hold/one-scene.mp4")])
    run = job.start(**SHARDED)
    until(lambda: server.count("hold/one-scene.mp4"))
    until((job.dataset().folder / "00000_stats.json").exists)
    (job.dataset().folder / "00000_stats.json").unlink()
    server.release("hold/one-scene.mp4")
    assert run.code == 1
    assert "shard 0 is not published: it was there, and something else deleted it" in run.err
    again = job.start(**SHARDED)
    assert again.code == 0, again.err
    assert len(job.dataset().ledger) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stopped_as_soon_as_there_is_something_to_leave(
    job: Job, server: Server, number: signal.Signals
) -> None:
    """The spool's folder is made when signals are heeded already, and is removed."""
    job.rows(many(server, 4))
    run, spool = job.start(), None
    while spool is None:
        spool = spool_of(run.pid)
    run.signal(number)
    assert run.code == 130
    assert not spool.exists()


def test_a_terminal_is_closed_under_nohup(job: Job, server: Server, until: Until) -> None:
    """The run goes on."""
    job.rows([server.url("hold/one-scene.mp4")])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = job.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: server.count("hold/one-scene.mp4"))
    run.signal(signal.SIGHUP)
    server.release("hold/one-scene.mp4")
    assert run.code == 0, run.err


class TestInterrupted:
    """Ctrl-C, once and twice."""

    @pytest.fixture
    def run(self, job: Job, server: Server, until: Until) -> Started:
        """A run of ten shards that has published the first and waits for a row of the second."""
        job.rows([*many(server, 3), server.url("hold/one-scene.mp4"), *many(server, 19)[3:]])
        run = job.start(**SHARDED, distribution__downloads=1)
        until(lambda: server.count("hold/one-scene.mp4"))
        until((job.dataset().folder / "00000_stats.json").exists)
        return run

    def test_once(self, run: Started, job: Job, server: Server, until: Until) -> None:
        """The run ends what it has in hand, publishes complete shards, and can be gone on with."""
        spool, below = spool_of(run.pid), processes_below(run.pid)
        assert spool is not None
        run.signal(signal.SIGINT)
        until(lambda: "stopping" in run.err)
        server.release("hold/one-scene.mp4")
        assert run.code == 130
        assert_nothing_left(job, below, spool, until)
        done = [name.partition("_")[0] for name in job.dataset().names if "stats" in name]
        assert done[:2] == ["00000", "00001"]
        assert len(done) < 10
        asked = server.count("hold/one-scene.mp4")
        assert job.start(**SHARDED).code == 0
        assert server.count("hold/one-scene.mp4") == asked
        assert job.start("undisturbed", **SHARDED).code == 0
        job.dataset().assert_equals(job.dataset("undisturbed"))

    def test_rows_that_wait_for_their_host(self, job: Job, server: Server, until: Until) -> None:
        """Are left for the next run, which asks for nothing twice."""
        job.rows([server.url("hold/one-scene.mp4"), *many(server, 9)])
        # In one process: a loop process may hear that it is to stop later than the user does.
        settings: dict[str, Any] = {
            "reading__host_connections": 1,
            "distribution__distributor": "inline",
        }
        run = job.start(**settings)
        until(lambda: server.count("hold/one-scene.mp4"))
        others = [f"ok/one-scene.mp4?row={number}" for number in range(9)]
        waiting = [path for path in others if not server.count(path)]
        assert waiting
        run.signal(signal.SIGINT)
        until(lambda: "stopping" in run.err)
        server.release("hold/one-scene.mp4")
        assert run.code == 130
        assert not any(server.count(path) for path in waiting)
        assert job.start(**settings).code == 0
        assert [server.count(path) for path in ["hold/one-scene.mp4", *others]] == 10 * [1]

    def test_twice(self, run: Started, job: Job, until: Until) -> None:
        """The run stops at once, with nothing but published shards left."""
        spool, below = spool_of(run.pid), processes_below(run.pid)
        assert spool is not None
        run.signal(signal.SIGINT)
        until(lambda: "stopping" in run.err)
        run.signal(signal.SIGINT)
        assert run.code == 130
        assert_nothing_left(job, below, spool, until)
        assert job.dataset().names == ["00000.parquet", "00000.tar", "00000_stats.json"]


class TestMistakes:
    """What a user got wrong is one clear line a mistake, exit code 2, and nothing is written."""

    def _refused(self, job: Job, *lines: str) -> None:
        run = job.start()
        assert run.code == 2, run.err
        assert run.err.splitlines() == [f"error: {line}" for line in lines]
        assert not (job.folder / "dataset").exists()
        assert not job.tmp_dir.exists()

    def test_configuration(self, job: Job, server: Server) -> None:
        """All mistakes of the file are told at once, each with its place and a suggestion."""
        job.rows([server.url("ok/one-scene.mp4")])
        job.config.write_text(
            "subsampling:\n"
            "    ResolutionSubsampler: {args: {video_sice: 224, resize_mode: scale}}\n"
            "    FrameSubsample: {args: {frame_rate: 5}}\n"
            "reading: {timeot: 60}\n"
            "storage: {number_sample_per_shard: many}\n"
        )
        at = job.config
        self._refused(
            job,
            f"{at}:2:35: subsampling.ResolutionSubsampler.args.video_sice: unknown key;"
            " did you mean 'video_size'?",
            f"{at}:3:5: subsampling.FrameSubsample: no subsampler is called 'FrameSubsample';"
            " did you mean 'FrameSubsampler'?",
            f"{at}:4:11: reading.timeot: unknown key; did you mean 'timeout'?",
            f"{at}:5:36: storage.number_sample_per_shard: expected a whole number, not 'many'",
        )
        assert not server.hits

    def test_no_input(self, job: Job) -> None:
        """A missing table."""
        self._refused(job, f"{job.table}: no such input file")

    def test_wrong_column(self, job: Job) -> None:
        """A table without the columns that are asked for."""
        job.table.write_text("link,words\na,b\n")
        self._refused(
            job,
            f"{job.table}: no column 'text', 'url'; its columns are: link, words"
            " (see --url_col, --caption_col, --clip_col, --save_additional_columns)",
        )

    def test_wrong_format(self, job: Job) -> None:
        """A table that is something else."""
        job.table.write_bytes(b"PAR1\0\0\0\0")
        self._refused(
            job, f"{job.table}: this is a parquet file, not text; say so with --input_format"
        )

    @pytest.mark.parametrize("text", ["", "url,text\n"])
    def test_empty_input(self, job: Job, text: str) -> None:
        """A table without rows."""
        job.table.write_text(text)
        run = job.start()
        assert run.code == 2
        assert len(run.err.splitlines()) == 1
        assert str(job.table) in run.err
        assert not (job.folder / "dataset").exists()

    def test_output_is_a_file(self, job: Job, server: Server) -> None:
        """An output folder that is a file."""
        job.rows([server.url("ok/one-scene.mp4")])
        (job.folder / "dataset").write_text("mine")
        run = job.start()
        assert run.code == 2
        assert run.err == f"error: {job.folder / 'dataset'}: cannot be the output folder: " + (
            "Not a directory\n"
        )
        assert (job.folder / "dataset").read_text() == "mine"
        assert not server.hits


def test_two_runs_on_one_folder(job: Job, server: Server, until: Until) -> None:
    """The second run is refused, and the first one is not disturbed."""
    job.rows([server.url("hold/one-scene.mp4")])
    first = job.start()
    until(lambda: server.count("hold/one-scene.mp4"))
    second = job.start()
    assert second.code == 2
    assert "another run is writing to this folder" in second.err
    server.release("hold/one-scene.mp4")
    assert first.code == 0, first.err
    assert len(job.dataset().parts) == 3


def test_no_room(job: Job, server: Server, until: Until) -> None:
    """Where a shard does not fit, the run says so, publishes the others, and exits with 1."""
    job.rows([server.url(f"ok/{name}") for name in ("one-scene.mp4", "short.mp4")])
    run = job.start(largest_file=20_000, storage__number_sample_per_shard=1)
    assert run.code == 1
    assert "shard 0 is not published: cannot write: [Errno 27] File too large" in run.err
    assert "Traceback" not in run.err
    assert job.dataset().names == ["00001.parquet", "00001.tar", "00001_stats.json"]
    assert not list(job.tmp_dir.glob("*"))


def test_all_loops_heed_the_pause_that_one_was_asked_for(
    command: Command, server: Server, tmp_path: Path
) -> None:
    """After Retry-After nobody asks the host until then, but for what was under way."""
    rows = [server.url(f"resting/short.mp4?{number}") for number in range(120)]
    (tmp_path / "urls.txt").write_text("\n".join(rows))
    run = command.run(
        *("download", tmp_path / "urls.txt", "--output_folder", tmp_path / "out"),
        *("--set", "storage.number_sample_per_shard=60", "--set", "distribution.loops=2"),
        *("--set", "reading.host_connections=4"),
    )
    assert run.code == 0
    assert "120 rows: 120 ok" in run.err
    assert server.disturbed == 0


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-", "2>&1 | head -1"])
def test_without_standard_streams(server: Server, tmp_path: Path, closed: str) -> None:
    """As under some daemons, or once whoever read what is said is gone: the work is done."""
    (tmp_path / "urls.txt").write_text("\n".join(many(server, 4)))
    command = (
        f"{Path(sys.executable).with_name('asyncv2d')} download urls.txt --output_folder out"
        f" --set storage.number_sample_per_shard=1 {closed}; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0
    assert len(list((tmp_path / "out").glob("*/*.mp4"))) == 4


def test_a_mistake_leaves_no_process(command: Command, tmp_path: Path) -> None:
    """A process that was started before the arguments were read is gone with the command."""
    mark = uuid.uuid4().hex
    run = command.run("download", tmp_path / "nowhere.csv", environment={"RUN": mark})
    assert run.code == 2
    assert "nowhere.csv" in run.err
    assert not [path for path in Path("/proc").glob("[0-9]*") if _environment_has(path, mark)]


def _environment_has(process: Path, text: str) -> bool:
    try:
        return text.encode() in (process / "environ").read_bytes()
    except OSError:  # it has just ended, or is another user's
        return False
