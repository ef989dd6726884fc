"""A folder in the spool for bodies that a worker process writes as files by itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import to_thread
from msgspec import Struct

from asyncv2d.budget import Lease
from asyncv2d.spool import Spool
from asyncv2d.types import Blob, Cause, ItemError, RunError


class SpoolFolder(Struct):
    """A folder on the disk that takes its room out of the disk's budget.

    ``most`` is what a body in it may have, and ``share`` what is fair to begin with where that is
    not known (bytes).
    """

    path: Path
    most: int
    share: int
    _lease: Lease
    _finished: bool = False

    async def reserve(self, size: int) -> None:
        """Wait for room for ``size`` bytes. Raises ItemError (too_large) if there never will be."""
        if size > self.most:
            detail = f"{size} bytes are more than tmp_dir has room for ({self.most})"
            raise ItemError(Cause.TOO_LARGE, detail)
        if size > self._lease.size:
            await self._lease.grow(size - self._lease.size)

    async def finish(self, file: Path) -> Blob:
        """``file`` in this folder as a body that is now owned by the caller, and the folder too."""
        size = (await to_thread.run_sync(file.stat)).st_size
        await self.reserve(size)
        self._lease.shrink(self._lease.size - size)
        self._finished = True
        return Blob(size, path=file, on_close=self.remove)

    def drop_unless_finished(self) -> None:
        """Delete everything if nothing was made of it."""
        if not self._finished:
            self.remove()

    def remove(self) -> None:
        """Delete the folder and give its room back."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lease.close()


@asynccontextmanager
async def spool_folder(spool: Spool) -> AsyncIterator[SpoolFolder]:
    """An empty folder; unless a body in it is finished, it is deleted."""
    lease = await spool.disk.lease(0)
    make = partial(tempfile.mkdtemp, prefix="body-", dir=spool.folders.large)
    try:
        path = Path(await to_thread.run_sync(make))
        folder = SpoolFolder(path, spool.largest, min(spool.disk_share, spool.largest), lease)
    except OSError as error:
        lease.close()
        place, reason = spool.folders.large.parent, error.strerror or error
        raise RunError(f"{place}: cannot keep downloads: {reason}") from error
    try:
        yield folder
    finally:
        folder.drop_unless_finished()
