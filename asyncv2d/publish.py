"""One shard being written, and the atomic step that makes it part of the dataset."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import asdict

from asyncv2d.job import Job
from asyncv2d.journal import Entry, Journal
from asyncv2d.ports import ShardWriter, WrittenFile
from asyncv2d.published import LEDGER, STATS
from asyncv2d.record import Lines, input_schema, ledger_lines, ledger_table, without_facts
from asyncv2d.report import Figures, ShardReport, row_figures
from asyncv2d.sites import Finished
from asyncv2d.store import Store, open_store
from asyncv2d.types import Ok, Outcome, Processed, Row, ShardSpec

_JOURNAL = "journal.jsonl"


class Site(Struct, frozen=True):
    """Where the shards of a job are made, and of what.

    ``schema`` has the input's columns. ``folder`` takes unfinished shards, on the file system of
    the dataset's ``store`` if that is on this machine; what is begun there of another ``identity``
    is dropped.
    """

    job: Job
    schema: pa.Schema
    folder: Path
    identity: str
    store: Store

    def open(self, spec: ShardSpec, rows: int | None) -> OpenShard:
        """A shard of so many rows (None: not known yet) that has not begun."""
        return OpenShard(self, spec, rows, started=time.time())


def open_site(job: Job, column_types: pa.Schema, folder: Path, identity: str) -> Site:
    """A place to make the shards of ``job``, whose reader says ``column_types``."""
    schema = input_schema(column_types, job.renamed_columns(column_types.names))
    if job.takes_all_columns:
        schema = without_facts(schema)
    return Site(job, schema, folder, identity, open_store(job.output_folder))


class OpenShard:
    """A shard whose rows are coming in, written aside until it is complete.

    What is written stays until the shard is published or given up, so that another process can go
    on with it. ``rows`` is None as long as it is not known how many there are.
    """

    def __init__(self, site: Site, spec: ShardSpec, rows: int | None, *, started: float) -> None:
        self.id = spec.id
        self.error: str | None = None
        self.place = str(site.folder)
        self._job = site.job
        self._name = site.job.built.storage.key_format.shard_name(spec.id)
        self._schema = site.schema
        self._store = site.store
        self._folder = site.folder / self._name
        self._head = {"shard": asdict(spec), "identity": site.identity}
        self._writer: ShardWriter | None = None
        self._journal: Journal | None = None
        self._rows = rows
        self._out = 0
        self._figures = Figures()
        self._lines: list[Lines] = []
        self._started = started

    @property
    def bytes_written(self) -> int:
        """Bytes in the samples so far."""
        return self._figures.bytes_written

    @property
    def complete(self) -> bool:
        """Whether every row has come out of the pipeline."""
        return self._out == self._rows

    def begin(self) -> None:
        """Make the shard's own folder, or go on with what is there of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal.open(self._folder / _JOURNAL, self._head)
        if not self._journal.entries:
            _empty(self._folder)
        if self._journal.files is None:
            position = self._journal.position
            self._writer = self._job.writer().open(self._folder, self._name, position)

    def is_done(self, index: int) -> bool:
        """Whether this row was finished before, by a process that was killed."""
        return self._journal is not None and index in self._journal.entries

    def restore(self, row: Row) -> None:
        """Take a row as it was finished before."""
        assert self._journal is not None
        entry = self._journal.entries[row.index]
        self._out += 1
        self._figures.add(entry.figures)
        self._lines.append(entry.lines(row))

    def add(self, finished: Sequence[Finished]) -> Sequence[Outcome[Processed]]:
        """Write the samples of rows, and note their lines for the ledger; gives the outcomes."""
        for outcome, seconds in finished:
            if self._writer is None or self._journal is None:  # given up
                break
            position = self._journal.position
            if isinstance(outcome, Ok):
                for sample in outcome.value.samples:
                    position = self._writer.write(sample)
            figures, lines = row_figures(outcome), ledger_lines(outcome, seconds)
            self._journal.add(Entry(outcome.row.index, position, lines.own, figures))
            self._figures.add(figures)
            self._lines.append(lines)
        return [outcome for outcome, _ in finished]

    def came_out(self, rows: int) -> None:
        """So many rows more have come out of the pipeline."""
        self._out += rows

    def ends_after(self, rows: int) -> None:
        """All rows were sent. Fewer than there should be: the input is not what it was."""
        if self._rows is not None and rows != self._rows and self.error is None:
            self.give_up(f"the input has changed: {rows} rows where {self._rows} were counted")
        self._rows = rows

    def publish(self) -> None:
        """Make the shard part of the dataset; its report, moved last, is the mark of that."""
        assert self._journal is not None
        figures = self._figures
        if not self._rows == figures.rows == figures.ok + figures.failed:
            raise OSError(
                f"of {self._rows} rows {figures.rows} came back:"
                f" {figures.ok} ok and {figures.failed} failed"
            )
        if self._journal.files is None:
            self._journal.closed(self._close())
        files = [WrittenFile(self._folder / name, name) for name in self._journal.files or ()]
        # What is not there was moved before a process was killed.
        self._store.publish([file for file in files if file.path.exists()])
        self._journal.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def give_up(self, error: str) -> None:
        """Say why this shard is not published, and remove what was written."""
        self.error = error
        self.abandon()
        if self._journal is not None:  # else it is another process that writes there
            shutil.rmtree(self._folder, ignore_errors=True)

    def abandon(self) -> None:
        """Let go of what was written; another process may go on with it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()
        if self._journal is not None:
            self._journal.close()

    def report(self) -> ShardReport:
        """The report as of now."""
        return ShardReport(self.id, self._figures, self._started, time.time(), self.error)

    def _close(self) -> Sequence[str]:
        """Finish all files; gives their names, the report's last."""
        assert self._writer is not None
        ledger = ledger_table(self._lines, self._schema)
        names = [file.name for file in self._writer.close(ledger)]
        path = self._folder / f"{self._name}{LEDGER}"
        if path.name not in names:
            pq.write_table(ledger, path)
            names.append(path.name)
        stats = self._folder / f"{self._name}{STATS}"
        stats.write_text(json.dumps(self.report().stats(), indent=4))
        return [*names, stats.name]


def _empty(folder: Path) -> None:
    """Remove what a process left behind that was killed before it finished a row."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _JOURNAL:
            path.unlink()
