"""Folders in the spool for bodies that another process writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncv2d.budget import ByteBudget
from asyncv2d.spool import Spool
from asyncv2d.spool_file import spool_folder
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Cause, ItemError, RunError

pytestmark = pytest.mark.anyio


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with little room."""
    return Spool(SpoolFolders(tmp_path, tmp_path, 1 << 30), ByteBudget(100), ByteBudget(1000))


async def test_a_body(spool: Spool) -> None:
    """Takes the room that it fills, and gives folder and room back when it is closed."""
    async with spool_folder(spool) as folder:
        await folder.reserve(500)
        assert spool.disk.used == 500
        (folder.path / "other").write_bytes(b"x")
        file = folder.path / "body"
        file.write_bytes(b"b" * 300)
        body = await folder.finish(file)
    assert (body.size, body.read(), spool.disk.used) == (300, b"b" * 300, 300)
    body.close()
    body.close()
    assert spool.disk.used == 0
    assert not list(spool.folders.large.iterdir())


async def test_one_that_is_not_finished(spool: Spool) -> None:
    """Leaves nothing behind."""
    async with spool_folder(spool) as folder:
        (folder.path / "body").write_bytes(b"b")
        await folder.reserve(10)
        with pytest.raises(ItemError) as caught:
            await folder.reserve(1001)
    assert caught.value.cause is Cause.TOO_LARGE
    assert spool.disk.used == 0
    assert not list(spool.folders.large.iterdir())


async def test_no_place(spool: Spool) -> None:
    """Is the run's failure, not the row's."""
    spool.folders.large.rmdir()
    with pytest.raises(RunError, match="cannot keep downloads"):
        async with spool_folder(spool):
            pass
    assert spool.disk.used == 0
