"""The library face: inside somebody's event loop, and leaving nothing behind in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncv2d
from asyncv2d import spool_folders
from asyncv2d.types import Cause, Failed, Ok, Outcome, Processed, Row, UserError

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
CONFIG: dict[str, Any] = {"distribution": {"workers": 1, "byte_budget": 1 << 20}}


@pytest.fixture(autouse=True)
def shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /dev/shm, to see what is left in it."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(spool_folders, "_SHARED_MEMORY", folder)
    return folder


@pytest.fixture(autouse=True)
async def nothing_left(shared_memory: Path) -> AsyncIterator[None]:
    """After each test: no process, no task, no file that was not there before."""
    before = children()
    yield
    assert children() <= before
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)] == []
    assert [path async for path in anyio.Path(shared_memory).iterdir()] == []


def children() -> set[int]:
    """Processes that this one started and that still are there, zombies too."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that ended meanwhile
            found |= set(map(int, (task / "children").read_text().split()))
    return found


async def collect(rows: Any, config: Any = None) -> list[Outcome[Processed]]:
    """All outcomes of some rows; values are closed."""
    found: list[Outcome[Processed]] = []
    async with asyncv2d.open(config or CONFIG) as v2d, v2d.stream(rows) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Ok):
                outcome.value.close()
            found.append(outcome)
    return sorted(found, key=lambda outcome: outcome.row.key)


async def test_rows_of_all_kinds(server: Server, videos: Mapping[str, bytes]) -> None:
    """A row may be a URL, a mapping or a Row; each comes out with its own outcome."""
    url = server.url("ok/short.mp4")
    rows = [url, {"url": url, "caption": "c", "more": 1}, Row(5, "mine", url), {}, {"url": None}]
    first, second, third, fourth, mine = await collect(rows)
    assert isinstance(first, Ok)
    assert isinstance(second, Ok)
    assert second.row.columns["more"] == 1
    assert first.value.samples[0].key == first.row.key == "00000000"
    assert [o.cause for o in (third, fourth) if isinstance(o, Failed)] == [Cause.BAD_URL] * 2
    assert isinstance(mine, Ok)
    assert mine.row.key == "mine"


async def test_rows_that_come_over_time(server: Server) -> None:
    """An async source works too, and its outcomes come before it ends."""
    more = anyio.Event()

    async def source() -> AsyncIterator[str]:
        yield server.url("ok/short.mp4")
        await more.wait()
        yield server.url("ok/missing.mp4")

    async with asyncv2d.open(CONFIG) as v2d, v2d.stream(source()) as outcomes:
        assert isinstance(await outcomes.receive(), Ok)
        more.set()
        assert isinstance(await outcomes.receive(), Failed)
        with pytest.raises(anyio.EndOfStream):
            await outcomes.receive()


async def test_several_streams(server: Server) -> None:
    """One after the other and at the same time, on one engine."""
    async with asyncv2d.open(CONFIG) as v2d:
        for _ in range(2):
            async with v2d.stream([server.url("ok/short.mp4")]) as outcomes:
                assert isinstance(await outcomes.receive(), Ok)
        async with v2d.stream([server.url("ok/short.mp4")]) as one:
            async with v2d.stream([server.url("html/a")]) as two:
                assert isinstance(await two.receive(), Failed)
            assert isinstance(await one.receive(), Ok)


async def test_leaving_a_stream_early_frees_its_budget(server: Server) -> None:
    """Bodies that were on their way do not use up the budget of the streams that follow."""
    server.videos["large.mp4"] = bytes(400_000)
    async with asyncv2d.open(CONFIG) as v2d:
        for _ in range(5):
            urls = [server.url(f"ok/large.mp4?{number}") for number in range(8)]
            async with v2d.stream(urls) as outcomes:
                assert isinstance(await outcomes.receive(), Failed)
        assert v2d._engine.budget.used == 0


async def test_a_wrong_configuration() -> None:
    """Is a UserError before anything starts."""
    with pytest.raises(UserError, match=r"reading\.timeot: unknown key"):
        await collect([], {"reading": {"timeot": 1}})


async def test_an_error_of_the_user_inside(server: Server) -> None:
    """The user's own exception ends everything, and can be caught."""

    async def fail() -> None:
        async with asyncv2d.open(CONFIG) as v2d, v2d.stream([server.url("stall/short.mp4")]):
            raise LookupError("mine")

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await fail()
    assert "mine" in repr(caught.value)


@pytest.mark.parametrize("path", ["ok/short.mp4", "stall/short.mp4", "silent/a"])
@pytest.mark.parametrize("after_s", [0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7])
async def test_cancelled_at_any_point(server: Server, after_s: float, path: str) -> None:
    """Starting, downloading, working or waiting: nothing is left behind."""
    with anyio.move_on_after(after_s):
        await collect([server.url(f"{path}?{number}") for number in range(20)])


async def test_cancelled_by_asyncio(server: Server, until: Callable[..., None]) -> None:
    """A plain task.cancel() does it too."""
    task = asyncio.create_task(collect([server.url("silent/a")]))
    await asyncio.to_thread(until, lambda: server.count("silent/a"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_in_plain_asyncio(server: Server) -> None:
    """Timeouts of asyncio work around it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await collect([server.url("silent/a")])


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
@pytest.mark.parametrize("after_s", [None, 0.01, 0.3])
async def test_in_uvloop(server: Server, after_s: float | None, anyio_backend: object) -> None:
    """Another event loop makes no difference, also where the stream is cancelled."""
    found: list[Outcome[Processed]] = []
    with anyio.move_on_after(after_s):
        found = await collect([server.url("ok/short.mp4"), "no.mp4"])
    if after_s is None:
        assert [isinstance(outcome, Ok) for outcome in found] == [True, False]


async def test_a_slow_consumer_holds_back_the_producer(server: Server) -> None:
    """No more rows are asked for than can be on their way, however many there are."""
    asked = 0

    async def endless() -> AsyncIterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "no.mp4"

    few = {"distribution": {"workers": 1, "downloads": 4}}
    async with asyncv2d.open(few) as v2d, v2d.stream(endless()) as outcomes:
        for taken in range(1, 50):
            await outcomes.receive()
            await anyio.wait_all_tasks_blocked()
            assert asked <= taken + 40
