"""What every reader promises; it runs by itself on each one that is installed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import sys
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from asyncv2d.ports import Reader
from asyncv2d.registry import load, names
from asyncv2d.types import ShardSpec, UserError

Table = Sequence[tuple[str, str | None]]


def _separated(delimiter: str) -> Callable[[Table], bytes]:
    def write(rows: Table) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=delimiter)
        writer.writerows([("url", "text"), *rows])
        return text.getvalue().encode()

    return write


def _json_lines(rows: Table) -> bytes:
    lines = [json.dumps({"url": url, "text": text}) + "\n" for url, text in rows]
    return "".join(lines).encode()


def _json_array(rows: Table) -> bytes:
    objects = [{"url": url, "text": text} for url, text in rows]
    return json.dumps(objects, ensure_ascii=False, indent=2).encode()


def _parquet(rows: Table) -> bytes:
    file = io.BytesIO()
    columns = {"url": [url for url, _ in rows], "text": [text for _, text in rows]}
    schema = pa.schema([("url", pa.string()), ("text", pa.string())])
    pq.write_table(pa.table(columns, schema), file, row_group_size=3)
    return file.getvalue()


def _plain(rows: Table) -> bytes:
    return "".join(f"{url}\n" for url, _ in rows).encode()


def _tar(rows: Table) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number, (url, text) in enumerate(rows):
            content = json.dumps({"url": url, "text": text}).encode()
            member = tarfile.TarInfo(f"{number:05d}.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


# How to write a table; a new reader adds its own here. ``txt`` has the URL alone.
WRITE: dict[str, Callable[[Table], bytes]] = {
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "jsonl": _json_lines,
    "json": _json_array,
    "parquet": _parquet,
    "txt": _plain,
    "webdataset": _tar,
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
TEXT_FORMATS = [kind for kind in ("csv", "tsv", "jsonl", "json", "txt") if kind in names("read")]
COMPRESSED = [f"{kind}.{suffix}" for kind in TEXT_FORMATS for suffix in ("gz", "zst", "bz2", "xz")]


def write(kind: str, rows: Table) -> bytes:
    """A table in that format, compressed if it says so: ``csv.gz``."""
    return packed(kind, text_of(kind, rows))


def text_of(kind: str, rows: Table) -> bytes:
    """A table in that format, not compressed."""
    return WRITE[kind.partition(".")[0]](rows)


def packed(kind: str, data: bytes) -> bytes:
    """The bytes, compressed as the format says."""
    compression = kind.partition(".")[2]
    return COMPRESS[compression](data) if compression else data


@pytest.fixture(params=[*names("read"), *COMPRESSED])
def kind(request: pytest.FixtureRequest) -> str:
    """A format, with its compression."""
    return cast(str, request.param)


def columns(kind: str) -> list[str]:
    """What a test table of that format holds."""
    return ["url"] if kind.startswith("txt") else ["text", "url"]


def reader(kind: str, *paths: Path, wanted: Sequence[str] | None = None, **more: Any) -> Reader:
    """A reader of some files."""
    names_ = columns(kind) if wanted is None else wanted
    settings_ = {"paths": [str(path) for path in paths], "columns": names_, **more}
    return cast(Reader, load("read", kind.partition(".")[0]).model_validate(settings_))


def copied(shards: Sequence[ShardSpec]) -> list[ShardSpec]:
    """The shards as another process gets them."""
    return [ShardSpec(**json.loads(json.dumps(asdict(shard)))) for shard in shards]


def read(of: Reader, size: int) -> list[list[dict[str, Any]]]:
    """The records of each shard.

    Shards are read last one first, then in order, then every second one: that makes no difference.
    """
    shards = list(of.shards(size))
    assert [shard.id for shard in shards] == list(range(len(shards)))
    backward = _records(of, copied(shards)[::-1])[::-1]
    assert [len(rows) for rows in backward] == [shard.stop - shard.start for shard in shards]
    assert _records(of, copied(shards)) == backward
    assert _records(of, copied(shards)[::2]) == backward[::2]
    return backward


def _records(of: Reader, shards: Sequence[ShardSpec]) -> list[list[dict[str, Any]]]:
    return [[dict(record.columns) for record in of.records(shard)] for shard in shards]


def expected(kind: str, rows: Table) -> list[dict[str, Any]]:
    """What those rows are as records."""
    return [{"url": url} | ({} if kind.startswith("txt") else {"text": text}) for url, text in rows]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=12)
ROWS = st.lists(
    st.tuples(st.text("abcé/%?&=#:", min_size=1, max_size=8), st.none() | TEXT), max_size=25
)


@given(rows=ROWS, size=st.integers(1, 30))
@example(rows=[("u", 'a "quoted"\nline, and\tanother\n')] * 5, size=2)
@example(rows=[("u", "\u2028 \x85 \x1c \x0b")] * 3, size=1)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_shards_give_back_exactly_the_rows(
    kind: str, tmp_path: Path, rows: Table, size: int
) -> None:
    """For any shard size, all rows come back, once, in order, whatever their text holds."""
    path = tmp_path / "table"
    path.write_bytes(write(kind, rows))
    shards = read(reader(kind, path), size)
    assert [record for shard in shards for record in shard] == expected(kind, rows)
    assert all(len(shard) == size for shard in shards[:-1])


def test_several_files(kind: str, tmp_path: Path) -> None:
    """Files come one after the other; no shard holds rows of two of them."""
    rows = [(f"u{number}", f"t{number}") for number in range(7)]
    for number, part in enumerate((rows[:3], rows[3:])):
        (tmp_path / f"{number}").write_bytes(write(kind, part))
    shards = read(reader(kind, tmp_path / "0", tmp_path / "1"), 2)
    assert [len(shard) for shard in shards] == ([3, 4] if kind == "webdataset" else [2, 1, 2, 2])
    assert [record for shard in shards for record in shard] == expected(kind, rows)


def test_an_empty_table(kind: str, tmp_path: Path) -> None:
    """A table without rows has no shards."""
    path = tmp_path / "table"
    path.write_bytes(write(kind, []))
    assert list(reader(kind, path).shards(5)) == []


def test_a_missing_file(kind: str, tmp_path: Path) -> None:
    """Is the user's mistake, in one line with the file's name."""
    refuses(reader(kind, tmp_path / "not there"), "not there", "No such file")


def test_a_folder(kind: str, tmp_path: Path) -> None:
    """A path that is no file is refused."""
    refuses(reader(kind, tmp_path), str(tmp_path))


def test_a_missing_column(kind: str, tmp_path: Path) -> None:
    """Is refused with the names of the columns there are."""
    path = tmp_path / "table"
    path.write_bytes(write(kind, [("u", "t")]))
    wanted = ["words", "url"] if kind.startswith("txt") else ["words", "text", "url"]
    refuses(reader(kind, path, wanted=wanted), "no column 'words'", "url")


@pytest.mark.parametrize(
    "content",
    [bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n\0\0\0", b"\xff\xfeu\0r\0l\0", b"PK\x03\x04zip"],
    ids=["noise", "png", "utf-16", "zip"],
)
def test_a_file_that_is_something_else(kind: str, tmp_path: Path, content: bytes) -> None:
    """Is refused in one line."""
    path = tmp_path / "table"
    path.write_bytes(content)
    refuses(reader(kind, path), str(path))


def refuses(of: Reader, *words: str) -> None:
    """Cutting into shards is refused in one line with these words."""
    with pytest.raises(UserError) as caught:
        list(of.shards(10))
    (problem,) = caught.value.problems
    assert "\n" not in problem
    assert all(word in problem for word in words), problem


def test_it_can_be_sent_to_another_process(kind: str, tmp_path: Path) -> None:
    """Pickling gives an equal reader, also while it has the file open."""
    path = tmp_path / "table"
    path.write_bytes(write(kind, [("u", "t"), ("v", "w")]))
    of = reader(kind, path)
    assert pickle.loads(pickle.dumps(of)) == of
    first = next(of.shards(1))
    before = list(of.records(first))
    of.column_types()
    copy = pickle.loads(pickle.dumps(of))
    assert copy == of == reader(kind, path)
    assert list(copy.records(first)) == before


def test_a_shard_that_is_given_up(kind: str, tmp_path: Path) -> None:
    """Leaves no trace: it can be read again, and so can the next one."""
    rows = [(f"u{number}", f"t{number}") for number in range(9)]
    path = tmp_path / "table"
    path.write_bytes(write(kind, rows))
    of = reader(kind, path)
    shards = list(of.shards(3))
    for shard in (shards[0], shards[0], shards[-1]):
        records = of.records(shard)
        next(records)
        del records
        found = [dict(record.columns) for record in of.records(shard)]
        assert found == expected(kind, rows[shard.start : shard.stop])


def test_two_shards_at_a_time(kind: str, tmp_path: Path) -> None:
    """Do not disturb each other."""
    rows = [(f"u{number}", f"t{number}") for number in range(6)]
    path = tmp_path / "table"
    path.write_bytes(write(kind, rows))
    of = reader(kind, path)
    shards = list(of.shards(3))
    pairs = list(zip(*(of.records(shard) for shard in (shards[0], shards[-1])), strict=True))
    firsts = [dict(first.columns) for first, _ in pairs]
    assert firsts == expected(kind, rows[shards[0].start : shards[0].stop])
    lasts = [dict(last.columns) for _, last in pairs]
    assert lasts == expected(kind, rows[shards[-1].start : shards[-1].stop])


def test_a_remote_file(kind: str) -> None:
    """Is read like one of this machine."""
    rows = [(f"u{number}", f"t{number}") for number in range(9)]
    with fsspec.open("memory://readers/table", "wb") as file:
        file.write(write(kind, rows))
    of = load("read", kind.partition(".")[0]).model_validate(
        {"paths": ["memory://readers/table"], "columns": columns(kind)}
    )
    found = read(cast(Reader, of), 2)
    assert [record for shard in found for record in shard] == expected(kind, rows)


def test_standard_input(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is read to its end as one shard of unknown length, where the format allows it."""
    rows = [(f"u{number}", f"t{number}") for number in range(9)]
    path = tmp_path / "table"
    path.write_bytes(write(kind, rows))
    of = reader(kind, Path("-"))
    everything = ShardSpec(0, "-", 0, sys.maxsize)
    with path.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        if kind in ("parquet", "webdataset"):
            with pytest.raises(UserError, match="cannot be read from stdin"):
                list(of.records(everything))
            return
        assert of.column_types() == pa.schema([(name, pa.string()) for name in columns(kind)])
        found = [dict(record.columns) for record in of.records(everything)]
        assert found == expected(kind, rows)


