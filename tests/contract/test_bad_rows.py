"""Lines that cannot be read: where they are is said, and counting agrees with reading."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asyncv2d.ports import Reader
from asyncv2d.registry import load
from asyncv2d.types import Record, UserError
from asyncv2d_stages.read import _text


def reader(
    kind: str, *paths: Path, columns: Sequence[str] = ("text", "url"), **more: Any
) -> Reader:
    """A reader of some files."""
    settings_ = {"paths": [*map(str, paths)], "columns": columns, **more}
    return cast(Reader, load("read", kind).model_validate(settings_))


def read(of: Reader, size: int) -> list[Record]:
    """All records; how many there are in each shard is known before they are read."""
    shards = list(of.shards(size))
    backward = [list(of.records(shard)) for shard in reversed(shards)][::-1]
    assert [len(found) for found in backward] == [shard.stop - shard.start for shard in shards]
    assert [list(of.records(shard)) for shard in shards] == backward
    return [record for found in backward for record in found]


def shown(records: Sequence[Record]) -> list[str]:
    """The URL of each record, or its problem."""
    return [record.problem or str(record.columns["url"]) for record in records]


BAD = {
    "csv": [
        ("three fields", "url,text\nu,t\nv,w,x\ny,z\n", "line 3: 3 fields, the header has 2"),
        ("text after a quote", 'url,text\nu,t\n"v"x,w\ny,z\n', "line 3: no valid CSV"),
        ("an open quote", 'url,text\nu,t\n"v,w\ny,z\n', "line 3: no valid CSV"),
        ("a long record", 'url,text\nu,"t\nt"\n\n"v",w,"x\n\nx"\ny,z\n', "line 5: 3 fields"),
        ("no UTF-8", "url,text\nu,t\nv,\udce9\ny,z\n", "line 3: not UTF-8 text"),
        ("no UTF-8 later", 'url,text\nu,t\nv,"\n\udce9"\ny,z\n', "line 3: not UTF-8 text"),
    ],
    "jsonl": [
        ("no object", '{"url": "u"}\n\n[1]\n{"url": "y"}\n', "line 3: no JSON object: [1]"),
        ("half", '{"url": "u"}\n{"url": \n{"url": "y"}\n', "line 2: no valid JSON: Exp"),
        ("no UTF-8", '{"url": "u"}\n{"url": "\udce9"}\n{"url": "y"}\n', "line 2: not UTF-8 text"),
        ("deep", f'{{"url": "u"}}\n{"[" * 100_000}\n{{"url": "y"}}\n', "line 2: no valid JSON"),
        ("a huge number", f'{{"url": "u"}}\n{"9" * 5000}\n{{"url": "y"}}\n', "line 2: no valid"),
    ],
    "json": [
        ("no object", '[{"url": "u"},\n 5,\n {"url": "y"}]', "line 2: no JSON object: 5"),
        ("half", '[\n{"url": "u"},\n{"url": ,\n{"url": "y"}\n]', "line 3: no valid JSON: Exp"),
        ("on one line", '[{"url": "u"}, {"url": }, {"url": "y"}]', "line 1: no valid JSON"),
        ("a quote", '[\n {"url": "u"},\n {"url": "v"", "a": {}},\n {"url": "y"}]', "line 3: no v"),
        ("no UTF-8", '[{"url": "u"},\n{"url": "\udce9"}, {"url": "y"}]', "line 2: not UTF-8"),
        ("a word", '[{"url": "u"},\nword, {"url": "y"}]', "line 2: no valid JSON"),
    ],
    "txt": [("no UTF-8", "u\n\n\udce9\ny\n", "line 3: not UTF-8 text")],
}
CASES = [
    pytest.param(kind, text, words, id=f"{kind}: {name}")
    for kind, cases in BAD.items()
    for name, text, words in cases
]


def _columns(kind: str) -> Sequence[str]:
    return ("text", "url") if kind == "csv" else ("url",)


@pytest.mark.parametrize(("kind", "text", "words"), CASES)
def test_a_bad_line_stops_the_run(kind: str, text: str, words: str, tmp_path: Path) -> None:
    """With its number and a remedy, in one line."""
    (tmp_path / "table").write_bytes(text.encode(errors="surrogateescape"))
    of = reader(kind, tmp_path / "table", columns=_columns(kind))
    with pytest.raises(UserError) as caught:
        list(of.shards(10))
    (problem,) = caught.value.problems
    assert "\n" not in problem
    assert f"table: {words}" in problem
    assert "on_bad_row" in problem


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("kind", "text", "words"), CASES)
def test_a_bad_line_is_a_row(
    kind: str, text: str, words: str, packed: bool, size: int, tmp_path: Path
) -> None:
    """That says what is wrong, while the rows before and after it are well."""
    data = text.encode(errors="surrogateescape")
    (tmp_path / "table").write_bytes(gzip.compress(data) if packed else data)
    of = reader(kind, tmp_path / "table", columns=_columns(kind), on_bad_row="skip")
    first, bad, last = shown(read(of, size))
    assert (first, last) == ("u", "y")
    assert bad.startswith(words)


PIECES = [
    *('"', ",", "\n", "\r\n", "a", "é", "\udce9", "\\", " ", "[", "]", "}", "{", '"url":'),
    *('{"url": 1}', '\n{"url": "x,y"}', '{"url": "a\\"b"}', ",\n"),
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "txt"])
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=40),
    size=st.integers(2, 4),
    packed=st.booleans(),
    cut=st.integers(0, 20),
    buffer=st.sampled_from([3, 17, 1 << 18]),
)
@example(pieces=['"', '"', "\\", "\n", "é", "]", "a"], size=2, packed=True, cut=3, buffer=3)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_rubbish(
    kind: str, pieces: list[str], size: int, packed: bool, cut: int, buffer: int, tmp_path: Path
) -> None:
    """Whatever stands in a file: it is the same rows, however they are cut into shards."""
    head = {"csv": "url,text\n", "json": "["}.get(kind, "")
    data = (head + "".join(pieces)).encode(errors="surrogateescape")
    written = gzip.compress(data)[: -cut or None] if packed else data
    (tmp_path / "table").write_bytes(written)
    of = reader(kind, tmp_path / "table", columns=_columns(kind)[-1:], on_bad_row="skip")
    with mock.patch.object(_text, "BUFFER", buffer):
        try:
            single = read(of, 1)
        except UserError:  # nothing can be read, or no object has the column
            return
        assert read(of, size) == single
    if kind in ("jsonl", "txt") and written in (data, gzip.compress(data)):
        assert len(single) == sum(bool(line.strip()) for line in data.split(b"\n"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_a_compressed_file_that_is_cut_off(pack: Any, tmp_path: Path) -> None:
    """Its rows come as far as they go; then the run stops, or a row says so."""
    lines = [f"http://host/{number * 7919 % 100_003}\n" for number in range(100_000)]
    data = pack("".join(lines).encode())
    (tmp_path / "table").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(UserError, match=r"line .*: damaged compressed file"):
        list(reader("txt", tmp_path / "table", columns=["url"]).shards(1000))
    of = reader("txt", tmp_path / "table", columns=["url"], on_bad_row="skip")
    *rows, last = shown(read(of, 7000))
    assert len(rows) > 20_000
    assert rows == [line.strip() for line in lines[: len(rows)]]
    assert last.startswith(f"line {len(rows) + 1}: damaged compressed file")


def test_a_compressed_file_with_nothing_in_it(tmp_path: Path) -> None:
    """Cut off before the first byte of text, it is refused."""
    (tmp_path / "table").write_bytes(gzip.compress(b"text")[:10])
    of = reader("txt", tmp_path / "table", columns=["url"], on_bad_row="skip")
    with pytest.raises(UserError, match="damaged compressed file"):
        list(of.shards(1))


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    """Costs its own line: the lines that it would swallow are rows."""
    lines = [f"u{number},t" for number in range(12_000)]
    (tmp_path / "table").write_text("\n".join(["url,text", 'v,"open', *lines]) + "\n")
    of = reader("csv", tmp_path / "table", on_bad_row="skip")
    first, *others = shown(read(of, 5000))
    assert first == "line 2: no valid CSV: a quote is not closed within 10000 lines"
    assert others == [line[:-2] for line in lines]


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the file, rather than filling the memory."""
    monkeypatch.setattr(_text, "LONGEST", 1 << 19)
    (tmp_path / "table").write_text("u\n" + "v" * (1 << 20) + "\nw\n")
    of = reader("txt", tmp_path / "table", columns=["url"], on_bad_row="skip")
    first, last = shown(read(of, 1))
    assert first == "u"
    assert last.startswith("line 2: a record is longer than")


