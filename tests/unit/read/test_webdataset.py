"""Reading the tars of an earlier dataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from asyncv2d.types import Record, UserError
from asyncv2d_stages.read.webdataset import WebdatasetReader


def make(path: Path | str, files: Sequence[tuple[str, Any]]) -> None:
    """A tar; what is no bytes is written as JSON."""
    with fsspec.open(str(path), "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def reader(*paths: Path | str, columns: Sequence[str] = ("url",), **more: Any) -> WebdatasetReader:
    """A reader of tars."""
    names = tuple(str(path) for path in paths)
    return WebdatasetReader(paths=names, columns=tuple(columns), **more)


def read(of: WebdatasetReader) -> list[Record]:
    """All samples; how many there are in each tar is known before."""
    found = []
    for shard in of.shards(1):
        records = list(of.records(shard))
        assert len(records) == shard.stop - shard.start
        found += records
    return found


def content(record: Record) -> Mapping[str, bytes]:
    """The parts, read from where they are said to lie."""
    found = {}
    for extension, part in (record.parts or {}).items():
        with fsspec.open(part.source, "rb") as file:
            file.seek(part.start)
            found[extension] = file.read(part.size)
    return found


SAMPLES: list[tuple[str, Any]] = [
    ("0001.mp4", b"video one"),
    ("0001.json", {"url": "u", "n": 1, "caption": "from json"}),
    ("0001.txt", b"from txt"),
    ("a/0002.json", {"url": "v", "caption": None}),
    ("a/0002.mp4", b"two"),
    ("a/0002.en.vtt", b"words"),
    ("a/0002.txt", "é".encode()),
    ("0003.m4a", b"sound"),
]


@pytest.fixture(params=["here", "memory"])
def tar(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a tar, on this machine or elsewhere."""
    if request.param == "here":
        return str(tmp_path / "00007.tar")
    return "memory://tars/00007.tar"


def test_samples(tar: str) -> None:
    """Become rows with their key, their columns and the place of their other files."""
    make(tar, SAMPLES)
    of = reader(tar, columns=["n", "caption", "url"])
    first, second, third = read(of)
    assert (first.key, second.key, third.key) == ("0001", "0002", "0003")
    assert first.columns == {"n": 1, "caption": "from json", "url": "u"}
    assert second.columns == {"n": None, "caption": None, "url": "v"}
    assert third.columns == {"n": None, "caption": None, "url": None}
    assert content(first) == {"mp4": b"video one"}
    assert content(second) == {"mp4": b"two", "en.vtt": b"words"}
    assert content(third) == {"m4a": b"sound"}
    assert of.column_types().field("n").type == pa.int64()


def test_all_columns(tar: str) -> None:
    """A star is all that the JSON has, and the caption."""
    make(tar, SAMPLES)
    of = reader(tar, columns=["*"])
    assert [dict(record.columns) for record in read(of)] == [
        {"url": "u", "n": 1, "caption": "from json"},
        {"url": "v", "caption": None},
        {},
    ]
    assert of.column_types().names == ["url", "n", "caption"]


def test_columns_that_are_missing(tmp_path: Path) -> None:
    """The URL may be, no other."""
    make(tmp_path / "a.tar", [("1.json", {"n": 1}), ("1.mp4", b"")])
    assert read(reader(tmp_path / "a.tar"))[0].columns == {"url": None}
    with pytest.raises(UserError, match=r"a\.tar: no column 'm'; its columns are: n"):
        read(reader(tmp_path / "a.tar", columns=["m", "url"]))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["00003.tar", "00012.tar"], [3, 12]),
        (["00003.tar", "x.tar"], [0, 1]),
        (["a/1.tar", "b/1.tar"], [0, 1]),
    ],
)
def test_numbers_of_shards(tmp_path: Path, names: list[str], numbers: list[int]) -> None:
    """Are those in the names, if all have one of their own; a tar is a shard, whatever its size."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make(tmp_path / name, SAMPLES)
    shards = list(reader(*(tmp_path / name for name in names)).shards(1))
    assert [(shard.id, shard.start, shard.stop) for shard in shards] == [
        (number, 0, 3) for number in numbers
    ]


def test_files_that_are_no_parts(tmp_path: Path) -> None:
    """Folders, links and hidden files are passed over."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("a", tarfile.DIRTYPE), ("a/1.mp4", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            tar.addfile(member)
        for name in ("a/._1.mp4", "a/1.json"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))
    (record,) = read(reader(tmp_path / "a.tar"))
    assert (record.key, record.parts) == ("1", {})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("1.json", b"{")], "sample '1': its .json or .txt cannot be read"),
        ([("1.json", [1])], "sample '1': its .json is no object"),
        ([("1.txt", b"\xe9")], "sample '1': its .json or .txt cannot be read"),
        ([("0.mp4", b"again")], "a second sample is called '0'"),
    ],
)
def test_a_bad_sample(tmp_path: Path, files: list[tuple[str, Any]], words: str) -> None:
    """Stops the run, or is a row that says so while the others are well."""
    whole: list[tuple[str, Any]] = [("0.mp4", b"a"), ("9.json", {"url": "u"})]
    make(tmp_path / "a.tar", [*whole, *files, ("8.mp4", b"c")])
    with pytest.raises(UserError, match=words) as caught:
        read(reader(tmp_path / "a.tar"))
    assert "\n" not in str(caught.value)
    records = read(reader(tmp_path / "a.tar", on_bad_row="skip"))
    assert [record.key for record in records] == ["0", "9", None, "8"]
    assert words in str(records[2].problem)


@pytest.mark.parametrize("cut", ["in a file", "in a header", "rubbish"])
def test_a_damaged_tar(tmp_path: Path, cut: str) -> None:
    """Stops the run, or is one bad row after the samples that are whole."""
    make(tmp_path / "a.tar", [("0.mp4", b"a"), ("1.mp4", b"b" * 2000), ("2.mp4", b"c")])
    data = (tmp_path / "a.tar").read_bytes()
    damaged = {
        "in a file": data[:2000],
        "in a header": data[:3800],
        "rubbish": data[:3584] + b"x" * 512 + data[4096:],
    }
    (tmp_path / "a.tar").write_bytes(damaged[cut])
    with pytest.raises(UserError, match="damaged tar at byte"):
        read(reader(tmp_path / "a.tar"))
    first, *_, last = read(reader(tmp_path / "a.tar", on_bad_row="skip"))
    assert first.key == "0"
    assert str(last.problem).startswith("damaged tar at byte")


def test_a_value_that_does_not_fit(tmp_path: Path) -> None:
    """Comes through: jobs find different things in different videos."""
    make(tmp_path / "1.tar", [("1.json", {"url": "u", "n": 1})])
    make(tmp_path / "2.tar", [("1.json", {"url": "u", "n": "x"}), ("2.json", {"n": 2})])
    of = reader(tmp_path / "1.tar", tmp_path / "2.tar", columns=["n", "url"])
    assert [(record.columns["n"], record.problem) for record in read(of)] == [
        (1, None),
        ("x", None),
        (2, None),
    ]
