"""What a dataset says of itself, counted from ledgers and reports of known content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asyncv2d.histogram import Histogram
from asyncv2d.record import Lines, ledger_lines, ledger_table
from asyncv2d.report import Figures, ShardReport, row_figures
from asyncv2d.stats import FailedRow, dataset_stats, failed_rows, main
from asyncv2d.stats_table import duration
from asyncv2d.store import open_store
from asyncv2d.types import Blob, Cause, Failed, Ok, Processed, Row, RunError, Sample, UserError

COLUMNS = pa.schema([("url", pa.string()), ("status", pa.string()), ("duration", pa.string())])


def clip(key: str, length: float, frames: int = 10) -> Sample:
    """A sample with a receipt."""
    receipt = {"real": (0.0, length), "frames": frames, "duration": length}
    return Sample(key, {"mp4": Blob.of(b"12345")}, {"receipt": receipt})


def ok(
    key: str,
    samples: Sequence[Sample],
    attempts: int = 1,
    size: int = 100,
    retry_of: str | None = None,
) -> Ok[Processed]:
    """A row that is well."""
    facts = {"http_status": 200, "bytes_downloaded": size, "frames_decoded": 7}
    return Ok(
        Row(0, key, "u", {"url": "u"}, retry_of=retry_of), Processed(samples, facts, attempts)
    )


def failed(key: str, stage: str, cause: Cause, attempts: int = 1, **facts: Any) -> Failed:
    """A row that failed."""
    return Failed(Row(0, key, "u", {"url": "u"}), stage, cause, "why", attempts, facts)


FIRST: list[Ok[Processed] | Failed] = [
    ok("00000000", [clip(f"00000000_{number:05d}", 2.0 + number) for number in range(3)], 2),
    failed("00000001", "fetch", Cause.HTTP_404, http_status=404),
    failed("00000002", "fetch", Cause.HTTP_5XX, 3, http_status=503),
    # a clip with two images, and one with a single one
    ok(
        "00000003",
        [
            clip("00000003_00000", 8.0, 2),
            clip("00000003_00000_0000", 8.0, 2),
            clip("00000003_00000_0001", 8.0, 2),
            clip("00000003_00001", 9.0, 1),
        ],
    ),
]
SECOND: list[Ok[Processed] | Failed] = [
    failed("00001000", "process", Cause.NO_CLIPS, bytes_downloaded=50, http_status=200),
    failed("00001001", "fetch", Cause.HTTP_404, http_status=404),
    ok("00001002", [Sample("00001002", {"mp4": Blob.of(b"1")}, {})]),
]


def publish(
    folder: Path,
    name: str,
    outcomes: Sequence[Ok[Processed] | Failed],
    start: float,
    media: bytes | None = None,
) -> None:
    """Write ledger and report as the engine does."""
    figures, lines = Figures(), list[Lines]()
    for outcome in outcomes:
        figures.add(row_figures(outcome))
        lines.append(ledger_lines(outcome, 2.0))
    ledger = ledger_table(lines, COLUMNS)
    if media is not None:
        ledger = ledger.append_column("mp4", [pa.array([media] * len(ledger), pa.binary())])
    pq.write_table(ledger, folder / f"{name}.parquet")
    report = ShardReport(int(name), figures, start, start + 10.0)
    (folder / f"{name}_stats.json").write_text(json.dumps(report.stats()))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two shards, made at overlapping times, and what a killed run left of a third one."""
    publish(tmp_path, "00000", FIRST, 100.0)
    publish(tmp_path, "00001", SECOND, 105.0)
    pq.write_table(ledger_table([ledger_lines(FIRST[1])], COLUMNS), tmp_path / "00002.parquet")
    (tmp_path / "_made_of.json").write_text("{}")
    return tmp_path


EXPECTED = {
    "shards": 2,
    "rows": 7,
    "ok": 3,
    "failed": 4,
    "tried_again": 0,
    "samples": 8,
    "causes": {
        "http_404": {"rows": 2, "meaning": Cause.HTTP_404.meaning, "worth_retrying": False},
        "http_5xx": {"rows": 1, "meaning": Cause.HTTP_5XX.meaning, "worth_retrying": True},
        "no_clips": {"rows": 1, "meaning": Cause.NO_CLIPS.meaning, "worth_retrying": False},
    },
    "stages": {"fetch": 3, "process": 1},
    "attempts": {"1": 5, "2": 1, "3": 1},
    "http_statuses": {"200": 4, "404": 2, "503": 1},
    "bytes_downloaded": 350,
    "bytes_written": 7 * 5 + 1,
    "frames_decoded": 21,
    "clips": {
        "number": 5,
        "seconds": 26.0,
        "shortest": 2.0,
        "p5": pytest.approx(2.0, rel=0.01),
        "median": pytest.approx(4.0, rel=0.01),
        "p95": pytest.approx(9.0, rel=0.01),
        "longest": 9.0,
        "frames": 33,
    },
    "row_times": {
        "number": 7,
        "seconds": 14.0,
        **dict.fromkeys(("shortest", "p5", "median", "p95", "longest"), 2.0),
    },
    "time": {
        "first_start": 100.0,
        "last_end": 115.0,
        "running_seconds": 15.0,
        "shard_seconds": 20.0,
        "rows_per_second": pytest.approx(7 / 15),
        "bytes_per_second": pytest.approx(350 / 15),
    },
}


