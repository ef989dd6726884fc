"""One shard, from its first row to its place in the dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asyncv2d.job import Job, make_job
from asyncv2d.publish import OpenShard
from asyncv2d.published import published, remove_dataset
from asyncv2d.types import Blob, Cause, Failed, Ok, Processed, Row, Sample, ShardSpec

COLUMNS = pa.schema([("url", pa.string())])
SPEC = ShardSpec(7, "urls.csv", 0, 2)
GOOD = Ok(Row(0, "00007000", "u"), Processed([Sample("00007000", {"mp4": Blob.of(b"v")}, {})]))
BAD = Failed(Row(1, "00007001", "v"), "fetch", Cause.DNS, "no such host")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that writes tars."""
    output = tmp_path / "dataset"
    output.mkdir()
    arguments = {"url_list": "urls.csv", "output_folder": str(output)}
    return make_job({**arguments, "output_format": "webdataset"}, {})


@pytest.fixture
def shard(job: Job, tmp_path: Path) -> OpenShard:
    """A shard of two rows that has begun."""
    shard = OpenShard(job, SPEC, COLUMNS, tmp_path / "work", started=1.0)
    shard.begin()
    return shard


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_published(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """Data, ledger and report appear together; nothing else stays."""
    output = Path(job.output_folder)
    shard.add(GOOD)
    early = shard.complete
    assert names(output) == []
    shard.add(BAD)
    assert (early, shard.complete) == (False, True)
    shard.publish()
    assert names(output) == ["00007.parquet", "00007.tar", "00007_stats.json"]
    assert names(tmp_path / "work") == []
    assert pq.read_table(output / "00007.parquet")["cause"].to_pylist() == [None, "dns"]
    assert json.loads((output / "00007_stats.json").read_text())["count"] == 2
    assert published(output, job.built.storage.key_format) == {7}


def test_published_again(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """Files of a shard that has no report, left by a killed run, are replaced."""
    output = Path(job.output_folder)
    (output / "00007.tar").write_text("half")
    shard.add(GOOD)
    shard.add(BAD)
    shard.publish()
    assert (output / "00007.tar").read_bytes()[:8] == b"00007000"


def test_given_up(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """What was written is removed; rows that still come are taken, and the report says why."""
    shard.add(GOOD)
    shard.give_up("no room")
    assert names(tmp_path / "work") == []
    shard.add(BAD)
    assert shard.complete
    assert shard.report().error == "no room"
    assert names(Path(job.output_folder)) == []


@pytest.mark.parametrize("sent", [0, 1, 3])
def test_an_input_that_has_changed(shard: OpenShard, sent: int) -> None:
    """A shard of other rows than were counted is not published."""
    shard.ends_after(sent)
    error = shard.report().error
    assert error is not None
    assert f"{sent} rows where 2 were counted" in error


def test_the_output_folder_is_gone(shard: OpenShard, job: Job) -> None:
    """Is an OSError, which ends in the report."""
    Path(job.output_folder).rmdir()
    shard.add(GOOD)
    shard.add(BAD)
    with pytest.raises(FileNotFoundError):
        shard.publish()


@pytest.mark.parametrize(
    "name",
    ["0_stats.json", "000007_stats.json", "x_stats.json", "00007_stats.json.tmp", "_stats.json"],
)
def test_what_is_no_report(job: Job, name: str) -> None:
    """Only a shard's own name marks it as published."""
    output = Path(job.output_folder)
    (output / name).write_text("{}")
    assert published(output, job.built.storage.key_format) == set()


def test_begin_anew(job: Job) -> None:
    """Overwriting removes shards of every format, and nothing that is not ours."""
    output = Path(job.output_folder)
    for name in ("00000.tar", "00000.parquet", "00000_stats.json", "notes.txt", "model.tar"):
        (output / name).write_text("x")
    for name in ("00000", "2024", "mine"):
        (output / name).mkdir()
    remove_dataset(output)
    assert names(output) == ["2024", "mine", "model.tar", "notes.txt"]
