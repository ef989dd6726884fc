"""A dataset in an object store: the whole command against a real S3 server."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from asyncv2d.store import Store, open_store

if TYPE_CHECKING:
    from tests.conftest import Command, Server

SMALL = ("--set", "storage.number_sample_per_shard=2", "--set", "reading.retries=0")


@pytest.fixture
def table(tmp_path: Path, server: Server) -> Path:
    """Three rows in two shards, one of which fails."""
    path = tmp_path / "urls.csv"
    urls = [server.url("ok/short.mp4"), server.url("ok/one-scene.mp4"), "no.mp4"]
    path.write_text("\n".join(["url", *urls]))
    return path


def read(store: Store, name: str) -> bytes:
    """A file of the dataset."""
    data = store.read(name)
    assert data is not None
    return data


def test_a_dataset_in_s3(
    command: Command, server: Server, s3_url: str, table: Path, tmp_path: Path
) -> None:
    """Shards appear there whole, a second run redoes nothing, and nothing stays on this machine."""
    arguments = ("download", table, "--output_folder", s3_url, "--output_format", "webdataset")
    tmp_dir = tmp_path / "tmp"
    run = command.run(*arguments, *SMALL, "--tmp_dir", tmp_dir)
    assert run.code == 0, run.err
    store = open_store(s3_url)
    assert store.names() == [
        *("00000.parquet", "00000.tar", "00000_stats.json"),
        *("00001.parquet", "00001.tar", "00001_stats.json"),
        "_made_of.json",
    ]
    with tarfile.open(fileobj=io.BytesIO(read(store, "00000.tar"))) as archive:
        file = archive.extractfile("000000.mp4")
        assert file is not None
        assert file.read() == server.videos["short.mp4"]
    ledger = pq.read_table(io.BytesIO(read(store, "00001.parquet")))
    assert ledger["cause"].to_pylist() == ["not_found"]
    assert not list(tmp_dir.iterdir())
    again = command.run(*arguments, *SMALL, "--tmp_dir", tmp_dir)
    assert again.code == 0, again.err
    assert "2 were there already" in again.err
    assert server.hits.total() == 2
    stats = command.run("stats", s3_url, "--json")
    assert json.loads(stats.out)["rows"] == 3


def test_an_earlier_dataset_in_s3(
    command: Command, s3_url: str, table: Path, tmp_path: Path
) -> None:
    """Its tars are an input as well, and its failed rows are none."""
    first, second = f"{s3_url}/first", tmp_path / "second"
    assert command.run("download", table, "--output_folder", first, *SMALL, *TARS).code == 0
    run = command.run(
        *("download", f"{first}/{{00000..00001}}.tar", "--output_folder", second, *SMALL),
        *("--encode_formats", '{"audio": "wav"}'),
    )
    assert run.code == 0, run.err
    names = sorted(path.name for path in (second / "00000").iterdir())
    assert names == ["000000.json", "000000.wav", "000001.json", "000001.wav"]


TARS = ("--output_format", "webdataset")


def test_no_such_bucket(command: Command, s3_url: str, table: Path) -> None:
    """Is one line that says so, before anything is downloaded."""
    bucket = s3_url.replace("datasets", "no-such-bucket", 1)
    run = command.run("download", table, "--output_folder", bucket)
    assert run.code in (1, 2)
    assert len(run.err.splitlines()) == 1
    assert "Traceback" not in run.err
