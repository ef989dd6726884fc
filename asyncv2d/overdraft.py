"""The right to take more of the disk than one's share, which one process of a run has at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


class Overdraft:
    """A lock on a file that all loops of a run know; a process that dies lets go of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: BinaryIO | None = None

    def take(self) -> bool:
        """Take it, unless another process has it now."""
        if self._lock is not None:
            return True
        lock = self._path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def give_back(self) -> None:
        """Leave it to others."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
