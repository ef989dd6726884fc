"""Keeps bodies between download and processing, within a byte budget.

A body that is small for what is to be done with it stays in memory, a large one becomes a file: on
tmpfs where that has room (a worker then reads it at memory speed), else in ``tmp_dir``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from msgspec import Struct, field

from asyncv2d.budget import ByteBudget, Lease
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import INLINE_BYTES, Blob, Cause, ItemError, RunError

_FLUSH_BYTES = 1 << 20
_LEAST_PIECE = 16 << 10  # bytes: smaller ones are joined, for each costs some memory beside
_MOST_SMALL = 64  # at the end of what came
_SHARES = 8  # a body may take this part of the budget, an eighth
_REMEMBERED = 8  # bodies that count for what size is usual, roughly


class Spool:
    """Makes Blobs out of bodies that arrive in chunks.

    A body lies in memory or on tmpfs, within ``budget``. One that is larger than its share of that,
    or finds no room there while it arrives, lies in ``tmp_dir``, within ``disk``. Those of up to
    ``inline_bytes`` lie in memory, and none is larger than ``largest``; by default, than ``disk``.
    """

    def __init__(
        self,
        folders: SpoolFolders,
        budget: ByteBudget,
        disk: ByteBudget,
        inline_bytes: int = INLINE_BYTES,
        largest: int | None = None,
    ) -> None:
        self.folders = folders
        self.budget = budget
        self.disk = disk
        self.largest = disk.limit if largest is None else largest
        self.share = max(1, budget.limit // _SHARES)
        self.disk_share = max(1, disk.limit // _SHARES)
        self.inline_bytes = min(inline_bytes, self.share)
        self._usual_size = min(INLINE_BYTES, self.share)

    @asynccontextmanager
    async def body(self) -> AsyncIterator[SpooledBody]:
        """Open a body; waits for room for one of usual size. Unless finished, it is dropped."""
        with self._opened(await self.budget.lease(self._usual_size)) as body:
            yield body

    async def has_room(self, size: int | None, *, more_to_come: bool = False) -> None:
        """Wait until there is room for a body of ``size`` bytes (None: of usual size)."""
        size = self._expected(size)
        budget = self.budget_for(size)
        await budget.has_room(size, _leave(budget, more_to_come))

    def body_if_room(
        self, size: int | None, *, more_to_come: bool = False
    ) -> AbstractContextManager[SpooledBody] | None:
        """Open a body of such a size, if there is room for it. Unless finished, it is dropped."""
        size = self._expected(size)
        budget = self.budget_for(size)
        lease = budget.lease_if_room(size, _leave(budget, more_to_come))
        return None if lease is None else self._opened(lease, more_to_come)

    def _expected(self, size: int | None) -> int:
        return self._usual_size if size is None else min(size, max(self.largest, self.share))

    @contextmanager
    def _opened(self, lease: Lease, more_to_come: bool = False) -> Iterator[SpooledBody]:
        body = SpooledBody(self, lease, more_to_come)
        try:
            yield body
        finally:
            body.drop_unless_finished()

    def budget_for(self, size: int) -> ByteBudget:
        """Where a body of so many bytes takes its room: on the disk if that is beyond its share."""
        return self.disk if size > self.share else self.budget

    def learn(self, size: int) -> None:
        """Take the size of one more body into account for what is usual."""
        step = (min(size, self.share) - self._usual_size) / _REMEMBERED
        self._usual_size = max(1, round(self._usual_size + step))


class SpooledBody(Struct):
    """A body on its way in."""

    spool: Spool
    lease: Lease
    more_to_come: bool = False
    size: int = 0
    _chunks: list[bytes] = field(default_factory=list)
    _small: int = 0
    _buffered: int = 0
    _path: Path | None = None
    _file: BinaryIO | None = None
    _finished: bool = False

    def fits(self, size: int) -> bool:
        """Take room for ``size`` bytes if there is some now.

        If not, hang up rather than keep a server waiting, ``reserve``, and ask again. Raises
        ItemError (too_large) if there will never be room.
        """
        self._check(size)
        budget = self.spool.budget_for(size)
        leave = _leave(budget, self.more_to_come)
        if self.lease.budget is not budget:
            return self._move_lease(budget.lease_now(size, leave))
        missing = size - self.lease.size
        if missing <= 0:
            self.lease.shrink(-missing)
        return missing <= 0 or self.lease.grow_now(missing, leave)

    def _check(self, size: int) -> None:
        if size > max(self.spool.largest, self.spool.share):
            detail = f"{size} bytes are more than tmp_dir has room for ({self.spool.largest})"
            raise ItemError(Cause.TOO_LARGE, detail)

    def _move_lease(self, lease: Lease | None) -> bool:
        if lease is None:
            return False
        self.lease.close()
        self.lease = lease
        return True

    async def reserve(self, size: int) -> None:
        """Wait for room for ``size`` bytes."""
        # Given back first: a body that holds some and waits for more would be in the others' way.
        self.lease.close()
        self.lease = await self.spool.budget_for(size).lease(size)

    def grows_to(self, size: int) -> bool:
        """Take room for ``size`` bytes, more than was expected, if there is some now.

        For those who must not wait here, because others wait for them: they hang up if there is
        none, drop what came, and wait for room for twice as much. Raises ItemError (too_large) if
        there will never be room.
        """
        self._check(size)
        if size <= self.lease.size:
            return True
        wanted = self._more_than(size)
        leave = _leave(self.spool.disk, self.more_to_come)
        if self._is_on_disk:
            return self.lease.grow_if_room(wanted - self.lease.size, leave)
        if size <= self.spool.share and self._grow_in_place(wanted):
            return True
        return self._move_lease(self.spool.disk.lease_if_room(wanted, leave))

    def _more_than(self, size: int) -> int:
        """Double what was expected, so that it is rarely done."""
        return max(size, min(2 * self.lease.size, self.spool.largest))

    def _append(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._small = self._small + 1 if len(chunk) < _LEAST_PIECE else 0
        if self._small == _MOST_SMALL:
            self._chunks[-_MOST_SMALL:] = [b"".join(self._chunks[-_MOST_SMALL:])]
            self._small = 0

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``. Goes to the disk where it finds no room in the byte budget.

        Raises ItemError (too_large) where it would fill the disk.
        """
        self.size += len(chunk)
        self._append(chunk)
        self._buffered += len(chunk)
        if self.size > self.lease.size:
            await self._grow()
        is_to_be_file = self._is_on_disk or self.size > self.spool.inline_bytes
        if self._buffered > _FLUSH_BYTES and (self._file or is_to_be_file):
            await self._flush()

    async def restart(self) -> None:
        """Forget what was written; its room stays taken."""
        self._chunks.clear()
        self.size = self._buffered = self._small = 0
        if self._file is not None:
            await to_thread.run_sync(self._file.truncate, 0)
            self._file.seek(0)

    @property
    def _is_on_disk(self) -> bool:
        return self.lease.budget is self.spool.disk

    async def _grow(self) -> None:
        """Make room for what came beyond what was expected.

        Raises ItemError (too_large) if there will never be room.
        """
        self._check(self.size)
        wanted = self._more_than(self.size)
        if self._is_on_disk:
            await self.lease.grow(wanted - self.lease.size)
        elif self.size > self.spool.share or not self._grow_in_place(wanted):
            await self._move_to_disk(wanted)

    def _grow_in_place(self, wanted: int) -> bool:
        return self.lease.grow_now(min(wanted, self.spool.share) - self.lease.size)

    async def _move_to_disk(self, wanted: int) -> None:
        left, self.lease = self.lease, await self.spool.disk.lease(wanted)
        try:
            await self._flush()
        finally:
            left.close()

    async def finish(self) -> Blob:
        """The whole body, now owned by the caller."""
        if self._file is None and self.size <= self.spool.inline_bytes and not self._is_on_disk:
            blob = Blob(self.size, pieces=self._pieces(), on_close=self.lease.close)
        else:
            await self._flush()
            assert self._file is not None
            self._file.close()
            blob = Blob(self.size, path=self._path, on_close=self._remove)
        self._chunks.clear()
        self.lease.shrink(self.lease.size - self.size)
        self._finished = True
        self.spool.learn(self.size)
        return blob

    def _pieces(self) -> Sequence[bytes]:
        if self.size < _LEAST_PIECE * len(self._chunks):
            return (b"".join(self._chunks),)
        return tuple(self._chunks)

    def drop_unless_finished(self) -> None:
        """Give everything back if the body did not arrive whole."""
        if not self._finished:
            self._chunks.clear()
            if self._file is not None:
                with suppress(OSError):  # what is buffered may not fit on a full disk
                    self._file.close()
            self._remove()

    async def _flush(self) -> None:
        chunks, self._chunks = self._chunks, []
        self._buffered = self._small = 0
        await to_thread.run_sync(self._write_out, chunks)

    def _write_out(self, chunks: list[bytes]) -> None:
        folder = self.spool.folders.large if self._is_on_disk else self.spool.folders.fast
        try:
            if self._path is not None and self._path.parent != folder:
                self._move(self._path, folder)
            if self._file is None:
                handle, name = tempfile.mkstemp(dir=folder, prefix="body-")
                self._file, self._path = os.fdopen(handle, "wb"), Path(name)
            self._file.writelines(chunks)
            self._file.flush()
        except OSError as error:  # not the row's fault, and no row would fare better
            reason = error.strerror or error
            raise RunError(f"{folder.parent}: cannot keep downloads: {reason}") from error

    def _move(self, path: Path, folder: Path) -> None:
        assert self._file is not None
        self._file.close()
        self._path = Path(shutil.move(path, folder))
        self._file = self._path.open("ab")

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.lease.close()


def _leave(budget: ByteBudget, more_to_come: bool) -> int:
    """What a body has to leave to others: the first ones of rows must not take all there is.

    Else all of them would wait for the rest, and one row after the other would get it.
    """
    return budget.limit // 2 if more_to_come else 0
