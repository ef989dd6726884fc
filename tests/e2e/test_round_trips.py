"""Every format that goes in with every format that comes out: the same rows become the same."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import asyncv2d
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.registry import names

ROWS: Sequence[Mapping[str, Any]] = [
    {"url": "one.mp4", "text": "a “first” one, quoted", "n": 7},
    {"url": "not there.mp4", "text": "line\nbreak", "n": 8},
    {"url": "two.mp4", "text": None, "n": None},
]
VIDEOS = {"one.mp4": MadeVideo(scenes(0.4), (64, 48)), "two.mp4": MadeVideo(scenes(0.6), (48, 64))}


class Output(NamedTuple):
    """What a reader finds of a sample: its parts, and its record."""

    parts: Mapping[str, bytes]
    record: Mapping[str, Any]


@cache
def video(name: str) -> bytes:
    """The file of a video."""
    return VIDEOS[name].data()


def _separated(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["url", "text", "n"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([*map(dict, ROWS)]), file)
    return file.getvalue()


def _lines() -> bytes:
    return "\n".join(map(json.dumps, ROWS)).encode()


INPUTS: Mapping[str, Callable[[], bytes]] = {
    "urls.txt": lambda: "\n".join(row["url"] for row in ROWS).encode(),
    "urls.csv": lambda: _separated(","),
    "urls.tsv": lambda: _separated("\t"),
    "urls.csv.gz": lambda: gzip.compress(_separated(",")),
    "urls.jsonl": _lines,
    "urls.jsonl.zst": lambda: pa.compress(_lines(), "zstd", asbytes=True),
    "urls.json": lambda: json.dumps([*map(dict, ROWS)]).encode(),
    "urls.parquet": _parquet,
}
HAVE_TYPES = ("jsonl", "jsonl.zst", "json", "parquet")


def run(folder: Path, table: str, output: str, output_format: str, **arguments: Any) -> None:
    """Make a dataset in this process."""
    asyncv2d.download(
        *(table, str(folder / output), output_format),
        tmp_dir=folder / "tmp",
        config={"distribution": {"distributor": "inline", "workers": 1, "downloads": 1}},
        **arguments,
    )


def _from_members(members: Mapping[str, bytes]) -> dict[str, Output]:
    found: dict[str, Output] = {}
    for key in dict.fromkeys(name.partition(".")[0] for name in members):
        parts = {name.partition(".")[2]: data for name, data in members.items() if key in name}
        found[key] = Output(parts, json.loads(parts.pop("json")))
    return found


def read_files(folder: Path) -> dict[str, Output]:
    """The samples of ``files``."""
    return _from_members({path.name: path.read_bytes() for path in folder.glob("0*/*")})


def read_webdataset(folder: Path) -> dict[str, Output]:
    """The samples of ``webdataset``."""
    members: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                members[member.name] = file.read()
    return _from_members(members)


def read_parquet(folder: Path) -> dict[str, Output]:
    """The samples of ``parquet``."""
    lines = pq.read_table(folder / "00000.parquet").to_pylist()
    found: dict[str, Output] = {}
    for line in lines:
        if line["status"] == "success":
            parts = {name: line.pop(name) for name in ("mp4", "txt") if name in line}
            parts = {
                name: data.encode() if isinstance(data, str) else data
                for name, data in parts.items()
            }
            found[line["key"]] = Output(parts, line)
    return found


READ = {"files": read_files, "webdataset": read_webdataset, "parquet": read_parquet}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the videos that the table names."""
    monkeypatch.chdir(tmp_path)
    for name in VIDEOS:
        (tmp_path / name).write_bytes(video(name))
    return tmp_path


@pytest.mark.parametrize("output_format", names("write"))
@pytest.mark.parametrize("table", INPUTS)
def test_tables(here: Path, table: str, output_format: str) -> None:
    """Each row is a sample or a line of the ledger, with its caption, its columns and its bytes."""
    (here / table).write_bytes(INPUTS[table]())
    is_plain = table == "urls.txt"
    columns: Any = {} if is_plain else {"caption_col": "text", "save_additional_columns": ["n"]}
    run(here, table, "out", output_format, **columns)
    ledger = pq.read_table(here / "out" / "00000.parquet").to_pylist()
    assert [line["cause"] for line in ledger] == [None, "not_found", None]
    assert [line["url"] for line in ledger] == [row["url"] for row in ROWS]
    if output_format not in READ:
        return
    found = READ[output_format](here / "out")
    assert sorted(found) == ["00000000", "00000002"]
    has_types = table.removeprefix("urls.") in HAVE_TYPES
    for row in (ROWS[0], ROWS[2]):
        sample = found[f"0000000{ROWS.index(row)}"]
        assert sample.parts["mp4"] == video(row["url"])
        assert sample.record["url"] == row["url"]
        if not is_plain:
            number = None if row["n"] is None else row["n"] if has_types else str(row["n"])
            assert sample.record["n"] == number
            assert sample.record["caption"] == row["text"]
            assert sample.parts["txt"].decode() == (row["text"] or "")


@pytest.mark.parametrize("output_format", names("write"))
def test_an_earlier_dataset(here: Path, output_format: str) -> None:
    """Its samples keep their keys, shards, captions and columns; only what is asked for changes."""
    (here / "urls.jsonl").write_bytes(_lines())
    columns: Any = {"caption_col": "text", "save_additional_columns": ["n"]}
    run(here, "urls.jsonl", "first", "webdataset", **columns)
    before = read_webdataset(here / "first")
    run(here, "first", "again", output_format, encode_formats={"video": "mp4"}, stage="subset")
    ledger = pq.read_table(here / "again" / "00000.parquet").to_pylist()
    assert [line["key"] for line in ledger] == ["00000000", "00000002"]
    if output_format in READ:
        after = READ[output_format](here / "again")
        assert sorted(after) == sorted(before)
        for key, sample in before.items():
            assert after[key].parts["mp4"] == sample.parts["mp4"]
            record = {name: after[key].record[name] for name in sample.record}
            assert record == sample.record


def test_metadata_alone(here: Path) -> None:
    """With no format to write, what is known of each sample is copied, and no media."""
    (here / "urls.csv").write_bytes(_separated(","))
    run(here, "urls.csv", "first", "webdataset")
    run(here, "first", "again", "webdataset", encode_formats={})
    found = read_webdataset(here / "again")
    assert [[*sample.parts] for sample in found.values()] == [[], []]
    assert [found[key].record["url"] for key in sorted(found)] == ["one.mp4", "two.mp4"]
