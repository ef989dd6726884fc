"""What every reader promises; it runs by itself on each one that is installed."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

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


def _parquet(rows: Table) -> bytes:
    file = io.BytesIO()
    columns = {"url": [url for url, _ in rows], "text": [text for _, text in rows]}
    schema = pa.schema([("url", pa.string()), ("text", pa.string())])
    pq.write_table(pa.table(columns, schema), file, row_group_size=3)
    return file.getvalue()


def _plain(rows: Table) -> bytes:
    return "".join(f"{url}\n" for url, _ in rows).encode()


# How to write a table; a new reader adds its own here. ``txt`` has the URL alone.
WRITE: dict[str, Callable[[Table], bytes]] = {
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "jsonl": _json_lines,
    "parquet": _parquet,
    "txt": _plain,
}
TEXT_FORMATS = ("csv", "tsv", "jsonl", "txt")


@pytest.fixture(params=names("read"))
def kind(request: pytest.FixtureRequest) -> str:
    """Each format there is."""
    return cast(str, request.param)


def columns(kind: str) -> list[str]:
    """What a test table of that format holds."""
    return ["url"] if kind == "txt" else ["text", "url"]


def reader(kind: str, *paths: Path, wanted: Sequence[str] | None = None) -> Reader:
    """A reader of some files."""
    names_ = columns(kind) if wanted is None else wanted
    settings_ = {"paths": [str(path) for path in paths], "columns": names_}
    return cast(Reader, load("read", kind).model_validate(settings_))


def read(of: Reader, size: int) -> list[list[dict[str, Any]]]:
    """The records of each shard; shards are read last one first, each from its own description."""
    shards = list(of.shards(size))
    assert [shard.id for shard in shards] == list(range(len(shards)))
    copies = [ShardSpec(**json.loads(json.dumps(asdict(shard)))) for shard in shards]
    found = [[dict(record.columns) for record in of.records(shard)] for shard in reversed(copies)]
    found.reverse()
    assert [len(rows) for rows in found] == [shard.stop - shard.start for shard in shards]
    return found


def expected(kind: str, rows: Table) -> list[dict[str, Any]]:
    """What those rows are as records."""
    return [{"url": url} | ({} if kind == "txt" else {"text": text}) for url, text in rows]


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
    path.write_bytes(WRITE[kind](rows))
    shards = read(reader(kind, path), size)
    assert [record for shard in shards for record in shard] == expected(kind, rows)
    assert all(len(shard) == size for shard in shards[:-1])


def test_several_files(kind: str, tmp_path: Path) -> None:
    """Files come one after the other; no shard holds rows of two of them."""
    rows = [(f"u{number}", f"t{number}") for number in range(7)]
    for number, part in enumerate((rows[:3], rows[3:])):
        (tmp_path / f"{number}").write_bytes(WRITE[kind](part))
    shards = read(reader(kind, tmp_path / "0", tmp_path / "1"), 2)
    assert [len(shard) for shard in shards] == [2, 1, 2, 2]
    assert [record for shard in shards for record in shard] == expected(kind, rows)


def test_an_empty_table(kind: str, tmp_path: Path) -> None:
    """A table without rows has no shards."""
    path = tmp_path / "table"
    path.write_bytes(WRITE[kind]([]))
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
    path.write_bytes(WRITE[kind]([("u", "t")]))
    wanted = ["words", "url"] if kind == "txt" else ["words", "text", "url"]
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
    """Pickling gives an equal reader."""
    of = reader(kind, tmp_path)
    assert pickle.loads(pickle.dumps(of)) == of


@pytest.mark.parametrize("kind", [kind for kind in TEXT_FORMATS if kind in names("read")])
class TestText:
    """What formats made of lines of text have in common."""

    def write(self, kind: str, path: Path, rows: Table) -> bytes:
        """A table with plain values."""
        path.write_bytes(WRITE[kind](rows))
        return path.read_bytes()

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_a_byte_order_mark(self, kind: str, tmp_path: Path, size: int) -> None:
        """Is no part of the first name or value."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "\ufeffw"), ("\ufeffx", "y")]
        path.write_bytes(b"\xef\xbb\xbf" + WRITE[kind](rows))
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_line_ends_of_windows(self, kind: str, tmp_path: Path, size: int) -> None:
        """Make no difference."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w"), ("x", "y")]
        plain = WRITE[kind](rows).replace(b"\r\n", b"\n")
        path.write_bytes(plain.replace(b"\n", b"\r\n"))
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    def test_no_line_end_at_the_end(self, kind: str, tmp_path: Path) -> None:
        """The last row counts."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w")]
        path.write_bytes(WRITE[kind](rows).rstrip(b"\r\n"))
        assert read(reader(kind, path), 1) == [[record] for record in expected(kind, rows)]

    @pytest.mark.parametrize("size", [1, 2, 10])
    def test_blank_lines(self, kind: str, tmp_path: Path, size: int) -> None:
        """Are passed over."""
        path, rows = tmp_path / "table", [("u", "t"), ("v", "w")]
        path.write_bytes(WRITE[kind](rows).replace(b"\n", b"\n\n") + b"\n\n")
        found = read(reader(kind, path), size)
        assert [record for shard in found for record in shard] == expected(kind, rows)

    def test_a_very_long_field(self, kind: str, tmp_path: Path) -> None:
        """Comes through whole."""
        path, rows = tmp_path / "table", [("u", "t"), ("v" * 1_000_000, "w" * 1_000_000)]
        path.write_bytes(WRITE[kind](rows))
        assert read(reader(kind, path), 1)[1] == expected(kind, rows)[1:]

    def test_text_that_is_not_utf8(self, kind: str, tmp_path: Path) -> None:
        """Is refused with the byte's place."""
        path = tmp_path / "table"
        path.write_bytes(WRITE[kind]([("u", "t")]) + b"caf\xe9\n")
        refuses(reader(kind, path), "not UTF-8", "byte")


