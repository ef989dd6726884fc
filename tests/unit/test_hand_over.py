"""Bodies in memory that become files for a worker: what is left when that does not come about."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from asyncv2d import subsampling
from asyncv2d.config import build
from asyncv2d.engine import Engine, open_engine
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.task import write_part
from asyncv2d.types import INLINE_BYTES, Ok, Row, RunError

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
SIZE = 40 * INLINE_BYTES


@pytest.fixture
def folders(tmp_path: Path) -> SpoolFolders:
    """Where bodies lie."""
    folders = SpoolFolders(tmp_path / "fast", tmp_path / "large", 1 << 30)
    folders.fast.mkdir()
    folders.large.mkdir()
    return folders


@pytest.fixture
def url(server: Server) -> str:
    """A good video that only a worker can tell to be one, and that is too large for a pipe."""
    film = MadeVideo(scenes(0.4), container="matroska").data()
    filler = SIZE - len(film) - 10
    server.videos["large.mkv"] = film + b"\xec\x08" + filler.to_bytes(8, "big") + bytes(filler)
    return server.url("ok/large.mkv")


@asynccontextmanager
async def engine_that_gives_all_back(folders: SpoolFolders) -> AsyncIterator[Engine]:
    """An engine that stores videos as they came; all room is free afterwards, and no file left."""
    config = build({"distribution": {"workers": 1}})
    with anyio.fail_after(60):
        async with open_engine(config, config.plan(), folders, save_caption=False) as engine:
            yield engine
            assert engine.budget.used == 0
            assert files(folders) == []


def files(folders: SpoolFolders) -> list[Path]:
    """All that lies in the spool, folders of rows among it."""
    return [*folders.fast.rglob("*"), *folders.large.rglob("*")]


async def rows(*urls: str) -> AsyncIterator[Row]:
    """Rows with these URLs."""
    for index, url in enumerate(urls):
        yield Row(index, str(index), url)


async def until(condition: Callable[[], object]) -> None:
    """Let others work until that is so."""
    while not condition():
        await checkpoint()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file can grow beyond that size meanwhile, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_body_that_is_handed_over(folders: SpoolFolders, server: Server, url: str) -> None:
    """It is a file of the row's own, which counts until its sample is closed."""
    async with engine_that_gives_all_back(folders) as engine:
        async with engine.pipeline.run(rows(url)) as outcomes:
            (outcome,) = [outcome async for outcome in outcomes]
        assert isinstance(outcome, Ok)
        body = outcome.value.samples[0].parts["mp4"]
        assert body.path is not None
        assert folders.fast in body.path.parents
        assert body.read() == server.videos["large.mkv"]
        assert engine.budget.used == SIZE
        outcome.value.close()


@contextmanager
def no_folder(folders: SpoolFolders) -> Iterator[None]:
    """The spool is gone."""
    folders.fast.rmdir()
    yield


@contextmanager
def no_room(_: SpoolFolders) -> Iterator[None]:
    """There is room for half of the file."""
    with no_file_beyond(SIZE // 2):
        yield


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [(no_room, "File too large"), (no_folder, "No such file or directory")],
)
async def test_nowhere_to_put_the_file(
    folders: SpoolFolders,
    url: str,
    trouble: Callable[[SpoolFolders], AbstractContextManager[None]],
    reason: str,
) -> None:
    """It ends the run with the reason: no row would fare better."""
    async with engine_that_gives_all_back(folders) as engine:
        with pytest.raises(BaseExceptionGroup) as caught, trouble(folders):
            async with engine.pipeline.run(rows(url)) as outcomes:
                assert not [outcome async for outcome in outcomes]
        error = RunError.found_in(caught.value)
        assert error is not None
        assert str(error) == f"{folders.fast}: cannot keep files: {reason}"


async def test_cancelled_before_it_is_written(folders: SpoolFolders, url: str) -> None:
    """A row that waits for a thread to write its file gives its body back."""
    threads = to_thread.current_default_thread_limiter()
    async with engine_that_gives_all_back(folders) as engine:
        holders = [object() for _ in range(int(threads.total_tokens))]
        for holder in holders:
            threads.acquire_on_behalf_of_nowait(holder)
        try:
            async with engine.pipeline.run(rows(url)):
                await until(lambda: threads.statistics().tasks_waiting == 1)
                assert engine.budget.used == SIZE
        finally:
            for holder in holders:
                threads.release_on_behalf_of(holder)


async def test_cancelled_while_it_is_written(
    folders: SpoolFolders, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is waited for, since it would be made behind the back of a row that is gone."""
    begun, go_on, done = Event(), Event(), Event()

    def write(folder: Path, pieces: Iterable[bytes]) -> Path:
        begun.set()
        assert go_on.wait(60)
        try:
            return write_part(folder, pieces)
        finally:
            done.set()

    async def let_go_on() -> None:
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    monkeypatch.setattr(subsampling, "write_part", write)
    async with engine_that_gives_all_back(folders) as engine:
        async with anyio.create_task_group() as tasks, engine.pipeline.run(rows(url)):
            assert await to_thread.run_sync(begun.wait, 60)
            tasks.start_soon(let_go_on)
        assert await to_thread.run_sync(done.wait, 60)


async def test_cancelled_while_a_worker_has_it(folders: SpoolFolders, url: str) -> None:
    """The file goes with its row."""
    async with engine_that_gives_all_back(folders) as engine, engine.pipeline.run(rows(url)):
        await until(lambda: engine.pool.running)
        assert any(path.is_file() for path in files(folders))
        assert engine.budget.used == SIZE


async def test_no_more_copies_than_workers(
    folders: SpoolFolders, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that waits for a worker lies in one place; those before it may wait to be taken."""
    copies = []

    def write(folder: Path, pieces: Iterable[bytes]) -> Path:
        path = write_part(folder, pieces)
        copies.append(len([file for file in files(folders) if file.name.startswith("part-")]))
        return path

    monkeypatch.setattr(subsampling, "write_part", write)
    async with engine_that_gives_all_back(folders) as engine:
        wanted = rows(*(f"{url}?{number}" for number in range(6)))
        async with engine.pipeline.run(wanted) as outcomes:
            async for outcome in outcomes:
                assert isinstance(outcome, Ok)
                outcome.value.close()
    assert len(copies) == 6
    assert max(copies) <= 3
