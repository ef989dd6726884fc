"""Parquet shards: one schema whatever is in them, and everything that the JSON has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asyncv2d.job import Job
from asyncv2d.record import complete, fact_schema, input_schema, ledger_lines, ledger_table
from asyncv2d.types import Blob, Cause, Failed, Fetched, Ok, Processed, Row, Sample
from asyncv2d_stages.write import parquet
from asyncv2d_stages.write.parquet import ParquetWriter

SPANS = pa.list_(pa.list_(pa.float64()))
COLUMNS = pa.schema(
    [
        ("score", pa.float32()),
        ("day", pa.date32()),
        ("tags", pa.list_(pa.string())),
        ("clips", SPANS),
        ("caption", pa.string()),
        ("url", pa.string()),
    ]
)
ROW = {
    "score": 0.5,
    "day": date(2024, 2, 29),
    "tags": ["a", "b"],
    "clips": [[1.0, 3.0], [5.0, 6.0]],
    "caption": "é",
    "url": "u",
}
RECEIPT = {
    "asked": [1.0, 3.0],
    "real": [1.0, 2.9],
    "frames": 10,
    "duration": 1.9,
    "precision": "exact",
    "audio": None,
}
FACTS = {
    "clips": [[1.0, 3.0]],
    "receipt": RECEIPT,
    "damage": "corrupt: \ud800",
    "cuts": {"original_fps": 25.0, "cuts_original_fps": [[0, 40]]},
    "cuts_seconds": [[0.0, 1.6]],
    "video_metadata": {"streams": [{"index": 0}]},
    "clip_subtitles": [{"start": "1", "end": "2", "lines": {"en": ["x"]}}],
    "frame_time": 1.5,
    "frame_subtitle": {"en": ["x"]},
}
JSON_TEXT = {"cuts", "video_metadata", "clip_subtitles", "frame_subtitle", "yt_meta_dict"}


def writer(**settings: Any) -> ParquetWriter:
    """A writer as the engine makes it for videos with captions."""
    known = {"extensions": ("mp4",), "captions": True, "facts": fact_schema()}
    return ParquetWriter.model_validate(known | settings)


def done(
    columns: Mapping[str, Any], *facts: Mapping[str, Any], key: str = "00", data: bytes = b"v"
) -> Ok[Processed]:
    """A row that became a sample for each of ``facts``."""
    row = Row(0, key, "u", columns)
    samples = [
        Sample(f"{key}_{number}", {"mp4": Blob.of(data)}, fact) for number, fact in enumerate(facts)
    ]
    return Ok(row, complete(Fetched(row, {}), Processed(samples), save_caption=True))


def failed(columns: Mapping[str, Any], key: str = "99") -> Failed:
    """A row that failed."""
    return Failed(Row(9, key, "u", columns), "fetch", Cause.DNS, "no such host")


def table(
    folder: Path,
    *outcomes: Ok[Processed] | Failed,
    columns: pa.Schema = COLUMNS,
    using: ParquetWriter | None = None,
) -> pa.Table:
    """The shard of these outcomes, read back."""
    return pq.read_table(shard(folder, *outcomes, columns=columns, using=using))


def shard(
    folder: Path,
    *outcomes: Ok[Processed] | Failed,
    columns: pa.Schema = COLUMNS,
    using: ParquetWriter | None = None,
) -> Path:
    """The file of a shard of these outcomes."""
    opened = (using or writer()).open(folder, "00007")
    for outcome in outcomes:
        if isinstance(outcome, Ok):
            for sample in outcome.value.samples:
                opened.write(sample)
    stored = input_schema(columns, {name: name for name in columns.names})
    (file,) = opened.close(ledger_table([ledger_lines(outcome) for outcome in outcomes], stored))
    assert file.name == "00007.parquet"
    return file.path


def lines(found: pa.Table) -> Sequence[dict[str, Any]]:
    """The lines, with JSON text as what it says."""
    rows: list[dict[str, Any]] = found.to_pylist()
    return [
        {k: json.loads(v) if k in JSON_TEXT and v is not None else v for k, v in row.items()}
        for row in rows
    ]


def test_the_record(tmp_path: Path) -> None:
    """Every field of the sample's JSON is a column of that name with that value."""
    outcome = done(ROW, FACTS, {})
    first, second = lines(table(tmp_path, outcome))
    for line, sample in zip((first, second), outcome.value.samples, strict=True):
        record = json.loads(sample.parts["json"].read()) | {"day": date(2024, 2, 29)}
        assert {name: line[name] for name in record} == record
        assert (line["mp4"], line["txt"]) == (b"v", "é")
    assert second["receipt"] is None
    assert second["other_facts"] is None


