"""Fetchers are opened when they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asyncv2d.budget import ByteBudget
from asyncv2d.on_demand import on_demand
from asyncv2d.ports import Fetch, FetchContext
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Fetched, Row, RunError, UserError

pytestmark = pytest.mark.anyio


class Noting:
    """A fetcher that brings nothing, and notes what becomes of it."""

    schemes = frozenset({"none"})

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.notes: list[str] = []

    @asynccontextmanager
    async def open(self, _: FetchContext) -> AsyncIterator[Fetch]:
        """Takes its time, in which other rows come."""
        self.notes.append("opening")
        await anyio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error

        async def fetch(row: Row) -> Fetched:
            self.notes.append(row.key)
            return Fetched(row, {})

        yield fetch
        await anyio.lowlevel.checkpoint()
        self.notes.append("closed")


@pytest.fixture
def context(tmp_path: Path) -> FetchContext:
    """What fetchers are lent."""
    folders = SpoolFolders(tmp_path, tmp_path, 1 << 20)
    return FetchContext(Spool(folders, ByteBudget(1 << 20), ByteBudget(1 << 20)), 1)


def row(key: str) -> Row:
    """A row that has to be fetched."""
    return Row(0, key, "none://")


async def test_as_many_as_are_needed(context: FetchContext) -> None:
    """One that is needed is opened once, for all rows, and closed; another one not at all."""
    needed, other = Noting(), Noting()
    async with on_demand({"needed": needed, "other": other}, context) as fetch:

        async def bring(key: str) -> None:
            await fetch["needed"](row(key))

        async with anyio.create_task_group() as tasks:
            for key in ("a", "b", "c"):
                tasks.start_soon(bring, key)
    assert needed.notes == ["opening", "a", "b", "c", "closed"]
    assert other.notes == []


async def test_one_that_cannot_be_opened(context: FetchContext) -> None:
    """Ends all, also the rows that wait for it."""
    broken, other = Noting(UserError("no such file")), Noting()

    async def run() -> None:
        async with on_demand({"broken": broken, "other": other}, context) as fetch:
            await fetch["other"](row("a"))
            await fetch["broken"](row("b"))

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    found = RunError.found_in(caught.value)
    assert found is not None
    assert found.problems == ("no such file",)
    assert broken.notes == ["opening"]
    assert other.notes == ["opening", "a"]
