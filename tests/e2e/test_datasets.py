"""Real readers open what the real command wrote, in every output format."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from asyncv2d.made_media import MadeVideo, scenes

CONFIG = {
    "subsampling": {
        "ResolutionSubsampler": {"args": {"video_size": 64, "resize_mode": "scale"}},
        "ClippingSubsampler": {"args": {"precision": "exact"}},
        "CutDetectionSubsampler": {"args": {"cut_detection_mode": "all", "min_scene_len": 5}},
        "FFProbeSubsampler": {"args": {"extract_keyframes": True}},
    },
    "storage": {"number_sample_per_shard": 2},
    "distribution": {"downloads": 4, "distributor": "inline"},
}
OPTIONS = {
    "caption_col": "text",
    "clip_col": "clips",
    "encode_formats": {"video": "mp4", "audio": "m4a"},
    "save_additional_columns": [
        "score",
        "day",
        "tags",
        "levels",
        "origin",
        "duration",
        "video_metadata",
    ],
}
# What is text in a column and more than text in the JSON.
JSON_TEXT = ("cuts", "video_metadata")
# The ledger's own column of that name comes before the table's.
COLUMN_OF = {"duration": "input_duration"}
TABLE = pa.schema(
    [
        ("url", pa.string()),
        ("text", pa.string()),
        ("clips", pa.list_(pa.list_(pa.float64()))),
        ("score", pa.float32()),
        ("day", pa.date32()),
        ("tags", pa.list_(pa.string())),
        ("levels", pa.list_(pa.float32())),
        ("origin", pa.struct([("site", pa.string()), ("ids", pa.list_(pa.int64()))])),
        ("duration", pa.int16()),
        ("video_metadata", pa.string()),
    ]
)


@dataclass(frozen=True)
class Made:
    """A dataset that the command made."""

    folder: Path

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """The parts in the folders of the shards, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*/*"))}

    @property
    def keys(self) -> list[str]:
        """The keys of the samples."""
        return [name.removesuffix(".json") for name in self.files if name.endswith(".json")]

    def record(self, key: str) -> dict[str, Any]:
        """The JSON of a sample."""
        record: dict[str, Any] = json.loads(self.files[f"{key}.json"])
        return record

    def paths(self, suffix: str) -> list[str]:
        """The files that end so, in order."""
        return [str(path) for path in sorted(self.folder.glob(f"*{suffix}"))]


@dataclass(frozen=True)
class Maker:
    """Runs one job in several output formats, each once."""

    folder: Path

    def make(self, output_format: str, media: str = "binary") -> Made:
        """The dataset in that format."""
        output = self.folder / f"{output_format}-{media}"
        if not output.exists():
            options = OPTIONS | {"output_folder": output, "output_format": output_format}
            arguments = [part for name, value in options.items() for part in _argument(name, value)]
            program = Path(sys.executable).with_name("asyncv2d")
            config = ["--config", "cfg.yaml", "--set", f"storage.parquet_media={media}"]
            done = subprocess.run(
                [program, "download", "urls.parquet", *config, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        return Made(output)


def _argument(name: str, value: Any) -> tuple[str, str]:
    return f"--{name}", str(value) if isinstance(value, str | Path) else json.dumps(value)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """A table of two videos, one of them twice, and of rows that fail, the second shard's both."""
    folder = tmp_path_factory.mktemp("datasets")
    for name, lengths in {"two.mp4": (1.0, 1.2), "one.mp4": (1.0,)}.items():
        MadeVideo(scenes(*lengths), rate=Fraction(10)).write(folder / name)
    names = ["two.mp4", "gone.mp4", "gone.mp4", "gone.mp4", "one.mp4", "two.mp4"]
    rows: list[dict[str, Any]] = [
        {"url": str(folder / name), "text": f"é {number}"} for number, name in enumerate(names)
    ]
    rows[0] |= {
        "clips": [[0.0, 1.0], [1.0, 2.0]],
        "score": 0.5,
        "day": date(2024, 2, 29),
        "tags": ["a", "b"],
        "levels": [0.5, -1.0],
        "origin": {"site": "s", "ids": [1, 2]},
        "duration": 60,
        "video_metadata": "of the site",
    }
    rows[1] |= {"clips": [[3.0, 4.0]], "tags": []}
    rows[5] |= {"clips": [[0.5, 1.5]], "origin": {"site": None, "ids": [3]}}
    pq.write_table(pa.Table.from_pylist(rows, TABLE), folder / "urls.parquet")
    (folder / "cfg.yaml").write_text(json.dumps(CONFIG))
    return Maker(folder)


@pytest.fixture(scope="module")
def plain(maker: Maker) -> Made:
    """The plain files, which everything else is compared with."""
    made = maker.make("files")
    assert made.keys == ["000000_00000", "000000_00001", "000020", "000021_00000"]
    return made


def assert_lines(lines: Sequence[Mapping[str, Any]], plain: Made, media: str = "binary") -> None:
    """Lines of Parquet hold what the plain files hold, and a line for each failed row."""
    by_key = {line["key"]: line for line in sorted(lines, key=lambda line: str(line["key"]))}
    assert len(by_key) == len(lines)
    assert {key for key, line in by_key.items() if line["status"] == "success"} == {*plain.keys}
    for key in plain.keys:
        line = by_key.pop(key)
        for name, value in plain.record(key).items():
            assert _as_json(name, line[COLUMN_OF.get(name, name)]) == value, name
        for extension in ("mp4", "m4a"):
            data = plain.files[f"{key}.{extension}"]
            wanted = data if media == "binary" else {"bytes": data, "path": f"{key}.{extension}"}
            assert line[extension] == wanted
        assert line["txt"].encode() == plain.files[f"{key}.txt"]
    assert_failed([*by_key.values()])


def assert_failed(lines: Sequence[Mapping[str, Any]]) -> None:
    """The rows without a file, three of them, are told of with all their columns."""
    assert [line["cause"] for line in lines] == ["not_found"] * 3
    for line in lines:
        assert line.get("mp4") is None
        assert line.get("receipt") is None
    assert [line["clips"] for line in lines] == [[[3.0, 4.0]], None, None]
    assert lines[0]["tags"] == []


def _as_json(name: str, value: Any) -> Any:
    """A value of a column as the JSON has it."""
    if name in JSON_TEXT and value is not None:
        return json.loads(value)
    return str(value) if isinstance(value, date) else value


def assert_parts(found: Mapping[str, Mapping[str, Any]], plain: Made) -> None:
    """Samples by key, each with its parts by extension, are the plain files."""
    parts = {
        f"{key}.{name}": data
        for key, sample in found.items()
        for name, data in sample.items()
        if not name.startswith("__")
    }
    assert parts == plain.files


# webdataset leaves its files to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset(maker: Maker, plain: Made) -> None:
    """The library whose format it is."""
    import webdataset as wds

    made = maker.make("webdataset")
    found = wds.WebDataset(made.paths(".tar"), shardshuffle=False, empty_check=False)
    assert_parts({sample["__key__"]: sample for sample in found}, plain)


# its workers are forked
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_torch(maker: Maker, plain: Made) -> None:
    """PyTorch's DataLoader, with worker processes and batches."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    made = maker.make("webdataset")
    samples = wds.WebDataset(made.paths(".tar"), shardshuffle=False, empty_check=False)
    loader = DataLoader(
        samples.to_tuple("__key__", "mp4", "json"), batch_size=2, num_workers=2, collate_fn=list
    )
    found = {key: (data, json.loads(text)) for batch in loader for key, data, text in batch}
    assert found == {key: (plain.files[f"{key}.mp4"], plain.record(key)) for key in plain.keys}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hugging Face's ``datasets``, off the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    datasets.disable_progress_bars()
    return datasets


def test_datasets_on_webdataset(maker: Maker, plain: Made, hub: Any, tmp_path: Path) -> None:
    """``load_dataset("webdataset")`` knows the videos, and reads the JSON."""
    made = maker.make("webdataset")
    loaded = hub.load_dataset(
        "webdataset", data_files=made.paths(".tar"), split="train", cache_dir=str(tmp_path)
    )
    assert isinstance(loaded.features["mp4"], hub.Video)
    lines = list(loaded.cast_column("mp4", hub.Video(decode=False)))
    for line in lines:
        key = line["__key__"]
        assert line["mp4"]["bytes"] == plain.files[f"{key}.mp4"]
        assert line["txt"].encode() == plain.files[f"{key}.txt"]
        record = plain.record(key)
        for name in ("clips", "cuts_seconds", "day", "key", "origin", "receipt", "tags", "url"):
            assert line["json"][name] == record[name]
    assert sorted(line["__key__"] for line in lines) == plain.keys


def test_datasets_on_parquet(maker: Maker, plain: Made, hub: Any, tmp_path: Path) -> None:
    """With ``parquet_media: struct`` the columns are Video and Audio, and hold the same bytes."""
    made = maker.make("parquet", "struct")
    loaded = hub.load_dataset(
        "parquet", data_files=made.paths(".parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert isinstance(loaded.features["mp4"], hub.Video)
    assert isinstance(loaded.features["m4a"], hub.Audio)
    loaded = loaded.cast_column("mp4", hub.Video(decode=False))
    loaded = loaded.cast_column("m4a", hub.Audio(decode=False))
    assert_lines(list(loaded), plain, "struct")


def test_spark(maker: Maker, plain: Made) -> None:
    """Spark reads the folder as one table."""
    from pyspark.sql import SparkSession

    if shutil.which("java") is None:
        pytest.fail("Spark needs Java: apt-get install openjdk-17-jre-headless")
    made = maker.make("parquet")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    session = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        table = session.read.parquet(str(made.folder), pathGlobFilter="*.parquet")
        rows = [row.asDict(recursive=True) for row in table.collect()]
    finally:
        session.stop()
    assert_lines([{name: _as_bytes(value) for name, value in row.items()} for row in rows], plain)


def _as_bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray) else value


def test_duckdb(maker: Maker, plain: Made) -> None:
    """DuckDB reads all shards as one table."""
    import duckdb

    made = maker.make("parquet")
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        found = database.execute(f"SELECT * FROM '{made.folder}/*.parquet'")
        names = [column[0] for column in found.description]
        lines = [dict(zip(names, line, strict=True)) for line in found.fetchall()]
    assert_lines(lines, plain)


def test_pyarrow(maker: Maker, plain: Made) -> None:
    """Arrow's own reader opens all shards as one table, of one schema."""
    table = ds.dataset(maker.make("parquet").paths(".parquet")).to_table()
    assert_lines(table.to_pylist(), plain)


@pytest.mark.parametrize("output_format", ["files", "webdataset", "tfrecord"])
def test_ledgers(maker: Maker, plain: Made, output_format: str) -> None:
    """Whatever the format is, all ledgers open as one table that knows every row."""
    lines = ds.dataset(maker.make(output_format).paths(".parquet")).to_table().to_pylist()
    good = [line for line in lines if line["status"] == "success"]
    assert [line["key"] for line in good] == plain.keys
    for line in good:
        record = plain.record(line["key"])
        assert line["end"] == (record["receipt"]["real"][1])
        assert (line["tags"], line["origin"]) == (record["tags"], record["origin"])
    assert_failed([line for line in lines if line["status"] != "success"])


def test_tfrecord(maker: Maker, plain: Made) -> None:
    """The package ``tfrecord``, which reads what TensorFlow does."""
    from tfrecord import tfrecord_loader

    paths = maker.make("tfrecord").paths(".tfrecord")
    found = [dict(example) for path in paths for example in tfrecord_loader(path, None)]
    assert sorted(example["key"].decode() for example in found) == plain.keys
    for example in found:
        key = example.pop("key").decode()
        record = plain.record(key)
        for extension in ("mp4", "m4a", "txt"):
            assert example.pop(extension) == plain.files[f"{key}.{extension}"]
        said = {name for name, value in record.items() if value not in (None, [])} - {"key"}
        assert example.keys() == said
        for name in {"clips", "cuts", "origin", "receipt", "tags", "video_metadata"} & said:
            assert json.loads(example[name]) == record[name]
        numbers = {"score", "duration", "levels"} & said
        assert {name: [*example[name]] for name in numbers} == {
            name: value if isinstance(value := record[name], list) else [value] for name in numbers
        }
