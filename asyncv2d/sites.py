"""What a shard, and the place where shards are made, have to offer the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asyncv2d.job import Job
from asyncv2d.report import ShardReport
from asyncv2d.types import Outcome, Processed, Row, ShardSpec

Finished = tuple[Outcome[Processed], float]
"""What became of a row, and the seconds that took."""


class Shard(Protocol):
    """A shard whose rows are coming in; see ``publish.OpenShard``."""

    id: int
    error: str | None
    place: str

    @property
    def complete(self) -> bool:
        """Whether every row has come out of the pipeline."""

    @property
    def bytes_written(self) -> int:
        """Bytes in the samples so far."""

    def begin(self) -> None:
        """Make room for it, or go on with what is there."""

    def is_done(self, index: int) -> bool:
        """Whether this row was finished by an earlier process."""

    def restore(self, row: Row) -> None:
        """Take a row as it was finished before."""

    def add(self, finished: Sequence[Finished]) -> Sequence[Outcome[Processed]]:
        """Take outcomes of rows, each with the seconds it took; gives them as they ended."""

    def came_out(self, rows: int) -> None:
        """So many rows more have come out of the pipeline, and were taken or given up."""

    def ends_after(self, rows: int) -> None:
        """All rows were sent."""

    def publish(self) -> None:
        """Make the complete shard part of the dataset."""

    def give_up(self, error: str) -> None:
        """Say why it is not published, and forget what was written."""

    def abandon(self) -> None:
        """Let go of what was written; another process may go on with it."""

    def report(self) -> ShardReport:
        """The report as of now."""


class Site(Protocol):
    """Where shards are made."""

    @property
    def job(self) -> Job:
        """The job."""

    def open(self, spec: ShardSpec, rows: int | None) -> Shard:
        """A shard of so many rows (None: not known yet) that has not begun."""
