"""The deadlines of FTP, and that nothing is left of a server that is given up."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.ports import FetchContext
from asyncv2d.types import Cause, ItemError, Row
from asyncv2d_stages.fetch.remote import RemoteFetcher
from tests.unit.fetch.ftp_server import FtpServer, Visit, ftp_server

if TYPE_CHECKING:
    from tests.unit.conftest import Clock
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
BODY = os.urandom(3_000_000)
ROWS = 8  # that a host gets at a time to begin with


@pytest.fixture
def anyio_backend(clock: Clock) -> tuple[str, dict[str, Any]]:
    """With the clock; not in debug mode, which takes the time that is left out for work."""
    return "asyncio", {"loop_factory": clock.loop}


class Faults:
    """What servers do that let one wait."""

    def __init__(self, clock: Clock, downloads: Downloads) -> None:
        self._clock = clock
        self._downloads = downloads

    async def silence(self, visit: Visit) -> None:
        """Say nothing."""
        while not (visit.reader.at_eof() or visit.reader.exception()):
            await self._time_passes(11)
        raise EOFError

    async def _time_passes(self, seconds: float) -> None:
        """Put the clock forward when the client has taken what was sent, and waits for more."""
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        self._clock.put_forward(seconds)

    async def dripping_lines(self, visit: Visit) -> None:
        """Say one line after the other of an answer that has no end."""
        while True:
            await visit.say("220-x")
            await self._time_passes(0.5)

    async def silent_file(self, visit: Visit) -> None:
        """Announce a file, and send nothing of it."""
        async with visit.sending():
            await self.silence(visit)

    async def half_a_file(self, visit: Visit) -> None:
        """Send the half of a file."""
        async with visit.sending() as data:
            data.write(BODY[: len(BODY) // 2])
            while not self._downloads.files():  # so that the client has some of it
                await anyio.lowlevel.checkpoint()
            await self.silence(visit)

    async def dripping_file(self, visit: Visit) -> None:
        """Send a byte now and then."""
        async with visit.sending() as data:
            while True:
                data.write(b"x")
                await data.drain()
                await self._time_passes(4)


async def causes(
    downloads: Downloads, server: FtpServer, rows: int = 1, **settings: Any
) -> list[Cause]:
    """Fetch rows at a time, which must all fail and leave nothing behind."""
    fetcher = RemoteFetcher.model_validate({"retries": 0, **settings})
    found: list[Cause] = []

    async def get() -> None:
        with pytest.raises(ItemError) as caught:
            await fetch_row(Row(0, "0", server.url("a.mp4")))
        found.append(caught.value.cause)

    async with (
        fetcher.open(FetchContext(downloads.spool, 64)) as fetch_row,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(rows):
            tasks.start_soon(get)
    assert downloads.spool.budget.used == downloads.spool.disk.used == 0
    assert not downloads.files()
    return found


@pytest.mark.parametrize(
    ("command", "fault", "limits", "cause"),
    [
        ("HELLO", "silence", {"timeout": 10}, Cause.TIMEOUT),
        ("HELLO", "dripping_lines", {"timeout": 10}, Cause.TIMEOUT),
        ("HELLO", "dripping_lines", {"timeout": 3600, "total_timeout": 10}, Cause.TIMEOUT),
        ("HELLO", "silence", {"timeout": 3600, "answer_timeout": 10}, Cause.TIMEOUT),
        ("PASS", "silence", {"timeout": 10}, Cause.TIMEOUT),
        ("PASV", "silence", {"timeout": 10}, Cause.TIMEOUT),
        ("RETR", "silence", {"timeout": 10}, Cause.TIMEOUT),
        ("RETR", "silent_file", {"timeout": 10}, Cause.TIMEOUT),
        ("RETR", "silent_file", {"timeout": 3600, "answer_timeout": 10}, Cause.TIMEOUT),
        ("RETR", "half_a_file", {"timeout": 10}, Cause.STALLED),
        ("RETR", "half_a_file", {"timeout": 3600, "stall_timeout": 10}, Cause.STALLED),
        ("RETR", "dripping_file", {"timeout": 5, "total_timeout": 10}, Cause.TIMEOUT),
    ],
)
async def test_a_server_that_lets_one_wait(
    downloads: Downloads,
    clock: Clock,
    command: str,
    fault: str,
    limits: Mapping[str, Any],
    cause: Cause,
) -> None:
    """Is given up in time, and hung up on."""
    async with ftp_server() as server:
        server.files[b"/a.mp4"] = BODY
        server.acts[command] = getattr(Faults(clock, downloads), fault)
        assert await causes(downloads, server, **limits) == [cause]
        await server.until_all_left()


async def test_many_that_let_one_wait(downloads: Downloads, clock: Clock) -> None:
    """Leave no connection behind, and no thread that waits for them."""
    before = threading.active_count()
    async with ftp_server() as server:
        server.acts["HELLO"] = Faults(clock, downloads).dripping_lines
        found = await causes(downloads, server, ROWS, timeout=10)
        assert found == [Cause.TIMEOUT] * ROWS
        await server.until_all_left()
    assert threading.active_count() < before + ROWS