class TestArray:
    """JSON files that are no array, or not only one."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "the file is empty"),
            ('{"url": "u"}\n{"url": "v"}\n', "these are JSON lines: use --input_format jsonl"),
            ("url,text\n", "the file begins with 'url,text'"),
            ('{\n"rows": []}', "the file begins with '{'"),
        ],
    )
    def test_something_else(self, text: str, words: str, tmp_path: Path) -> None:
        """Is refused, and named where it is known."""
        (tmp_path / "table").write_text(text)
        of = reader("json", tmp_path / "table", on_bad_row="skip")
        with pytest.raises(UserError, match=r"expected an array of objects") as caught:
            list(of.shards(1))
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('[{"url": "u"},\n', "line 2: the file is cut off: its array does not end"),
            ('[{"url": "u"}]\n[{"url": "v"}]', "line 2: the file goes on after the end of its"),
        ],
    )
    def test_an_end_that_is_none(self, text: str, words: str, tmp_path: Path) -> None:
        """Is one bad row."""
        (tmp_path / "table").write_text(text)
        of = reader("json", tmp_path / "table", columns=["url"], on_bad_row="skip")
        first, last = shown(read(of, 1))
        assert first == "u"
        assert last.startswith(words)

    def test_an_object_larger_than_a_buffer(self, tmp_path: Path) -> None:
        """Comes through whole, among others."""
        objects = [{"url": "u" * (number * 300_000)} for number in range(5)]
        (tmp_path / "table").write_text(json.dumps(objects))
        of = reader("json", tmp_path / "table", columns=["url"])
        assert [dict(record.columns) for record in read(of, 2)] == objects


@pytest.mark.parametrize("kind", ["json", "jsonl"])
class TestTypes:
    """JSON has no types of columns: the first 1000 objects tell them."""

    def reader(self, kind: str, path: Path, values: Sequence[Any]) -> Reader:
        """A table with these values."""
        objects = [json.dumps({"url": "u", "n": value}) for value in values]
        text = f"[{', '.join(objects)}]" if kind == "json" else "\n".join(objects)
        (path / "table").write_text(text)
        return reader(kind, path / "table", columns=["n", "url"])

    @pytest.mark.parametrize(
        ("values", "wanted"),
        [
            ([1, 2], pa.int64()),
            ([1, 2.5, None], pa.float64()),
            ([True, None], pa.bool_()),
            ([1, "a"], pa.string()),
            ([True, 1], pa.string()),
            ([2**70], pa.string()),
            ([None], pa.string()),
            ([{}], pa.string()),
            ([[]], pa.string()),
            (["\ud800"], pa.string()),
            ([[1.0], []], pa.list_(pa.float64())),
            ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ],
    )
    def test_inferred(self, kind: str, values: list[Any], wanted: Any, tmp_path: Path) -> None:
        """Values with no type in common are text."""
        of = self.reader(kind, tmp_path, values)
        assert of.column_types().field("n").type == wanted
        assert all(record.problem is None for record in read(of, 5))

    @pytest.mark.parametrize(
        ("first", "value", "name"),
        [
            (1, "abc", "int64"),
            (1, 2.5, "int64"),
            (1, True, "int64"),
            (1, 2**70, "int64"),
            (1.5, "x", "double"),
            ([1], "ab", "list"),
            ([1], [2.5], "list"),
            ({"a": 1}, {"b": 1}, "struct"),
        ],
    )
    def test_a_value_that_does_not_fit(
        self, kind: str, first: Any, value: Any, name: str, tmp_path: Path
    ) -> None:
        """Is a problem of its row alone."""
        of = self.reader(kind, tmp_path, [first] * 1000 + [value, None, first])
        problems = [record.problem for record in read(of, 700)]
        assert [number for number, problem in enumerate(problems) if problem] == [1000]
        assert f"column 'n' holds {value!r}, where the first rows have {name}" in str(
            problems[1000]
        )

    @pytest.mark.parametrize(("first", "value"), [(1.5, 2), ("a", 5), ([{"a": 1}], [{}])])
    def test_a_value_that_does(self, kind: str, first: Any, value: Any, tmp_path: Path) -> None:
        """Whole numbers fit among others, and everything fits text."""
        of = self.reader(kind, tmp_path, [first] * 1000 + [value])
        assert all(record.problem is None for record in read(of, 5000))


class TestParquet:
    """Parquet files with something wrong in them."""

    def test_other_types_in_a_later_file(self, tmp_path: Path) -> None:
        """Are refused with the file, the column and both types."""
        for name, value in (("a", 1), ("b", None), ("c", "x")):
            pq.write_table(pa.table({"url": ["u"], "n": [value]}), tmp_path / name)
        of = reader("parquet", *(tmp_path / name for name in "abc"), columns=["n", "url"])
        with pytest.raises(UserError, match=r"c: column 'n' is string, in the first file int64"):
            list(of.shards(1))

    def test_text_that_is_not_utf8(self, tmp_path: Path) -> None:
        """Is told with its row, and costs that row alone."""
        urls = pa.array([b"u", b"\xe9", b"y"] * 2, pa.binary()).view(pa.string())
        pq.write_table(pa.table({"url": urls}), tmp_path / "table", row_group_size=3)
        of = reader("parquet", tmp_path / "table", columns=["url"], on_bad_row="skip")
        bad = ["row 2: not UTF-8 text", "row 5: not UTF-8 text"]
        assert shown(read(of, 4)) == ["u", bad[0], "y", "u", bad[1], "y"]
        of = reader("parquet", tmp_path / "table", columns=["url"])
        with pytest.raises(UserError, match=r"row [25]: not UTF-8 text"):
            read(of, 4)

    def test_a_damaged_page(self, tmp_path: Path) -> None:
        """A file whose rows cannot be read says so in one line."""
        table = pa.table({"url": ["u" * 500] * 50})
        pq.write_table(table, tmp_path / "table")
        data = bytearray((tmp_path / "table").read_bytes())
        data[20:60] = b"\xff" * 40
        (tmp_path / "table").write_bytes(data)
        of = reader("parquet", tmp_path / "table", columns=["url"])
        with pytest.raises(UserError, match="table: damaged Parquet file"):
            read(of, 100)