@pytest.mark.parametrize("kind", ["csv", "tsv"])
class TestSeparated:
    """CSV and its like."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('url,text\nu,"t\nv,w\n', "no valid CSV"),
            ("url,text\nu,t,x\n", "3 fields, the header 2"),
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


class TestJsonLines:
    """JSON lines."""

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("[1, 2]", "no JSON object"),
            ('{"url": ', "no valid JSON"),
            ('{"url": "u", "n": ' + "9" * 5000 + "}", "no valid JSON"),
            ('{"url": ' + "[" * 100_000, "no valid JSON"),
        ],
        ids=["list", "half", "huge number", "deep"],
    )
    def test_what_cannot_be_read(self, tmp_path: Path, line: str, words: str) -> None:
        """Is refused with the place of its line."""
        path = tmp_path / "table"
        path.write_text('{"url": "u", "text": "t"}\n' + line + "\n")
        refuses(reader("jsonl", path), words, "byte")

    def test_values_keep_their_types(self, tmp_path: Path) -> None:
        """Numbers, lists and objects come through; absent keys are missing values."""
        path = tmp_path / "table"
        path.write_text('{"url": "u", "text": [1, {"a": null}]}\n{"url": 5}\n')
        rows = [{"url": "u", "text": [1, {"a": None}]}, {"url": 5, "text": None}]
        assert read(reader("jsonl", path), 5) == [rows]


class TestParquet:
    """Parquet."""

    def test_values_keep_their_types(self, tmp_path: Path) -> None:
        """Nested values come through."""
        rows = [{"url": "u", "text": [[0.0, 1.5]]}, {"url": "v", "text": None}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table")
        assert read(reader("parquet", tmp_path / "table"), 1) == [[row] for row in rows]

    def test_a_damaged_page(self, tmp_path: Path) -> None:
        """A file whose rows cannot be read says so in one line."""
        data = bytearray(_parquet([("u" * 500, "t")] * 50))
        data[20:400] = b"\xff" * 380
        path = tmp_path / "table"
        path.write_bytes(data)
        of = reader("parquet", path)
        shards = list(of.shards(100))
        with pytest.raises((UserError, OSError)):
            list(of.records(shards[0]))
