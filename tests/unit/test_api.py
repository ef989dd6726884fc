"""The blocking call."""

from __future__ import annotations

import inspect
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asyncv2d
from asyncv2d.job import Job

if TYPE_CHECKING:
    from tests.conftest import Server

INLINE: dict[str, Any] = {"distribution": {"distributor": "inline", "workers": 1}}


def test_it_has_the_arguments_of_a_job() -> None:
    """The call, the job and so the command offer the same, with the same defaults."""
    parameters = inspect.signature(asyncv2d.download).parameters
    assert list(parameters) == list(Job.model_fields)
    for name, field in Job.model_fields.items():
        if not field.is_required() and name != "config":
            assert parameters[name].default == field.default


def test_a_run(server: Server, tmp_path: Path) -> None:
    """It returns a summary, inline or with processes."""
    table = tmp_path / "urls.txt"
    table.write_text(server.url("ok/short.mp4") + "\n" + server.url("html/a") + "\n")
    summary = asyncv2d.download(table, tmp_path / "out", config=INLINE, tmp_dir=tmp_path / "tmp")
    assert (summary.rows, summary.ok, summary.failed) == (2, 1, 1)
    assert (tmp_path / "out" / "00000" / "00000000.mp4").exists()
    again = asyncv2d.video2dataset(str(table), str(tmp_path / "out"), config=INLINE)
    assert (again.skipped, again.rows) == (1, 0)
    anew = asyncv2d.download(table, tmp_path / "out", config=INLINE, incremental_mode="overwrite")
    assert (anew.skipped, anew.rows) == (0, 2)


def test_not_in_the_main_thread(server: Server, tmp_path: Path) -> None:
    """Signals are left alone there, and it works."""
    (tmp_path / "urls.txt").write_text(server.url("html/a"))
    found = []
    thread = threading.Thread(
        target=lambda: found.append(
            asyncv2d.download(tmp_path / "urls.txt", tmp_path / "out", config=INLINE)
        )
    )
    thread.start()
    thread.join()
    assert found[0].failed == 1


def test_mistakes_are_exceptions(tmp_path: Path) -> None:
    """Bad arguments and bad input are UserErrors, and nothing is written."""
    with pytest.raises(asyncv2d.UserError, match="no such input file"):
        asyncv2d.download(tmp_path / "none.csv", tmp_path / "out")
    with pytest.raises(asyncv2d.UserError, match="--output_format"):
        asyncv2d.download(tmp_path / "none.csv", tmp_path / "out", "tfrecordd")
    assert not (tmp_path / "out").exists()


def _remove_while_running(
    server: Server, folder: Path, until: Callable[..., None]
) -> threading.Thread:
    """Remove ``folder`` while a run waits for ``hold/short.mp4``."""

    def interfere() -> None:
        until(lambda: server.count("hold/short.mp4"))
        shutil.rmtree(folder)
        server.release("hold/short.mp4")

    thread = threading.Thread(target=interfere)
    thread.start()
    return thread


def test_what_could_not_be_published(
    server: Server, tmp_path: Path, until: Callable[..., None]
) -> None:
    """Raises, with the summary that says why."""
    output, table = tmp_path / "out", tmp_path / "urls.txt"
    table.write_text(server.url("hold/short.mp4"))

    other = _remove_while_running(server, output, until)
    with pytest.raises(asyncv2d.UnpublishedError, match="shard 0 is not published") as caught:
        asyncv2d.download(table, output, config=INLINE, max_shard_retry=0)
    other.join()
    assert caught.value.summary.exit_code == 1


def test_a_shard_is_tried_again(server: Server, tmp_path: Path, until: Callable[..., None]) -> None:
    """Where it may help: here the folder that was removed is made anew."""
    output, table = tmp_path / "out", tmp_path / "urls.txt"
    table.write_text(server.url("hold/short.mp4"))

    other = _remove_while_running(server, output, until)
    summary = asyncv2d.download(table, output, config=INLINE, max_shard_retry=1)
    other.join()
    assert (summary.ok, summary.exit_code) == (1, 0)
    assert server.count("hold/short.mp4") == 2


def test_public_names() -> None:
    """Every public name is there, sorted, and nothing else is."""
    assert asyncv2d.__all__ == sorted(asyncv2d.__all__)
    assert all(getattr(asyncv2d, name) is not None for name in asyncv2d.__all__)
    assert dir(asyncv2d) == asyncv2d.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = asyncv2d.nonsense
