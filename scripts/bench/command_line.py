"""The command line, and the order in which everything is run."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scripts.bench.jobs import JOBS, Job
from scripts.bench.measure import measure
from scripts.bench.peer import make_peer
from scripts.bench.serve import serving
from scripts.bench.table import Run, report, write
from scripts.bench.tools import Asyncv2d, Ffmpeg, Task, Tool, Video2dataset
from scripts.bench.videos import Video, find_videos, look_at, make_videos, rows, write_table
from scripts.bench.written import count

_DESCRIPTION = """\
Measures asyncv2d beside ffmpeg and video2dataset on the same videos, in turn, in one run: seconds
of CPU time of all processes of each tool, time on the clock, memory, and what was written. The
videos are served from this machine. docs/benchmarks.md says what the jobs and the figures are."""


def main() -> None:
    """Make video2dataset's environment, or measure."""
    options = _options()
    if options.make_peer is not None:
        print(f"use: --peer {make_peer(options.make_peer)}")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        text = _measure(options, Path(name))
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python scripts/bench", description=_DESCRIPTION)
    add = parser.add_argument
    add("--videos", type=Path, help="folder of videos (default: made ones, of plain colours)")
    add("--copies", type=int, default=1, help="how often each video is in the table")
    add("--jobs", type=_jobs, default=list(JOBS.values()), help="such as J1,J3 (default: all)")
    add("--rounds", type=int, default=3, help="how often all is run (default: 3)")
    add("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    add("--peer", type=Path, help="Python of a virtual environment with video2dataset 1.3.0")
    add("--make-peer", type=Path, metavar="FOLDER", help="make that environment, and end")
    add("--no-ffmpeg", action="store_true", help="leave ffmpeg out")
    add(
        "--output",
        type=Path,
        help="file for the tables; if it has the marks of docs/benchmarks.md, between them",
    )
    return parser.parse_args()


def _jobs(text: str) -> list[Job]:
    names = text.upper().split(",")
    unknown = ", ".join(name for name in names if name not in JOBS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such job: {unknown}; there are {', '.join(JOBS)}")
    return [JOBS[name] for name in names]


def _measure(options: argparse.Namespace, folder: Path) -> str:
    tools = _tools(options)
    videos = _videos(find_videos(options.videos) if options.videos else make_videos(folder))
    if not videos:
        raise SystemExit(f"no videos in {options.videos}")
    facts = _facts(options, tools, videos)
    runs: dict[tuple[str, str], list[Run]] = {}
    with serving([video.path.resolve() for video in videos]) as address:
        lines = rows(videos, address, options.copies)
        table = folder / "videos.parquet"
        write_table(table, lines)
        for number in range(options.rounds):
            for job in options.jobs:
                for tool in tools:
                    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as fresh:
                        task = Task(job, lines, table, Path(fresh), options.processes)
                        run = _run(tool, task)
                    if run is not None:
                        runs.setdefault((job.name, tool.name), []).append(run)
            text = report(facts, runs, len(lines))
            print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr)
            if options.output is not None:  # after each round: a run takes long
                write(options.output, text)
    return text


def _videos(paths: Sequence[Path]) -> Sequence[Video]:
    videos = []
    for path in paths:
        video = look_at(path)
        if video is None:
            print(f"{path} is left out: no video whose length is known", file=sys.stderr)
        else:
            videos.append(video)
    return videos


def _tools(options: argparse.Namespace) -> Sequence[Tool]:
    tools: list[Tool] = [Asyncv2d()]
    if not options.no_ffmpeg:
        if shutil.which("ffmpeg") is None:
            raise SystemExit("there is no ffmpeg; install it, or leave it out with --no-ffmpeg")
        tools.append(Ffmpeg())
    if options.peer is not None:
        tools.append(Video2dataset(options.peer.absolute()))  # a link inside it must stay one
    return tools


def _run(tool: Tool, task: Task) -> Run | None:
    command = tool.command(task)
    if command is None:
        return None
    usage = measure(command, task.folder)
    run = Run(usage, count(task.output))
    print(
        f"{task.job.name} {tool.name:<14}{usage.cpu:8.2f} CPU-s{usage.wall:8.1f} s"
        f"{run.written.samples:6} samples",
        file=sys.stderr,
    )
    if usage.exit_code != 0:
        log = (task.folder / "log.txt").read_text(errors="replace")
        print(f"exit code {usage.exit_code}; its last words:\n{log[-2000:]}", file=sys.stderr)
    return run


def _facts(
    options: argparse.Namespace, tools: Sequence[Tool], videos: Sequence[Video]
) -> list[tuple[str, str]]:
    heights = sorted(video.height for video in videos)
    origin = "" if options.videos else "made "
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("machine", f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"),
        ("load average before", f"{os.getloadavg()[0]:.2f}"),
        *((tool.name, tool.version()) for tool in tools),
        (
            "videos",
            f"{len(videos)} {origin}files of {sum(video.seconds for video in videos):.0f} s in "
            f"all, {heights[0]} to {heights[-1]} pixels high; in the table {options.copies} × each",
        ),
        ("rounds", f"{options.rounds}, all tools in turn; the figures are medians"),
        ("processes", f"{options.processes}"),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if re.match(r"model name\s*:", line):
            return line.partition(":")[2].strip()
    return platform.machine()
