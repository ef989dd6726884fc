"""What is written down of a row: always JSON, always a ledger, whatever the table holds."""

from __future__ import annotations

import io
import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncv2d.record import complete, fact_schema, input_schema, ledger_lines, ledger_table
from asyncv2d.types import Blob, Cause, Failed, Fetched, Ok, Processed, Row, Sample

NO_COLUMNS = pa.schema([])
RECEIPT = {"asked": [1.0, 3.0], "real": [1.0, 2.9], "frames": 10, "duration": 1.9}


def record(columns: dict[str, Any], meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON of one sample of a row with these columns."""
    row = Row(0, "00", "u", columns)
    sample = Sample("00_00000", {"mp4": Blob.of(b"v")}, meta or {})
    done = complete(Fetched(row, {}), Processed([sample]), save_caption="caption" in columns)
    (made,) = done.samples
    read = json.loads(made.parts["json"].read())
    assert isinstance(read, dict)
    if "caption" in columns:
        assert isinstance(made.parts["txt"].read().decode(), str)
    return read


@pytest.mark.parametrize(("said", "caption"), [(None, "of the row"), ("said", "said"), ("", "")])
def test_a_caption(said: str | None, caption: str) -> None:
    """Is the row's, unless the sample has its own."""
    row = Row(0, "00", "u", {"caption": "of the row"})
    sample = Sample("00_00000", {}, {}, said)
    (made,) = complete(Fetched(row, {}), Processed([sample]), save_caption=True).samples
    assert made.parts["txt"].read().decode() == caption


def ledger(*columns: dict[str, Any], types: pa.Schema | None = None) -> list[dict[str, Any]]:
    """The ledger of rows with these columns, written and read back; text, if no types are given."""
    stored = types or pa.schema([(name, pa.string()) for name in columns[0]])
    lines = []
    for number, values in enumerate(columns):
        row = Row(number, f"{number:02d}", "u", values)
        lines.append(ledger_lines(Ok(row, Processed([Sample(row.key, {}, {"receipt": RECEIPT})]))))
    file = io.BytesIO()
    pq.write_table(ledger_table(lines, stored), file)
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def test_fields() -> None:
    """The row's columns, video2dataset's fields, and the sample's own facts."""
    assert record({"caption": "c", "url": "u"}, {"clips": [[1, 3]], "receipt": RECEIPT}) == {
        "caption": "c",
        "url": "u",
        "key": "00_00000",
        "status": "success",
        "error_message": None,
        "yt_meta_dict": None,
        "clips": [[1, 3]],
        "receipt": RECEIPT,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (5, 5),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        (2**70, 2**70),
        (b"caf\xe9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 1), "2024-02-29 01:00:00"),
        (Decimal("1.50"), "1.50"),
        ([1, (2, {3})], [1, [2, [3]]]),
        ({1: {"a": b"x"}}, {"1": {"a": "x"}}),
        (np.float32(0.5), 0.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.datetime64("2024-02-29"), "2024-02-29"),
    ],
)
def test_values_become_json(value: Any, written: Any) -> None:
    """Whatever a table holds."""
    assert record({"x": value})["x"] == written


def test_a_caption_that_is_no_text() -> None:
    """Is written as text, an empty cell as an empty file."""
    for value in (5, None, ["a"], "\ud800"):
        record({"caption": value})


def test_names_of_ours() -> None:
    """A column of the table whose name we use is kept beside, in JSON and ledger."""
    columns = {"key": "mine", "status": 7, "duration": 60, "receipt": "r", "url": "u"}
    made = record(columns, {"receipt": RECEIPT})
    assert made["key"] == "00_00000"
    assert made["status"] == "success"
    assert made["receipt"] == RECEIPT
    assert (made["input_key"], made["input_status"], made["input_receipt"]) == ("mine", 7, "r")
    assert made["duration"] == 60
    (line,) = ledger(columns)
    assert (line["key"], line["status"], line["duration"]) == ("00", "success", 1.9)
    assert (line["input_key"], line["input_status"], line["input_duration"]) == ("mine", "7", "60")


@pytest.mark.parametrize(
    "values",
    [
        [1, "a"],
        [2**70, 1],
        ["\ud800", "b"],
        [{}, {}],
        [[{}], None],
        [{"a": 1}, {"a": "x"}],
        [{1: 2}, None],
        [object, 1],
        [float("nan"), "x"],
    ],
)
def test_a_column_without_a_common_type(values: list[Any]) -> None:
    """Is kept as text; a missing value stays missing, text stays as it is."""
    rows = ledger(*({"x": value} for value in values))
    for row, value in zip(rows, values, strict=True):
        assert isinstance(row["x"], str | None)
        assert (row["x"] is None) == (value is None)
        if isinstance(value, str) and value.isascii():
            assert row["x"] == value


def test_types_are_kept() -> None:
    """The ledger has the types of the input; a value that is of another one is missing."""
    kinds = pa.schema(
        [("i", pa.int64()), ("l", pa.list_(pa.list_(pa.float64()))), ("n", pa.null())]
    )
    stored = input_schema(kinds, {name: name for name in kinds.names})
    rows = ledger(
        {"i": 1, "l": [[0.5, 1.0]], "n": None}, {"i": "a", "l": None, "n": None}, types=stored
    )
    assert rows[1]["i"] is None
    assert rows[0]["i"] == 1
    assert rows[0]["l"] == [[0.5, 1.0]]
    assert rows[1]["l"] is None
    assert rows[1]["n"] is None


def test_a_receipt_of_an_earlier_job() -> None:
    """Is never taken for one of ours, which the ledger has its times from."""
    row = Row(0, "00", "u", {"receipt": "r"})
    done = complete(Fetched(row, {}), Processed([Sample("00", {}, {})]), save_caption=False)
    assert done.samples[0].meta["input_receipt"] == "r"
    (line,) = ledger_lines(Ok(row, done)).own
    assert line["frames"] is None


def test_facts_have_columns() -> None:
    """Of types that stay, whatever the samples are; times as the table has them may be text."""
    assert fact_schema().field("frame_time").type == pa.float64()
    as_given = fact_schema(times_as_given=True)
    assert as_given.field("frame_time").type == pa.string()
    assert as_given.names == fact_schema().names
    assert not {"key", "status", "duration"} & set(as_given.names)


def test_the_schema() -> None:
    """Own columns have fixed types, whatever the rows were; lines are in order of key."""
    failed = Failed(
        Row(1, "01", "v"), "fetch", Cause.DNS, "\x1b[31mbad\a \ud800", 3, {"http_status": 200}
    )
    table = ledger_table([ledger_lines(failed)], NO_COLUMNS)
    assert table.schema.field("attempts").type == pa.int32()
    assert table.schema.field("start").type == pa.float64()
    (line,) = table.to_pylist()
    assert line["status"] == "failed_to_download"
    assert line["error_message"] == "bad \\ud800"
    assert (line["cause"], line["stage"], line["attempts"]) == ("dns", "fetch", 3)
    assert (line["http_status"], line["start"]) == (200, None)
    empty = ledger_table([], pa.schema([("url", pa.string())]))
    assert empty.num_rows == 0
    assert empty.schema.field("url").type == pa.string()


def test_order() -> None:
    """Lines come in order of key, however rows were done; a row's clips stay together."""
    lines = [
        ledger_lines(
            Ok(Row(n, f"0{n}", "u"), Processed([Sample(f"0{n}_{i}", {}, {}) for i in (1, 0)]))
        )
        for n in (2, 0, 1)
    ]
    keys = ledger_table(lines, NO_COLUMNS)["key"].to_pylist()
    assert keys == ["00_0", "00_1", "01_0", "01_1", "02_0", "02_1"]


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=4)
    | st.binary(max_size=4)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@example(values=[["", b"\x80"]])
@given(values=st.lists(ANY, min_size=1, max_size=5))
def test_nothing_can_break_it(values: list[Any]) -> None:
    """Any values give JSON and a ledger, with a line for each row."""
    rows = ledger(*({"x": value, "caption": value} for value in values))
    assert [row["key"] for row in rows] == [f"{number:02d}" for number in range(len(values))]
    for value in values:
        record({"x": value, "caption": value})
