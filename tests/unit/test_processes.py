"""The launcher of loop processes, where one of them stands still."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread

from asyncv2d.job import Job, make_job
from asyncv2d.launch import processes
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
    monkeypatch.setattr(processes, "_LONGEST_SILENCE_S", 8.0)
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