def test_all_counts(dataset: Path) -> None:
    """Rows are counted as rows, clips as clips; a shard that is not published does not count."""
    found = dataset_stats(open_store(str(dataset))).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found == {"dataset": str(dataset), **EXPECTED}


def test_of_a_remote_dataset(dataset: Path) -> None:
    """Are the same."""
    store = open_store(f"memory://{uuid4().hex}")
    for path in dataset.iterdir():
        store.write(path.name, path.read_bytes())
    assert dataset_stats(store).to_json() == {"dataset": store.url, **EXPECTED}


def test_media_in_the_ledger_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With output_format parquet the ledger holds the videos."""
    publish(tmp_path, "00000", FIRST, 1.0, media=b"\0" * 1_000_000)
    asked: list[Sequence[str]] = []
    read = pq.ParquetFile.iter_batches

    def spy(self: Any, size: int, *, columns: Sequence[str], **options: Any) -> Any:
        asked.append(columns)
        return read(self, size, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    assert dataset_stats(open_store(str(tmp_path))).rows == 4
    assert asked
    assert not any("mp4" in columns or "url" in columns for columns in asked)


def test_a_row_in_two_batches(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is one row, wherever a batch ends."""
    monkeypatch.setattr("asyncv2d.ledgers._BATCH_LINES", 1)
    found = dataset_stats(open_store(str(dataset))).to_json()
    assert found == {"dataset": str(dataset), **EXPECTED}


def test_rows_that_were_clips_before(tmp_path: Path) -> None:
    """A row's own key may look like that of a clip."""
    keys = [f"00000000_{number:05d}" for number in range(4)]
    publish(tmp_path, "00000", [ok(key, [clip(key, 1.0)], 2) for key in keys], 1.0)
    found = dataset_stats(open_store(str(tmp_path)))
    assert (found.rows, found.attempts, found.clip_seconds.number) == (4, {2: 4}, 4)


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"count": "many", "status_dict": {}}'])
def test_a_report_that_says_nothing(dataset: Path, report: str) -> None:
    """Leaves the ledger to count from."""
    (dataset / "00000_stats.json").write_text(report)
    found = dataset_stats(open_store(str(dataset))).to_json()
    for name in ("rows", "ok", "samples", "bytes_downloaded", "causes", "attempts"):
        assert found[name] == EXPECTED[name], name
    assert found["time"]["running_seconds"] == 10.0


def test_a_ledger_that_is_gone(dataset: Path) -> None:
    """Leaves the report to count from."""
    (dataset / "00000.parquet").unlink()
    found = dataset_stats(open_store(str(dataset))).to_json()
    for name in ("rows", "ok", "samples", "bytes_downloaded", "causes"):
        assert found[name] == EXPECTED[name], name


def test_a_ledger_of_video2dataset(tmp_path: Path) -> None:
    """Has no causes; its own columns may have the names of ours."""
    ledger = pa.table(
        {
            "key": ["0_00000", "0_00001", "1"],
            "status": ["success", "success", "failed_to_download"],
            "duration": ["long", "short", None],
        }
    )
    pq.write_table(ledger, tmp_path / "00000.parquet")
    stats = {"count": 2, "successes": 1, "start_time": 1.0, "end_time": 3.0}
    (tmp_path / "00000_stats.json").write_text(json.dumps(stats))
    found = dataset_stats(open_store(str(tmp_path)))
    assert (found.rows, found.ok, found.failed, found.samples) == (2, 1, 1, 2)
    assert found.causes == {"unknown": 1}
    assert found.to_json()["causes"]["unknown"]["worth_retrying"] is None
    assert found.lines()
    assert list(failed_rows(open_store(str(tmp_path)), list(Cause))) == []


def test_no_rows_at_all(tmp_path: Path) -> None:
    """Nothing is divided by nothing."""
    publish(tmp_path, "00000", [], 1.0)
    assert "rows          0: 0 ok (-), 0 failed" in main(str(tmp_path), as_json=False)


class TestMistakes:
    """One clear line each."""

    def test_no_dataset(self, tmp_path: Path) -> None:
        (tmp_path / "notes_stats.json").write_text("{}")
        for folder in (tmp_path, tmp_path / "gone"):
            with pytest.raises(UserError) as caught:
                main(str(folder), as_json=False)
            assert caught.value.problems == (
                f"{folder}: no dataset: there is no report of a shard (*_stats.json)",
            )

    @pytest.mark.parametrize(
        ("ledger", "says"),
        [(b"PAR1 no more", "cannot be read: "), (b"", "cannot be read: ")],
    )
    def test_a_broken_ledger(self, dataset: Path, ledger: bytes, says: str) -> None:
        (dataset / "00001.parquet").write_bytes(ledger)
        with pytest.raises(UserError, match=rf"^{dataset}: 00001.parquet {says}"):
            main(str(dataset), as_json=True)

    def test_another_table(self, dataset: Path) -> None:
        pq.write_table(pa.table({"key": ["a"]}), dataset / "00001.parquet")
        with pytest.raises(UserError, match=r"00001.parquet is no ledger: .* key and status$"):
            main(str(dataset), as_json=True)

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(RunError, match="cannot be read"):
            main(str(tmp_path / "file"), as_json=True)


