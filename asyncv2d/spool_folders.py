"""Where bodies lie between download and processing: folders that are gone when a run has ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from asyncv2d.types import UserError

_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "asyncv2d-spool-"
_LOCK = "lock"


class SpoolFolders(Struct, frozen=True):
    """Where bodies lie: ``fast`` is on tmpfs if that has room, ``large`` is in ``tmp_dir``.

    Both are absolute: other processes use them too. ``room`` is how many bytes all bodies of a run
    may take in ``large``: half of what was free when it began, for the dataset may have to grow on
    the same disk. ``shared`` is that of all loops of the run, if these are one loop's.
    """

    fast: Path
    large: Path
    room: int
    shared: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        paths = {"fast": str(self.fast), "large": str(self.large)}
        return {**paths, "room": self.room, "shared": self.shared and str(self.shared)}

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> SpoolFolders:
        """What another process said."""
        shared = said["shared"] and Path(said["shared"])
        return SpoolFolders(Path(said["fast"]), Path(said["large"]), said["room"], shared)

    def within(self, name: str) -> SpoolFolders:
        """Empty folders called ``name`` inside these."""
        inner = SpoolFolders(self.fast / name, self.large / name, self.room, self.large)
        inner.remove()
        for folder in (inner.fast, inner.large):
            folder.mkdir(exist_ok=True)
        return inner

    def remove(self) -> None:
        """Delete both with all they hold."""
        for folder in (self.fast, self.large):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spool_folders(tmp_dir: Path, room: int) -> Iterator[SpoolFolders]:
    """Folders for spool files that are gone afterwards.

    The fast one lies on tmpfs if that has twice ``room`` bytes free, else in ``tmp_dir`` like the
    other. What a killed run left behind in either place is removed. Raises UserError where
    ``tmp_dir`` is of no use.
    """
    for place in (_SHARED_MEMORY, tmp_dir):
        _remove_left_behind(place)
    with ExitStack() as stack:
        try:
            tmp_dir = tmp_dir.absolute()
            tmp_dir.mkdir(parents=True, exist_ok=True)
            large = stack.enter_context(_own_folder(tmp_dir))
            fast = stack.enter_context(_own_folder(_SHARED_MEMORY)) if _has_room(room) else large
        except OSError as error:
            raise UserError(f"{tmp_dir}: cannot be the tmp_dir: {error.strerror}") from None
        yield SpoolFolders(fast, large, shutil.disk_usage(large).free // 2)


@contextmanager
def _own_folder(place: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("locked", file=lock, flush=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _has_room(room: int) -> bool:
    """Whether tmpfs is there and has room."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return False
    return free >= 2 * room and os.access(_SHARED_MEMORY, os.W_OK)


def _remove_left_behind(place: Path) -> None:
    """Remove spool folders whose lock nobody holds: their run was killed."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock.read():  # else it is being made this very moment
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or of another user
