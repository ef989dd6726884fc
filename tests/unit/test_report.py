"""What a run says of itself."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.report import Figures, ShardReport, Summary, row_figures
from asyncv2d.types import Blob, Cause, Failed, Ok, Outcome, Processed, Row, Sample

FACTS = {"bytes_downloaded": 10, "frames_decoded": 3, "http_status": 200}
ROW = Row(0, "0", "u")
OUTCOMES: list[Outcome[Processed]] = [
    Ok(ROW, Processed([Sample("0", {"mp4": Blob.of(b"ab")}, {})] * 2, FACTS)),
    Failed(ROW, "fetch", Cause.HTTP_404, "gone", facts={"http_status": 404}),
    Failed(ROW, "fetch", Cause.HTTP_404, "gone"),
    Failed(ROW, "subsample", Cause.NO_CLIPS, "short", facts=FACTS),
]


def report(outcomes: list[Outcome[Processed]], shard: int = 0, error: str | None = None) -> str:
    """The report of a shard of these outcomes, as it is sent."""
    figures = Figures()
    for outcome in outcomes:
        figures.add(row_figures(outcome))
    return json.dumps(ShardReport(shard, figures, 5.0, 8.0, error).to_json())


def test_stats() -> None:
    """The fields are video2dataset's, then ours."""
    assert json.loads(report(OUTCOMES))["stats"] == {
        "count": 4,
        "successes": 1,
        "failed_to_download": 2,
        "failed_to_subsample": 1,
        "duration": 3.0,
        "bytes_downloaded": 20,
        "start_time": 5.0,
        "end_time": 8.0,
        "status_dict": {"success": 1, "http_404": 2, "no_clips": 1},
        "samples": 2,
        "bytes_written": 4,
        "frames_decoded": 6,
    }


@given(st.lists(st.lists(st.sampled_from(OUTCOMES))))
def test_the_sum(shards: list[list[Outcome[Processed]]]) -> None:
    """The summary adds up: rows are ok or failed, and every failure has its cause."""
    summary = Summary()
    for number, outcomes in enumerate(shards):
        summary.add(json.loads(report(outcomes, number)))
    everything = [outcome for outcomes in shards for outcome in outcomes]
    assert summary.published == len(shards)
    assert summary.rows == len(everything) == summary.ok + summary.failed
    assert summary.causes.total() == summary.failed
    assert summary.samples == 2 * summary.ok
    assert summary.exit_code == 0
    assert len(summary.lines()) == 2 + len(summary.causes)


def test_a_shard_that_was_not_published() -> None:
    """Makes the exit code 1, unless a further try was better."""
    summary = Summary()
    summary.add(json.loads(report(OUTCOMES, 3, "disk full")))
    assert (summary.published, summary.rows, summary.exit_code) == (0, 0, 1)
    assert "shard 3 is not published: disk full" in summary.lines()
    summary.add(json.loads(report(OUTCOMES, 3)))
    assert (summary.published, summary.rows, summary.exit_code) == (1, 4, 0)


def test_interrupted() -> None:
    """Is exit code 130, and says how to go on."""
    summary = Summary(interrupted=True, unpublished={1: "x"})
    assert summary.exit_code == 130
    assert "run the same command again" in summary.lines()[-1]
