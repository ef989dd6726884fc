"""The launcher of loop processes, where one of them stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread

from asyncv2d.job import Job, make_job
from asyncv2d.launch import processes
from asyncv2d.nursery import Nursery
from asyncv2d.nursery_start import LOOP, begin
from asyncv2d.report import Summary
from asyncv2d.run import Silent, run_job_async

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
Until = Callable[..., None]


class Listener(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        """Keep the line."""
        self.lines.append(text)


@pytest.fixture
def job(tmp_path: Path, server: Server) -> Job:
    """A row whose server holds its answer back until it is released."""
    table = tmp_path / "urls.txt"
    table.write_text(server.url("hold/short.mp4"))
    arguments: Mapping[str, Any] = {
        "url_list": str(table),
        "output_folder": str(tmp_path / "dataset"),
        "tmp_dir": str(tmp_path / "tmp"),
    }
    return make_job(arguments, {"distribution": {"workers": 1, "loops": 1}})


async def test_a_loop_that_stands_still_is_replaced(
    job: Job, server: Server, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken for dead when it says nothing for long; its shard is done by another one."""
    monkeypatch.setattr(processes, "_LONGEST_SILENCE_S", 6.0)
    monkeypatch.setattr(processes, "_SECOND_THOUGHT_S", 2.0)
    monkeypatch.setattr(processes, "_LAST_GOODBYE_S", 1.0)
    listener = Listener()
    summaries: list[Summary] = []

    async def run() -> None:
        summaries.append(await run_job_async(job, listener))

    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await to_thread.run_sync(until, lambda: server.count("hold/short.mp4") == 1)
            (stopped,) = _loops()
            os.kill(stopped, signal.SIGSTOP)
            await to_thread.run_sync(until, lambda: server.count("hold/short.mp4") == 2)
            server.release("hold/short.mp4")
    assert summaries[0].unpublished == {}
    assert (summaries[0].published, summaries[0].ok) == (1, 1)
    assert any("another one takes its place" in line for line in listener.lines)
    assert _loops() == []


async def test_a_start_that_fails(job: Job, server: Server) -> None:
    """Is tried again: what loops are forked from may be killed before it is ready."""
    begun = begin(LOOP)
    begun.process.kill()
    server.release("hold/short.mp4")
    summary = await run_job_async(job, Listener(), Nursery(LOOP, begun=begun))
    assert (summary.published, summary.ok) == (1, 1)


LAUNCHER = """
import sys
import asyncv2d
from asyncv2d.launch import processes

processes._LONGEST_SILENCE_S = 3.0
table, output_folder, tmp_dir = sys.argv[1:]
config = {"distribution": {"workers": 1, "loops": 2}, "storage": {"number_sample_per_shard": 1}}
print(asyncv2d.download(table, output_folder, tmp_dir=tmp_dir, config=config))
"""


def test_a_launcher_that_stood_still(server: Server, until: Until, tmp_path: Path) -> None:
    """As after Ctrl-Z, takes no loop for dead that it could not hear, and loses nothing."""
    rows = [server.url(f"hold/short.mp4?{number}") for number in range(6)]
    (tmp_path / "urls.txt").write_text("\n".join(rows))
    paths = [str(tmp_path / name) for name in ("urls.txt", "dataset", "tmp")]
    command = [sys.executable, "-P", "-c", LAUNCHER, *paths]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        until(lambda: server.hits.total() >= 2)
        launcher.send_signal(signal.SIGSTOP)
        time.sleep(4)  # longer than a loop may say nothing
        launcher.send_signal(signal.SIGCONT)
        server.release("hold/short.mp4")
        said, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 0
    assert "published=6" in said
    assert len(list((tmp_path / "dataset").glob("*/*.mp4"))) == 6
    assert server.hits.total() == 6


def _loops() -> list[int]:
    """The loop processes that run for this one."""
    return [
        loop
        for nursery in _children(os.getpid())
        for loop in _children(nursery)
        if Path(f"/proc/{loop}/comm").read_text() == "asyncv2d loop\n"
    ]


def _children(pid: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
