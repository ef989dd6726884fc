"""The output folder of a run: nobody else writes to it, and it is of the same making."""

from __future__ import annotations

import fcntl
import hashlib
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
from asyncv2d.store import Store, open_store
from asyncv2d.types import UserError

_MADE_OF = "_made_of.json"
_MOST_SHOWN = 10


@contextmanager
def output_folder(job: Job) -> Iterator[tuple[Path, str]]:
    """Prepare the output folder: gives the folder for unfinished shards, and what they are made of.

    Shards that are not finished afterwards stay there for the next run. Raises UserError where the
    output folder cannot be used, another run uses it, or its dataset was made of something else.
    """
    store = open_store(job.output_folder)
    work = _work_folder(job, store)
    try:
        lock = _locked(work)
    except BlockingIOError:
        raise UserError(f"{store.url}: another run is writing to this folder") from None
    except OSError as error:
        raise UserError(f"{store.url}: cannot be the output folder: {error.strerror}") from None
    unfinished = work / "shards"
    with lock:
        try:
            store.prepare()
            now = made_of(job)
            _check_same_making(job, store, now)
            if job.incremental_mode == "overwrite":
                remove_dataset(store)
                shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(exist_ok=True)
            store.write(_MADE_OF, json.dumps(now, indent=4).encode())
            yield unfinished, digest(now)
        finally:
            with suppress(OSError):  # there are unfinished shards
                if unfinished.exists():
                    unfinished.rmdir()
                shutil.rmtree(work)


def _work_folder(job: Job, store: Store) -> Path:
    """Where unfinished shards lie: beside the finished ones if those are on this machine."""
    if store.local_folder is not None:
        return store.local_folder / WORK_FOLDER
    name = hashlib.sha256(job.output_folder.encode()).hexdigest()[:16]
    return Path(job.tmp_dir) / f"asyncv2d-unfinished-{name}"


def _check_same_making(job: Job, store: Store, now: Mapping[str, Any]) -> None:
    """Refuse to add to a dataset what was made in another way."""
    if job.incremental_mode == "overwrite" or job.allow_changed:
        return
    before = _known(store.read(_MADE_OF))
    has_shards = before and published(store, job.built.storage.key_format)
    changes = list(differences(before, now)) if has_shards else []
    if changes:
        shown = [*changes[:_MOST_SHOWN], *(["…"] if len(changes) > _MOST_SHOWN else [])]
        raise UserError(
            f"{store.url}: holds a dataset that was made in another way; use another output_folder,"
            " --incremental_mode overwrite to begin anew, or --allow_changed to go on with it;"
            " what differs:",
            *(f"  {change}" for change in shown),
        )


def _known(data: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(data or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
