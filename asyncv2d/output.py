"""The output folder of a run: nobody else writes to it, and it is of the same making."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from asyncv2d.fingerprint import differences, digest, made_of
from asyncv2d.job import Job
from asyncv2d.published import WORK_FOLDER, published, remove_dataset
from asyncv2d.types import UserError

_MADE_OF = "_made_of.json"
_MOST_SHOWN = 10


@contextmanager
def output_folder(job: Job) -> Iterator[tuple[Path, str]]:
    """Prepare the output folder: gives the folder for unfinished shards, and what they are made of.

    Shards that are not finished afterwards stay there for the next run. Raises UserError where the
    folder cannot be used, another run uses it, or its dataset was made of something else.
    """
    output = Path(job.output_folder)
    work = output / WORK_FOLDER
    try:
        lock = _locked(work)
    except BlockingIOError:
        raise UserError(f"{output}: another run is writing to this folder") from None
    except OSError as error:
        raise UserError(f"{output}: cannot be the output folder: {error.strerror}") from None
    unfinished = work / "shards"
    with lock:
        try:
            now = made_of(job)
            _check_same_making(job, output, now)
            if job.incremental_mode == "overwrite":
                remove_dataset(output)
                shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(exist_ok=True)
            _write_whole(output / _MADE_OF, json.dumps(now, indent=4))
            yield unfinished, digest(now)
        finally:
            with suppress(OSError):  # there are unfinished shards
                if unfinished.exists():
                    unfinished.rmdir()
                shutil.rmtree(work)


def _check_same_making(job: Job, output: Path, now: Mapping[str, Any]) -> None:
    """Refuse to add to a dataset what was made in another way."""
    if job.incremental_mode == "overwrite" or job.allow_changed:
        return
    before = _read(output / _MADE_OF)
    has_shards = published(output, job.built.storage.key_format)
    changes = list(differences(before, now)) if before and has_shards else []
    if changes:
        shown = [*changes[:_MOST_SHOWN], *(["…"] if len(changes) > _MOST_SHOWN else [])]
        raise UserError(
            f"{output}: holds a dataset that was made in another way; use another output_folder,"
            " --incremental_mode overwrite to begin anew, or --allow_changed to go on with it;"
            " what differs:",
            *(f"  {change}" for change in shown),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def _locked(work: Path) -> TextIO:
    """Make the folder ``work``, and lock a file in it; closing the file unlocks it."""
    path = work / "lock"
    while True:
        work.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()  # a run that just ended removed the folder in between