def test_types_of_columns(kind: str, tmp_path: Path) -> None:
    """Every wanted column has one, and text is text."""
    path = tmp_path / "table"
    path.write_bytes(write(kind, [("u", "t")]))
    types = reader(kind, path).column_types()
    assert {field.name: field.type for field in types} == dict.fromkeys(columns(kind), pa.string())


@pytest.mark.parametrize("kind", [*TEXT_FORMATS, "csv.gz", "jsonl.zst", "json.xz"])
class TestText:
    """What formats made of lines of text have in common."""

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_a_byte_order_mark(self, kind: str, tmp_path: Path, size: int) -> None:
        """Is no part of the first name or value."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "\ufeffw"), ("\ufeffx", "y")]
        path.write_bytes(packed(kind, b"\xef\xbb\xbf" + text_of(kind, rows)))
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_line_ends_of_windows(self, kind: str, tmp_path: Path, size: int) -> None:
        """Make no difference."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w"), ("x", "y")]
        plain = text_of(kind, rows).replace(b"\r\n", b"\n")
        path.write_bytes(packed(kind, plain.replace(b"\n", b"\r\n")))
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    def test_no_line_end_at_the_end(self, kind: str, tmp_path: Path) -> None:
        """The last row counts."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w")]
        path.write_bytes(packed(kind, text_of(kind, rows).rstrip(b"\r\n")))
        assert read(reader(kind, path), 1) == [[record] for record in expected(kind, rows)]

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_blank_lines(self, kind: str, tmp_path: Path, size: int) -> None:
        """Are passed over."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w")]
        text = text_of(kind, rows).replace(b"\n", b"\n\n") + b"\n\n"
        path.write_bytes(packed(kind, text))
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    def test_a_very_long_field(self, kind: str, tmp_path: Path) -> None:
        """Comes through whole."""
        path, rows = tmp_path / "table", [("u", "t"), ("v" * 1_000_000, "w" * 1_000_000)]
        path.write_bytes(write(kind, rows))
        assert read(reader(kind, path), 1)[1] == expected(kind, rows)[1:]

    def test_text_that_is_not_utf8(self, kind: str, tmp_path: Path) -> None:
        """Is refused with the line's number."""
        path = tmp_path / "table"
        text = text_of(kind, [("u", "t"), ("caf#", "t")]).replace(b"caf#", b"caf\xe9")
        path.write_bytes(packed(kind, text))
        line = {"txt": 2, "jsonl": 2, "json": 6}.get(kind.partition(".")[0], 3)
        refuses(reader(kind, path), f"line {line}: not UTF-8 text")


