"""One shard being written, and the atomic step that makes it part of the dataset."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asyncv2d.job import Job
from asyncv2d.ports import ShardWriter, WrittenFile
from asyncv2d.published import LEDGER, STATS
from asyncv2d.record import Lines, ledger_lines, ledger_table
from asyncv2d.report import Figures, ShardReport
from asyncv2d.types import Failed, Ok, Processed, ShardSpec


class OpenShard:
    """A shard whose rows are coming in, written aside until it is complete."""

    def __init__(
        self, job: Job, spec: ShardSpec, schema: pa.Schema, folder: Path, *, started: float
    ) -> None:
        self.id = spec.id
        self.error: str | None = None
        self._job = job
        self._name = job.built.storage.key_format.shard_name(spec.id)
        self._schema = schema
        self._output = Path(job.output_folder)
        self._folder = folder / self._name
        self._writer: ShardWriter | None = None
        self._rows = spec.stop - spec.start
        self._out = 0
        self._figures = Figures()
        self._lines: list[Lines] = []
        self._started = started

    @property
    def complete(self) -> bool:
        """Whether every row has come out of the pipeline."""
        return self._out == self._rows

    def begin(self) -> None:
        """Make the shard's own folder and open its writer."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._writer = self._job.writer().open(self._folder, self._name)

    def add(self, outcome: Ok[Processed] | Failed) -> None:
        """Write the samples of one row, and note its lines for the ledger."""
        self._out += 1
        if self._writer is None:  # given up
            return
        if isinstance(outcome, Ok):
            for sample in outcome.value.samples:
                self._writer.write(sample)
        self._figures.count(outcome)
        self._lines.append(ledger_lines(outcome))

    def ends_after(self, rows: int) -> None:
        """All rows were sent. Fewer than there should be: the input is not what it was."""
        if rows != self._rows and self.error is None:
            self.give_up(f"the input has changed: {rows} rows where {self._rows} were counted")
        self._rows = rows

    def publish(self) -> None:
        """Make the shard part of the dataset; its report, written last, is the mark of that."""
        assert self._writer is not None
        figures = self._figures
        if not self._rows == figures.rows == figures.ok + figures.failed:
            raise OSError(
                f"of {self._rows} rows {figures.rows} came back:"
                f" {figures.ok} ok and {figures.failed} failed"
            )
        ledger = ledger_table(self._lines, self._schema)
        files = list(self._writer.close(ledger))
        path = self._folder / f"{self._name}{LEDGER}"
        if path.name not in [file.name for file in files]:
            pq.write_table(ledger, path)
            files.append(WrittenFile(path, path.name))
        stats = self._folder / f"{self._name}{STATS}"
        stats.write_text(json.dumps(self.report().stats(), indent=4))
        for file in [*files, WrittenFile(stats, stats.name)]:
            _move(file, self._output)
        _sync(self._output)
        shutil.rmtree(self._folder, ignore_errors=True)

    def give_up(self, error: str) -> None:
        """Say why this shard is not published, and remove what was written."""
        self.error = error
        self.abandon()

    def abandon(self) -> None:
        """Remove what was written."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)

    def report(self) -> ShardReport:
        """The report as of now."""
        return ShardReport(self.id, self._figures, self._started, time.time(), self.error)


def _move(file: WrittenFile, output: Path) -> None:
    """Move a file or folder into ``output``; its content reaches the disk before its name does."""
    for path in file.path.rglob("*") if file.path.is_dir() else (file.path,):
        _sync(path)
    target = output / file.name
    if target.is_dir():
        shutil.rmtree(target)
    file.path.rename(target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