def test_failed_rows(tmp_path: Path) -> None:
    """Have a line without media, in order of key, with their own columns and cause."""
    found = lines(table(tmp_path, failed(ROW, "05"), done(ROW, FACTS, key="07"), failed({}, "01")))
    assert [line["key"] for line in found] == ["01", "05", "07_0"]
    line = found[1]
    assert (line["status"], line["cause"]) == ("failed_to_download", "dns")
    assert (line["mp4"], line["txt"], line["receipt"]) == (None, None, None)
    assert line["clips"] == ROW["clips"]
    assert line["tags"] == ["a", "b"]


@pytest.mark.parametrize("media", ["binary", "struct"])
def test_one_schema(tmp_path: Path, media: str) -> None:
    """All shards have the same columns, whatever is in them."""
    using = writer(parquet_media=media)
    found = [
        pq.read_schema(shard(tmp_path, *outcomes, using=using))
        for outcomes in ([done(ROW, FACTS)], [failed(ROW)], [done({}, {})], [])
    ]
    assert all(schema.equals(found[0], check_metadata=True) for schema in found)


def test_order_of_columns(tmp_path: Path) -> None:
    """The ledger's, then the facts, then the parts."""
    names = table(tmp_path, failed(ROW)).column_names
    assert names[: len(COLUMNS)] == COLUMNS.names
    assert names[-4:] == ["frame_subtitle", "other_facts", "txt", "mp4"]


def test_names_that_are_taken(tmp_path: Path) -> None:
    """A column of the table that is called like a fact or a part is kept beside it."""
    columns = pa.schema(
        [("mp4", pa.string()), ("input_mp4", pa.string()), ("receipt", pa.string())]
    )
    row = {"mp4": "a", "input_mp4": "b", "receipt": "c"}
    found = table(tmp_path, done(row, {"receipt": RECEIPT}, {}), columns=columns)
    first, second = lines(found)
    for line in (first, second):
        assert line["mp4"] == b"v"
        assert (line["input_input_mp4"], line["input_mp4"], line["input_receipt"]) == tuple("abc")
    assert first["receipt"] == RECEIPT
    assert second["receipt"] is None


def test_facts_that_nobody_foresaw(tmp_path: Path) -> None:
    """Those of a plug-in are not lost."""
    (line,) = lines(table(tmp_path, done(ROW, {"mood": ["calm"], "loud": 3})))
    assert json.loads(line["other_facts"]) == {"mood": ["calm"], "loud": 3}


def test_a_fact_that_does_not_fit(tmp_path: Path) -> None:
    """Is missing in its column, for its own sample only."""
    facts = {"cuts_seconds": [[0.0, 1.0]]}, {"cuts_seconds": "a"}
    found = table(tmp_path, done(ROW, *facts))
    assert found["cuts_seconds"].to_pylist() == [[[0.0, 1.0]], None]


@pytest.mark.parametrize(
    ("kind", "given", "own", "written"),
    [
        (pa.string(), "[[1, 3]]", [[1.0, 3.0]], "[[1.0, 3.0]]"),
        (pa.string(), "[['00:00:01', '3']]", [["00:00:01.000"]], '[["00:00:01.000"]]'),
        (pa.list_(pa.list_(pa.string())), [["1", "3"]], [["1", "3"]], '[["1", "3"]]'),
        (pa.list_(pa.list_(pa.int64(), 2)), [[1, 3]], [[1.0, 3.0]], [[1.0, 3.0]]),
    ],
)
def test_clips(tmp_path: Path, kind: pa.DataType, given: Any, own: Any, written: Any) -> None:
    """Are numbers where the table has numbers, else text."""
    columns, row = pa.schema([("clips", kind)]), {"clips": given}
    first, last = table(tmp_path, done(row, {"clips": own}), failed(row), columns=columns)[
        "clips"
    ].to_pylist()
    assert first == written
    assert last is not None
    assert isinstance(last, type(written))


def test_clips_that_the_table_does_not_have(tmp_path: Path) -> None:
    """Are numbers."""
    columns = pa.schema([("url", pa.string())])
    found = table(tmp_path, done({"url": "u"}, {"clips": [[1.0, 2.0]]}), columns=columns)
    assert found["clips"].to_pylist() == [[[1.0, 2.0]]]
    assert found.schema.field("clips").type == SPANS


