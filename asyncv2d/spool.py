"""Keeps bodies between download and processing, within a byte budget.

A small body stays in memory, a large one becomes a file: on tmpfs where that has room (a worker
then reads it at memory speed), else in ``tmp_dir``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio import to_thread

from asyncv2d.types import Blob, RunError, UserError

INLINE_BYTES = 1 << 20
_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "asyncv2d-spool-"
_LOCK = "lock"


class ByteBudget:
    """Limits the bytes that all bodies in flight hold together.

    Requests are served in order. A body of unknown length grows as it arrives; the oldest body in
    flight may always grow, so bodies that wait for each other cannot come to a standstill, and the
    limit is exceeded by one body at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._leases: dict[Lease, None] = {}
        self._waiting: deque[tuple[Lease, int, anyio.Event]] = deque()

    async def lease(self, size: int) -> Lease:
        """Take ``size`` bytes out of the budget; waits until they are there."""
        lease = Lease(self)
        self._leases[lease] = None
        try:
            await lease.grow(size)
        except BaseException:
            lease.close()
            raise
        return lease

    async def _take(self, lease: Lease, size: int) -> None:
        if not self._waiting and self._may(lease, size):
            self._grant(lease, size)
            return
        request = (lease, size, anyio.Event())
        self._waiting.append(request)
        self._admit()
        try:
            await request[2].wait()
        finally:
            if request in self._waiting:
                self._waiting.remove(request)
                self._admit()

    def _may(self, lease: Lease, size: int) -> bool:
        return self.used + size <= self.limit or next(iter(self._leases)) is lease

    def _grant(self, lease: Lease, size: int) -> None:
        lease.size += size
        self.used += size

    def _admit(self) -> None:
        """Serve requests from the front while they fit, and the oldest lease's in any case."""
        while self._waiting and self._may(*self._waiting[0][:2]):
            self._serve(self._waiting[0])
        oldest = next(iter(self._leases), None)
        for request in list(self._waiting):
            if request[0] is oldest:
                self._serve(request)

    def _serve(self, request: tuple[Lease, int, anyio.Event]) -> None:
        self._waiting.remove(request)
        self._grant(request[0], request[1])
        request[2].set()

    def _give_back(self, lease: Lease) -> None:
        if lease in self._leases:
            del self._leases[lease]
            self.used -= lease.size
            self._admit()


@dataclass(eq=False, slots=True)
class Lease:
    """A share of the budget."""

    budget: ByteBudget
    size: int = 0

    async def grow(self, size: int) -> None:
        """Take ``size`` more bytes."""
        await self.budget._take(self, size)

    def close(self) -> None:
        """Give everything back; closing twice does nothing."""
        self.budget._give_back(self)


class Spool:
    """Makes Blobs out of bodies that arrive in chunks."""

    def __init__(self, folder: Path, budget: ByteBudget) -> None:
        self.folder = folder
        self.budget = budget

    @asynccontextmanager
    async def body(self, expected: int | None) -> AsyncIterator[SpooledBody]:
        """Open a body of ``expected`` bytes (None: unknown). Unless finished, it is dropped."""
        body = SpooledBody(self.folder, await self.budget.lease(expected or 0))
        try:
            yield body
        finally:
            body.drop_unless_finished()


@dataclass(slots=True)
class SpooledBody:
    """A body on its way in."""

    folder: Path
    lease: Lease
    size: int = 0
    _chunks: list[bytes] = field(default_factory=list)
    _buffered: int = 0
    _path: Path | None = None
    _file: BinaryIO | None = None
    _finished: bool = False

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``; waits while the byte budget is used up."""
        self.size += len(chunk)
        if self.size > self.lease.size:
            await self.lease.grow(max(len(chunk), min(self.size, INLINE_BYTES)))
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if self._buffered > INLINE_BYTES:
            await self._flush()

    async def finish(self) -> Blob:
        """The whole body, now owned by the caller."""
        if self._file is None:
            blob = Blob(self.size, data=b"".join(self._chunks), on_close=self.lease.close)
        else:
            await self._flush()
            self._file.close()
            blob = Blob(self.size, path=self._path, on_close=self._remove)
        self._chunks.clear()
        self._finished = True
        return blob

    def drop_unless_finished(self) -> None:
        """Give everything back if the body did not arrive whole."""
        if not self._finished:
            if self._file is not None:
                with suppress(OSError):  # what is buffered may not fit on a full disk
                    self._file.close()
            self._remove()

    async def _flush(self) -> None:
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        await to_thread.run_sync(self._write_out, chunks)

    def _write_out(self, chunks: list[bytes]) -> None:
        try:
            if self._file is None:
                handle, name = tempfile.mkstemp(dir=self.folder, prefix="body-")
                self._file, self._path = os.fdopen(handle, "wb"), Path(name)
            self._file.writelines(chunks)
            self._file.flush()
        except OSError as error:  # not the row's fault, and no row would fare better
            raise RunError(f"{self.folder}: cannot keep downloads: {error.strerror}") from error

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.lease.close()


@contextmanager
def spool_folder(tmp_dir: Path, room: int) -> Iterator[Path]:
    """A folder for spool files that is gone afterwards.

    It lies on tmpfs if that has twice ``room`` bytes free, else in ``tmp_dir``. What a killed run
    left behind in either place is removed. Raises UserError where ``tmp_dir`` is of no use.
    """
    for place in (_SHARED_MEMORY, tmp_dir):
        _remove_left_behind(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place(tmp_dir, room)))
    except OSError as error:
        raise UserError(f"{tmp_dir}: cannot be the tmp_dir: {error.strerror}") from None
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("locked", file=lock, flush=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _place(tmp_dir: Path, room: int) -> Path:
    try:
        has_room = shutil.disk_usage(_SHARED_MEMORY).free >= 2 * room
    except OSError:
        has_room = False
    if has_room and os.access(_SHARED_MEMORY, os.W_OK):
        return _SHARED_MEMORY
    tmp_dir.mkdir(parents=True, exist_ok=True)
    return tmp_dir


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
