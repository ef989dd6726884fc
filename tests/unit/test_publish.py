"""One shard, from its first row to its place in the dataset."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from asyncv2d.job import Job, make_job
from asyncv2d.ports import WrittenFile
from asyncv2d.publish import OpenShard, Site, open_site
from asyncv2d.published import published, remove_dataset
from asyncv2d.store import LocalStore
from asyncv2d.types import Blob, Cause, Failed, Ok, Outcome, Processed, Row, Sample, ShardSpec

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
def site(job: Job, tmp_path: Path) -> Site:
    """A place to make its shards."""
    return open_site(job, pa.schema([("url", pa.string())]), tmp_path / "work", "made of this")


def begun(site: Site, rows: int | None = 2) -> OpenShard:
    """A shard of two rows that has begun, or that goes on."""
    shard = OpenShard(site, SPEC, rows, started=1.0)
    shard.begin()
    return shard


@pytest.fixture
def shard(site: Site) -> OpenShard:
    """A shard of two rows that has begun."""
    return begun(site)


def take(shard: OpenShard, outcome: Outcome[Processed]) -> None:
    """One row comes out of the pipeline."""
    shard.add([(outcome, 0.5)])
    shard.came_out(1)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_published(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """Data, ledger and report appear together; nothing else stays."""
    output = Path(job.output_folder)
    take(shard, GOOD)
    early = shard.complete
    assert names(output) == []
    take(shard, BAD)
    assert (early, shard.complete) == (False, True)
    shard.publish()
    assert names(output) == ["00007.parquet", "00007.tar", "00007_stats.json"]
    assert names(tmp_path / "work") == []
    assert pq.read_table(output / "00007.parquet")["cause"].to_pylist() == [None, "dns"]
    assert json.loads((output / "00007_stats.json").read_text())["count"] == 2
    assert published(LocalStore(output), job.built.storage.key_format) == {7}


def test_published_again(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """Files of a shard that has no report, left by a killed run, are replaced."""
    output = Path(job.output_folder)
    (output / "00007.tar").write_text("half")
    take(shard, GOOD)
    take(shard, BAD)
    shard.publish()
    assert (output / "00007.tar").read_bytes()[:8] == b"00007000"


def test_given_up(shard: OpenShard, job: Job, tmp_path: Path) -> None:
    """What was written is removed; rows that still come are taken, and the report says why."""
    take(shard, GOOD)
    shard.give_up("no room")
    assert names(tmp_path / "work") == []
    take(shard, BAD)
    assert shard.complete
    assert shard.report().error == "no room"
    assert names(Path(job.output_folder)) == []


def test_gone_on_with(shard: OpenShard, site: Site, job: Job) -> None:
    """A shard that a killed process left has its finished rows, and no others."""
    take(shard, GOOD)
    shard.abandon()
    with (site.folder / "00007" / "00007.tar").open("ab") as file:
        file.write(b"half a sample")
    with (site.folder / "00007" / "journal.jsonl").open("a") as file:
        file.write('{"index": 1, "posi')
    again = begun(site)
    assert [again.is_done(index) for index in (0, 1)] == [True, False]
    again.restore(GOOD.row)
    take(again, BAD)
    again.publish()
    output = Path(job.output_folder)
    assert pq.read_table(output / "00007.parquet")["key"].to_pylist() == ["00007000", "00007001"]
    with tarfile.open(output / "00007.tar") as archive:
        assert archive.getnames() == ["00007000.mp4"]
    assert json.loads((output / "00007_stats.json").read_text())["samples"] == 1


@pytest.mark.parametrize("moved", [[], ["00007.tar"], ["00007.tar", "00007.parquet"]])
def test_killed_while_it_was_published(
    shard: OpenShard, site: Site, job: Job, moved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was moved already stays where it is, and the rest follows; no row is asked for again."""
    take(shard, GOOD)
    take(shard, BAD)
    output = Path(job.output_folder)

    def publish(store: LocalStore, files: Sequence[WrittenFile]) -> None:
        for file in files:
            if file.name not in moved:
                raise KeyboardInterrupt
            file.path.rename(output / file.name)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            shard.publish()
    shard.abandon()
    again = begun(site)
    for row in (GOOD.row, BAD.row):
        assert again.is_done(row.index)
        again.restore(row)
    again.publish()
    assert names(output) == ["00007.parquet", "00007.tar", "00007_stats.json"]


def test_made_of_something_else(shard: OpenShard, site: Site) -> None:
    """What was begun with another configuration or table is dropped."""
    take(shard, GOOD)
    shard.abandon()
    other = begun(replace(site, identity="made of that"))
    assert not other.is_done(0)
    other.abandon()


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
    take(shard, GOOD)
    take(shard, BAD)
    with pytest.raises(FileNotFoundError):
        shard.publish()
    shard.give_up("the output folder is gone")


@pytest.mark.parametrize(
    "name",
    ["0_stats.json", "000007_stats.json", "x_stats.json", "00007_stats.json.tmp", "_stats.json"],
)
def test_what_is_no_report(job: Job, name: str) -> None:
    """Only a shard's own name marks it as published."""
    output = Path(job.output_folder)
    (output / name).write_text("{}")
    assert published(LocalStore(output), job.built.storage.key_format) == set()


def test_begin_anew(job: Job) -> None:
    """Overwriting removes shards of every format, and nothing that is not ours."""
    output = Path(job.output_folder)
    for name in ("00000.tar", "00000.parquet", "00000_stats.json", "notes.txt", "model.tar"):
        (output / name).write_text("x")
    for name in ("00000", "2024", "mine"):
        (output / name).mkdir()
    remove_dataset(LocalStore(output))
    assert names(output) == ["2024", "mine", "model.tar", "notes.txt"]
