"""What a run says of itself: a report for each shard, and their sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from asyncv2d.types import Cause, Failed, Json, Ok, Processed, Sample, Status


class Figures(Struct):
    """Counts over rows: of one shard, or of a whole run."""

    rows: int = 0
    ok: int = 0
    failed_to_download: int = 0
    failed_to_subsample: int = 0
    samples: int = 0
    bytes_downloaded: int = 0
    bytes_written: int = 0
    frames_decoded: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Rows that failed, for whatever reason."""
        return self.failed_to_download + self.failed_to_subsample

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row, by the figures of ``row_figures``."""
        self.rows += 1
        self.bytes_downloaded += row["bytes_downloaded"]
        self.bytes_written += row["bytes_written"]
        self.frames_decoded += row["frames_decoded"]
        self.samples += row["samples"]
        if row["status"] == "success":
            self.ok += 1
            return
        self.causes[row["cause"]] += 1
        if row["status"] == "failed_to_download":
            self.failed_to_download += 1
        else:
            self.failed_to_subsample += 1


def row_figures(outcome: Ok[Processed] | Failed) -> dict[str, Any]:
    """What is counted of one row, as JSON."""
    if isinstance(outcome, Failed):
        return _figures(outcome.facts, outcome.status, outcome.cause.value, [])
    return _figures(outcome.value.facts, "success", None, outcome.value.samples)


def _figures(
    facts: Json, status: Status, cause: str | None, samples: Sequence[Sample]
) -> dict[str, Any]:
    return {
        "status": status,
        "cause": cause,
        "samples": len(samples),
        "bytes_downloaded": facts.get("bytes_downloaded") or 0,
        "frames_decoded": facts.get("frames_decoded") or 0,
        "bytes_written": sum(body.size for sample in samples for body in sample.parts.values()),
    }


class ShardReport(Struct, frozen=True):
    """The end of one shard: published, or not and why."""

    shard: int
    figures: Figures
    start_time: float
    end_time: float
    error: str | None = None

    def stats(self) -> dict[str, Any]:
        """The content of ``_stats.json``: video2dataset's fields, then ours."""
        figures = self.figures
        return {
            "count": figures.rows,
            "successes": figures.ok,
            "failed_to_download": figures.failed_to_download,
            "failed_to_subsample": figures.failed_to_subsample,
            "duration": self.end_time - self.start_time,
            "bytes_downloaded": figures.bytes_downloaded,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "status_dict": {"success": figures.ok, **dict(figures.causes.most_common())},
            "samples": figures.samples,
            "bytes_written": figures.bytes_written,
            "frames_decoded": figures.frames_decoded,
        }

    def to_json(self) -> dict[str, Any]:
        """The report as it is sent to the launcher."""
        return {"shard": self.shard, "error": self.error, "stats": self.stats()}


class Summary(Struct):
    """The sum over all shards of a run."""

    published: int = 0
    skipped: int = 0
    rows: int = 0
    ok: int = 0
    samples: int = 0
    bytes_downloaded: int = 0
    frames_decoded: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    unpublished: dict[int, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return self.rows - self.ok

    @property
    def exit_code(self) -> int:
        """0: every shard is published; 1: some could not be; 130: interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.unpublished else 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Add the report of one shard, as JSON."""
        if report["error"] is not None:
            self.unpublished[report["shard"]] = report["error"]
            return
        self.unpublished.pop(report["shard"], None)
        stats = report["stats"]
        self.published += 1
        self.rows += stats["count"]
        self.ok += stats["successes"]
        self.samples += stats["samples"]
        self.bytes_downloaded += stats["bytes_downloaded"]
        self.frames_decoded += stats["frames_decoded"]
        self.causes += Counter(
            {name: n for name, n in stats["status_dict"].items() if name != "success"}
        )

    def lines(self) -> list[str]:
        """The summary for people."""
        lines = [
            f"{self.published} shards published, {self.skipped} were there already",
            f"{self.rows} rows: {self.ok} ok ({self.samples} samples), {self.failed} failed",
        ]
        for name, count in self.causes.most_common():
            lines.append(f"  {count:>6}  {name}: {Cause[name.upper()].meaning}")
        for shard, error in sorted(self.unpublished.items()):
            lines.append(f"shard {shard} is not published: {error}")
        if self.interrupted:
            lines.append("interrupted; run the same command again to go on")
        return lines
