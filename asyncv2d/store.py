"""The output folder of a dataset, wherever it lies; and one that lies on this machine.

All methods block; they are called from worker threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from asyncv2d.ports import WrittenFile
from asyncv2d.remote_store import RemoteStore
from asyncv2d.types import RunError, UserError

_SYNCS = 16  # at a time: file systems write down together what is asked for together
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REVOKED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Store(Protocol):
    """The folder of one dataset.

    Raises OSError for what may be well at the next try, and RunError with one clear line where the
    store is full or does not let us in.
    """

    @property
    def url(self) -> str:
        """How the folder is called in messages; without secrets."""

    @property
    def local_folder(self) -> Path | None:
        """The folder, if it is on this machine."""

    def prepare(self) -> None:
        """Make the folder and see that it can be written; UserError where it cannot."""

    def names(self) -> list[str]:
        """The names of the files and folders directly inside; none where there is no folder."""

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""

    def open(self, name: str) -> BinaryIO:
        """A file to read parts of; FileNotFoundError where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file: readers see what was there before, or all of ``data``."""

    def publish(self, files: Sequence[WrittenFile]) -> None:
        """Make files and folders part of the dataset, in this order, instead of what was there.

        Each file appears whole, and the last one not before all others are safe: it may be the
        mark of their presence. Where the files come from, they may stay or be gone.
        """

    def remove(self, names: Iterable[str]) -> None:
        """Delete files and folders; those that are not there do not matter."""


def open_store(url: str) -> Store:
    """The folder at ``url``: a path of this machine, or any URL that fsspec knows."""
    scheme, is_url, path = url.partition("://")
    if not is_url:
        return LocalStore(Path(url))
    if scheme in ("file", "local"):
        return LocalStore(Path(path))
    return RemoteStore(url)


class LocalStore:
    """A folder of this machine's file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        """The path."""
        return str(self._folder)

    @property
    def local_folder(self) -> Path | None:
        """The folder itself."""
        return self._folder

    def prepare(self) -> None:
        """Make the folder and see that it can be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise UserError(f"{self.url}: cannot be the output folder: {error.strerror}") from error

    def names(self) -> list[str]:
        """What lies in the folder."""
        with self._in_clear_words():
            try:
                return sorted(path.name for path in self._folder.iterdir())
            except FileNotFoundError:
                return []

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        with self._in_clear_words():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        """A file to read parts of."""
        with self._in_clear_words():
            return (self._folder / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write aside, then rename; both have reached the disk when this returns."""
        target = self._folder / name
        aside = self._folder / f".{name}.{uuid4().hex}"
        with self._in_clear_words():
            try:
                aside.write_bytes(data)
                _sync(aside)
                aside.rename(target)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
            _sync(self._folder)

    def publish(self, files: Sequence[WrittenFile]) -> None:
        """Move files and folders here; their content reaches the disk before their names do."""
        with self._in_clear_words():
            for file in files[:-1]:
                self._move(file)
            _sync(self._folder)
            for file in files[-1:]:
                self._move(file)
            _sync(self._folder)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files and folders."""
        with self._in_clear_words():
            for name in names:
                _delete(self._folder / name)

    def _move(self, file: WrittenFile) -> None:
        if file.path.is_dir():
            with ThreadPoolExecutor(_SYNCS) as pool:
                list(pool.map(_sync, file.path.rglob("*")))
        _sync(file.path)
        target = self._folder / file.name
        if target.is_dir() or file.path.is_dir():
            _delete(target)
        file.path.rename(target)

    @contextmanager
    def _in_clear_words(self) -> Iterator[None]:
        """Errors that no retry mends end the run."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise RunError(f"{self.url}: the disk is full: {error.strerror}") from error
            if error.errno in _REVOKED:
                raise RunError(f"{self.url}: access denied: {error.strerror}") from error
            raise


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Whoever else removes the same folder does what is wanted.
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