def test_failed_rows(dataset: Path) -> None:
    """By cause, in order, of published shards only."""
    store = open_store(str(dataset))
    assert list(failed_rows(store, {Cause.HTTP_404, Cause.HTTP_5XX})) == [
        FailedRow(0, "00000001", Cause.HTTP_404),
        FailedRow(0, "00000002", Cause.HTTP_5XX),
        FailedRow(1, "00001001", Cause.HTTP_404),
    ]
    assert list(failed_rows(store, set())) == []


def test_rows_that_were_tried_again(dataset: Path) -> None:
    """Count by their last try; what the first one cost stays."""
    again: list[Ok[Processed] | Failed] = [
        ok(
            "00003000",
            [clip("00003000_00000", 1.0), clip("00003000_00001", 1.0)],
            2,
            100,
            "00000002",
        ),
        Failed(Row(0, "00003001", "u", retry_of="00001001"), "fetch", Cause.DNS, "why"),
    ]
    publish(dataset, "00003", again, 200.0)
    store = open_store(str(dataset))
    found = dataset_stats(store)
    assert (found.rows, found.ok, found.failed, len(found.tried_again)) == (7, 4, 3, 2)
    assert found.causes == {"http_404": 1, "no_clips": 1, "dns": 1}
    assert found.stages == {"fetch": 2, "process": 1}
    assert found.attempts == {1: 5, 2: 2}
    assert found.http_statuses == {200: 5, 404: 1}
    assert (found.samples, found.bytes_downloaded) == (10, 450)
    assert found.row_seconds.number == 9
    assert "2 rows that had failed" in main(str(dataset), as_json=False)
    assert list(failed_rows(store, list(Cause))) == [
        FailedRow(0, "00000001", Cause.HTTP_404),
        FailedRow(1, "00001000", Cause.NO_CLIPS),
        FailedRow(3, "00003001", Cause.DNS),
    ]


def test_printed(dataset: Path) -> None:
    """As JSON, and as a table that holds the same."""
    assert json.loads(main(str(dataset), as_json=True))["rows"] == 7
    assert main(str(dataset), as_json=False).splitlines() == [
        str(dataset),
        "  shards        2",
        "  rows          7: 3 ok (42.9%), 4 failed",
        "  samples       8",
        "  clips         5 of 26 s in total, 33 frames; each 2 to 9 s, median 4.04,"
        " 90 % from 2.02 to 8.92",
        "  downloaded    350 B",
        "  written       36 B",
        "  decoded       21 frames",
        "  time          15 s: 0.467 rows and 23.3 B a second",
        "  time of a row median 2 s, 95 % within 2 s",
        "  attempts      5 rows after 1, 1 rows after 2, 1 rows after 3",
        "  HTTP status   200: 4, 404: 2, 503: 1",
        "  failed in     fetch: 3, process: 1",
        "",
        "  failed by          rows   share  retry?  meaning",
        f"  http_404              2   28.6%  no      {Cause.HTTP_404.meaning}",
        f"  http_5xx              1   14.3%  yes     {Cause.HTTP_5XX.meaning}",
        f"  no_clips              1   14.3%  no      {Cause.NO_CLIPS.meaning}",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59.4, "59.4 s"),
        (60, "1 min 0 s"),
        (3600 * 25, "1 d 1 h"),
        (3661, "1 h 1 min"),
        (86400 * 400 + 59, "400 d 0 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Are told in their two largest units."""
    assert duration(seconds) == text


def test_percentiles() -> None:
    """Are true to one percent, also where parts are counted on their own."""
    lengths = np.random.default_rng(1).lognormal(2, 1, 10_000)
    whole, parts = Histogram(), Histogram()
    whole.count(lengths)
    for part in np.array_split(lengths, 7):
        one = Histogram()
        one.count(part)
        parts.add(one)
    assert whole.to_json() == pytest.approx(parts.to_json())
    for share in (0.05, 0.5, 0.95):
        assert whole.percentile(share) == pytest.approx(np.quantile(lengths, share), rel=0.012)
    assert whole.total == pytest.approx(lengths.sum())


def test_odd_lengths() -> None:
    """Lengths of nothing are counted; no lengths have no percentiles."""
    histogram = Histogram()
    none: Mapping[str, Any] = histogram.to_json()
    assert none["number"] == 0
    assert none["median"] is none["shortest"] is none["longest"] is None
    histogram.count(np.array([0.0]))
    assert histogram.percentile(0.5) == 0.0
