"""Shows a person how a run is getting on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from asyncv2d.progress import limiting_stage
from asyncv2d.report import Summary
from asyncv2d.run import PrintedOutcomes, print_line

if TYPE_CHECKING:
    from rich.progress import Progress

_PLAIN_EVERY_S = 10.0


class Display:
    """A watcher that prints lines, and on a terminal shows the state below them."""

    def __init__(self, say: Callable[[str], None], live: Progress | None, outcomes: TextIO) -> None:
        self._say = say
        self._outcomes = PrintedOutcomes(outcomes)
        self._live = live
        self._task = live.add_task("starting") if live else None
        self._last_plain = time.monotonic()
        self._state: Mapping[str, Any] = {"stages": []}
        self._summary = Summary()

    def progress(self, state: Mapping[str, Any]) -> None:
        """Show the engines' state."""
        self._state = state
        if self._live is not None and self._task is not None:
            self._live.update(self._task, description=self._line())
        elif time.monotonic() - self._last_plain >= _PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._say(self._line())

    def report(self, report: Mapping[str, Any], summary: Summary) -> None:
        """Say that a shard is done."""
        self._summary = summary
        if report["error"] is not None:
            self._say(f"shard {report['shard']}: not published: {report['error']}")
            return
        stats = report["stats"]
        failed = stats["count"] - stats["successes"]
        self._say(
            f"shard {report['shard']}: {stats['successes']} rows ok, {failed} failed,"
            f" {stats['samples']} samples, {stats['duration']:.1f} s"
        )

    def log(self, text: str) -> None:
        """Print a line."""
        self._say(text)

    def outcome(self, line: Mapping[str, Any]) -> None:
        """Print what became of a row."""
        self._outcomes.outcome(line)

    def _line(self) -> str:
        """About 75 characters, so that it fits a small terminal."""
        stages = self._state["stages"]
        rows = stages[-1]["done"] if stages else 0
        busy = " → ".join(f"{s['name']} {s['busy']}/{s['concurrency']}" for s in stages)
        limit = limiting_stage(self._state)
        parts = [
            f"{self._summary.published} shards, {rows} rows",
            busy,
            f"waits for {limit}" if limit else "",
            f"{self._state.get('bytes_in_flight', 0) >> 20} MiB",
        ]
        return " | ".join(filter(None, parts))


@contextmanager
def display(outcomes: TextIO) -> Iterator[Display]:
    """A display on stderr for the time of a run; ``outcomes`` takes those of rows, if asked for."""
    if not sys.stderr.isatty():
        yield Display(partial(print_line, file=sys.stderr), None, outcomes)
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as live:
        yield Display(console.print, live, outcomes)