def test_media_are_stored_as_they_are(tmp_path: Path) -> None:
    """They are compressed already; the rest is compressed."""
    path = shard(tmp_path, done(ROW, *[FACTS] * 50, data=b"v" * 1000))
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    media = [column for column in columns if column.path_in_schema == "mp4"]
    assert [column.compression for column in media] == ["UNCOMPRESSED"]
    assert not any("DICTIONARY" in encoding for encoding in media[0].encodings)
    assert media[0].statistics is None
    rest = {column.compression for column in columns if column not in media}
    assert rest == {"ZSTD"}


def test_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """End where they have their size; a sample that is larger has one of its own."""
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 40_000)
    outcomes = [
        done(ROW, {}, key=f"{number:02d}", data=bytes([number]) * size)
        for number, size in enumerate((10_000, 10_000, 90_000, 10_000))
    ]
    path = shard(tmp_path, *reversed(outcomes), failed(ROW))
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 1, 2]
    media = file.read(["mp4"])["mp4"].to_pylist()
    assert [data and (data[0], len(data)) for data in media] == [
        (0, 10_000),
        (1, 10_000),
        (2, 90_000),
        (3, 10_000),
        None,
    ]


def test_structs(tmp_path: Path) -> None:
    """Media can be stored so that ``datasets`` knows them."""
    found = table(tmp_path, done(ROW, FACTS), failed(ROW), using=writer(parquet_media="struct"))
    assert found["mp4"].to_pylist() == [{"bytes": b"v", "path": "00_0.mp4"}, None]
    assert json.loads(found.schema.metadata[b"huggingface"]) == {
        "info": {"features": {"mp4": {"_type": "Video"}}}
    }


@pytest.mark.parametrize("size", [(1 << 31) - 1, 3 << 30])
def test_a_part_that_is_too_large(tmp_path: Path, size: int) -> None:
    """Is refused in one clear line."""
    opened = writer().open(tmp_path, "00007")
    with pytest.raises(OSError, match=rf"^00\.mp4 has {size} bytes, and a Parquet value at most"):
        opened.write(Sample("00", {"mp4": Blob(size, pieces=[])}, {}))
    opened.abandon()


def test_a_part_without_a_column(tmp_path: Path) -> None:
    """Is not dropped in silence."""
    opened = writer().open(tmp_path, "00007")
    with pytest.raises(ValueError, match="no column: \\['jpg'\\]"):
        opened.write(Sample("00", {"jpg": Blob.of(b"")}, {}))
    opened.abandon()


def test_a_sample_without_a_line(tmp_path: Path) -> None:
    """Is not dropped in silence."""
    opened = writer().open(tmp_path, "00007")
    opened.write(Sample("00", {"mp4": Blob.of(b"v")}, {}))
    with pytest.raises(OSError, match="samples without a line in the ledger: \\['00'\\]"):
        opened.close(ledger_table([], COLUMNS))
    opened.abandon()


def test_two_samples_of_one_key(tmp_path: Path) -> None:
    """Keep their order, as in the ledger."""
    found = table(tmp_path, done(ROW, {}, data=b"1"), done(ROW, {}, data=b"2"))
    assert found["mp4"].to_pylist() == [b"1", b"2"]


@pytest.mark.parametrize(
    ("subsampling", "formats", "extensions"),
    [
        ({}, None, ("mp4",)),
        ({"AudioRateSubsampler": {"args": {"sample_rate": 16000}}}, None, ("mp4", "m4a")),
        ({}, {"audio": "mp3"}, ("mp3",)),
        ({}, {"video": "mp4", "audio": "flac"}, ("mp4", "flac")),
        ({"FrameSubsampler": {"args": {"downsample_method": "yt_subtitle"}}}, None, ("jpg",)),
    ],
)
def test_the_job_says_what_there_is(
    subsampling: Any, formats: Any, extensions: tuple[str, ...]
) -> None:
    """The columns follow from the job, not from what is in the first shard."""
    made = Job(
        url_list="a.csv",
        output_format="parquet",
        encode_formats=formats,
        caption_col="text",
        config={"subsampling": subsampling, "storage": {"parquet_media": "struct"}},
    ).writer()
    assert isinstance(made, ParquetWriter)
    assert made.extensions == extensions
    assert made.captions
    assert made.parquet_media == "struct"
    times = pa.string() if "FrameSubsampler" in subsampling else pa.float64()
    assert made.facts.field("frame_time").type == times
