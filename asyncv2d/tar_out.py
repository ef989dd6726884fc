"""A stream of samples in place of an output folder, as for ``tar`` or a trainer behind a pipe.

There are no files of shards then, no ledger, and nothing to go on with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from asyncv2d.job import Job
from asyncv2d.ports import StreamShard
from asyncv2d.report import Figures, ShardReport, row_figures
from asyncv2d.sites import Finished
from asyncv2d.types import (
    Cause,
    Failed,
    Ok,
    Outcome,
    Processed,
    Row,
    RunError,
    ShardSpec,
)


class ReaderGoneError(RunError):
    """Whoever read the output went away; that is their right, and no mistake."""

    exit_code = 0


class StreamSite(Struct, frozen=True):
    """Where the samples of all shards go: into one writer."""

    job: Job
    writer: StreamShard

    def open(self, spec: ShardSpec, rows: int | None) -> StreamedShard:
        """A shard of so many rows, of which only the count is kept."""
        return StreamedShard(self.writer, spec, rows)


class StreamedShard:
    """A shard whose samples are handed on at once."""

    place = "stdout"

    def __init__(self, writer: StreamShard, spec: ShardSpec, rows: int | None) -> None:
        self.id = spec.id
        self.error: str | None = None
        self._writer = writer
        self._rows = rows
        self._out = 0
        self._figures = Figures()
        self._started = time.time()

    @property
    def complete(self) -> bool:
        """Whether every row has come out of the pipeline."""
        return self._out == self._rows

    @property
    def bytes_written(self) -> int:
        """Bytes in the samples so far."""
        return self._figures.bytes_written

    def begin(self) -> None:
        """Nothing to make."""

    def is_done(self, index: int) -> bool:
        """Nothing is known of an earlier run."""
        return False

    def restore(self, row: Row) -> None:
        """Never needed."""

    def add(self, finished: Sequence[Finished]) -> Sequence[Outcome[Processed]]:
        """Hand on the samples of rows; those whose files are gone fail.

        Raises ReaderGoneError where nobody takes them.
        """
        outcomes = [_as_it_is(outcome) for outcome, _ in finished]
        try:
            for outcome in outcomes:
                for sample in outcome.value.samples if isinstance(outcome, Ok) else ():
                    self._writer.write(sample)
                self._figures.add(row_figures(outcome))
            return outcomes
        except BrokenPipeError as error:
            raise ReaderGoneError("whoever read the output went away") from error
        except OSError as error:
            raise RunError(f"stdout: cannot write: {error.strerror}") from error

    def came_out(self, rows: int) -> None:
        """So many rows more have come out of the pipeline."""
        self._out += rows

    def ends_after(self, rows: int) -> None:
        """All rows were sent."""
        self._rows = rows

    def publish(self) -> None:
        """It is published already."""

    def give_up(self, error: str) -> None:
        """Say why its other rows are missing."""
        self.error = error

    def abandon(self) -> None:
        """Nothing is open."""

    def report(self) -> ShardReport:
        """The report as of now."""
        return ShardReport(self.id, self._figures, self._started, time.time(), self.error)


def _as_it_is(outcome: Outcome[Processed]) -> Outcome[Processed]:
    """A failure where a file of the user's went after it was looked at.

    What is in the tar already cannot be taken back, so this is found out before.
    """
    try:
        for sample in outcome.value.samples if isinstance(outcome, Ok) else ():
            for body in sample.parts.values():
                body.open().close()
    except OSError as error:
        detail = f"the file cannot be read: {error.strerror}"
        return Failed(outcome.row, "write", Cause.NOT_FOUND, detail)
    return outcome