@pytest.mark.parametrize("kind", ["csv", "tsv"])
class TestSeparated:
    """CSV and its like."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('url,text\nu,"t\nv,w\n', "no valid CSV"),
            ("url,text\nu,t,x\n", "3 fields, the header has 2"),
            ("url,text,url\nu,t,v\n", "2 columns are called 'url'"),
            ('url,text\nu,"t"x\n', "no valid CSV"),
            ("url,text\ru,t\r", "no valid CSV"),
        ],
        ids=["open quote", "too many fields", "a name twice", "text after quote", "old Mac"],
    )
    def test_what_cannot_be_read(self, kind: str, tmp_path: Path, text: str, words: str) -> None:
        """Is refused in one line rather than read wrongly."""
        path = tmp_path / "table"
        path.write_text(text.replace(",", "\t") if kind == "tsv" else text, newline="")
        refuses(reader(kind, path), words)

    def test_names_that_nobody_asked_for(self, kind: str, tmp_path: Path) -> None:
        """Columns that are not read may be called anything, and names may have spaces around."""
        path = tmp_path / "table"
        text = ",x, url ,x,text\n1,2,u,3,t\n4,5,v\n"
        path.write_text(text.replace(",", "\t") if kind == "tsv" else text)
        rows = [{"url": "u", "text": "t"}, {"url": "v", "text": None}]
        assert read(reader(kind, path), 5) == [rows]


def test_values_of_a_parquet_file_keep_their_types(tmp_path: Path) -> None:
    """Nested values come through."""
    rows = [{"url": "u", "text": [[0.0, 1.5]]}, {"url": "v", "text": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table")
    assert read(reader("parquet", tmp_path / "table"), 1) == [[row] for row in rows]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("ns"), datetime(1970, 1, 1, microsecond=1)),
        (pa.timestamp("ns", "UTC"), datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)),
        (pa.duration("ns"), timedelta(microseconds=1)),
        (pa.time64("ns"), time(microsecond=1)),
        (pa.list_(pa.struct([("at", pa.time64("ns"))])), [{"at": time(microsecond=1)}]),
    ],
    ids=str,
)
def test_nanoseconds(tmp_path: Path, kind: pa.DataType, value: object) -> None:
    """Are more than Python's times have: they end with the microseconds."""
    array = pa.array([[{"at": 1001}]] if pa.types.is_list(kind) else [1001], kind)
    pq.write_table(pa.table({"url": ["a"], "text": array}), tmp_path / "table")
    assert read(reader("parquet", tmp_path / "table"), 1) == [[{"url": "a", "text": value}]]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_values_of_json_keep_their_types(kind: str, tmp_path: Path) -> None:
    """Numbers, lists and objects come through; absent keys are missing values."""
    path = tmp_path / "table"
    first, second = '{"url": "u", "text": [1, {"a": null}]}', '{"url": 5}'
    path.write_text(f"[{first}, {second}]" if kind == "json" else f"{first}\n{second}\n")
    rows = [{"url": "u", "text": [1, {"a": None}]}, {"url": 5, "text": None}]
    assert read(reader(kind, path), 5) == [rows]
