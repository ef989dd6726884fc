"""Writes down what was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.bench.jobs import JOBS
from scripts.bench.measure import Usage
from scripts.bench.written import Written

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a tool on a job."""

    usage: Usage
    written: Written


Runs = Mapping[tuple[str, str], Sequence[Run]]
"""The runs of each job and tool, by their names; the first tool is what the others are compared to.
"""


def report(facts: Sequence[tuple[str, str]], runs: Runs, rows: int) -> str:
    """The whole report: how it was measured, what it cost, and what was written."""
    lines = [
        *(f"- {name}: {value}" for name, value in facts),
        "",
        *_table(_COST, _cost(runs, rows)),
        "",
        "What was written:",
        "",
        *_table(_OUTPUT, _output(runs, rows)),
    ]
    warnings = list(_warnings(runs))
    return "\n".join([*lines, *(["", *warnings] if warnings else [])])


def write(file: Path, text: str) -> None:
    """Put ``text`` between the marks in ``file``, or make it all of the file if there are none."""
    page = file.read_text() if file.exists() else ""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
    else:
        file.write_text(f"{text}\n")


_COST = (
    *("job", "tool", "CPU-s", "from – to", "CPU ÷ asyncv2d's", "CPU-s a video", "CPU-s a sample"),
    *("wall s", "wall ÷ asyncv2d's", "peak MB"),
)
_OUTPUT = (
    *("job", "tool", "videos with a result", "samples", "unreadable", "seconds", "frames"),
    *("seconds of sound", "MB", "size"),
)


def _cost(runs: Runs, rows: int) -> Iterable[Sequence[str]]:
    first = {job: _first_tool(runs, job) for job, _ in runs}
    for (job, tool), done in runs.items():
        base = runs[job, first[job]]
        cpu = _middle(done, lambda run: run.usage.cpu)
        wall = _middle(done, lambda run: run.usage.wall)
        samples = _middle(done, lambda run: run.written.samples)
        yield (
            *(f"{job} {JOBS[job].title}" if tool == first[job] else "", tool),
            f"{cpu:.2f}",
            f"{min(run.usage.cpu for run in done):.2f} – {max(run.usage.cpu for run in done):.2f}",
            f"{cpu / _middle(base, lambda run: run.usage.cpu):.2f}",
            f"{cpu / rows:.3f}",
            f"{cpu / samples:.3f}" if samples else "none",
            f"{wall:.1f}",
            f"{wall / _middle(base, lambda run: run.usage.wall):.2f}",
            f"{_middle(done, lambda run: run.usage.peak) / _MEGA:.0f}",
        )


def _output(runs: Runs, rows: int) -> Iterable[Sequence[str]]:
    for (job, tool), done in runs.items():
        written = done[-1].written
        shape = "×".join(map(str, *written.shapes)) if len(written.shapes) == 1 else "various"
        yield (
            *(job if tool == _first_tool(runs, job) else "", tool),
            f"{written.rows} of {rows}",
            *(f"{written.samples}", f"{written.unreadable}"),
            *(f"{written.seconds:.1f}", f"{written.frames}", f"{written.sound_seconds:.1f}"),
            f"{written.size / _MEGA:.2f}",
            shape if written.shapes else "",
        )


def _warnings(runs: Runs) -> Iterable[str]:
    for (job, tool), done in runs.items():
        counts = {(run.written.rows, run.written.samples, run.written.frames) for run in done}
        codes = {run.usage.exit_code for run in done}
        if len(counts) > 1:
            yield f"- {job}, {tool}: what was written differs from round to round."
        if codes != {0}:
            yield f"- {job}, {tool}: exit codes {sorted(codes)}."
        if any(run.usage.killed for run in done):
            yield f"- {job}, {tool}: processes were left behind, or ran too long, and were killed."


def _first_tool(runs: Runs, job: str) -> str:
    return next(tool for name, tool in runs if name == job)


def _middle(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return median(map(value, runs))


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterable[str]:
    yield _line(heads)
    yield _line(["---", "---", *["--:"] * (len(heads) - 2)])
    yield from map(_line, lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
