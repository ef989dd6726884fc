"""How much a host is asked: it adapts, pauses, and does not stand in others' way."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncv2d.ports import Pauses
from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._hosts import host as one_host
from asyncv2d_stages.fetch._hosts import limits as host_limits
from asyncv2d_stages.fetch._hosts.host import HostGivenUpError, Limits
from asyncv2d_stages.fetch._hosts.limits import Hosts, NoTurnError
from tests.unit.fetch.test_http_raw import answering, head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
BUSY = ItemError(Cause.HTTP_429, "HTTP 429")
JAMMED = ItemError(Cause.HTTP_5XX, "HTTP 503")
DEAD = ItemError(Cause.CONNECT, "refused")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_host, "_FIRST_PAUSE_S", 0.001)


async def at_once(hosts: Hosts, place: str = "a:80") -> int:
    """How many requests to a host may be in flight."""
    taken = 0
    async with AsyncExitStack() as stack:
        while True:
            try:
                await stack.enter_async_context(hosts.turn(place, within_s=0))
            except NoTurnError:
                return taken
            taken += 1


async def fail(hosts: Hosts, error: ItemError, times: int, pause_s: float | None = None) -> None:
    """Requests that fail, one after the other."""
    for _ in range(times):
        async with hosts.turn("a:80") as turn:
            turn.begin()
            turn.failed(error, pause_s)


async def succeed(hosts: Hosts) -> None:
    """A request that goes well."""
    async with hosts.turn("a:80") as turn:
        turn.begin()
        await anyio.lowlevel.checkpoint()
        turn.answered()
        turn.done()


async def test_it_grows_while_all_goes_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the most there may be, if there are rows for so many."""
    monkeypatch.setattr(one_host, "_SLOWER_BY_S", 60)  # this machine may be busy
    hosts = Hosts(Limits(most=40))
    assert await at_once(hosts) == 8
    await succeed(hosts)
    assert await at_once(hosts) == 8
    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(succeed, hosts)
    assert await at_once(hosts) == 40


async def test_it_does_not_grow_where_that_does_not_help() -> None:
    """A host that answers the more slowly the more it is asked."""
    hosts = Hosts(Limits(most=40))
    for seconds in [*[0.1] * 8, *[1.0] * 40]:
        async with AsyncExitStack() as stack:
            turns = [await stack.enter_async_context(hosts.turn("a:80")) for _ in range(8)]
            turns[0].begin()
            turns[0].asked_at -= seconds
            turns[0].answered()
    assert await at_once(hosts) < 16


async def test_it_grows_where_some_answers_are_much_quicker() -> None:
    """As those out of a cache are."""
    hosts = Hosts(Limits(most=40))
    for number in range(400):
        async with AsyncExitStack() as stack:
            size = int(hosts._host("a:80").limit)
            turns = [await stack.enter_async_context(hosts.turn("a:80")) for _ in range(size)]
            turns[0].begin()
            turns[0].asked_at -= 0.001 if number % 3 else 0.3
            turns[0].answered()
    assert await at_once(hosts) == 40


async def test_it_halves_once_for_one_jam() -> None:
    """Requests that were under way together tell the same."""
    hosts = Hosts(Limits(most=40))
    async with AsyncExitStack() as stack:
        turns = [await stack.enter_async_context(hosts.turn("a:80")) for _ in range(4)]
        for turn in turns:
            turn.begin()
        for turn in turns:
            turn.failed(JAMMED, None)
    assert await at_once(hosts) == 4
    await fail(hosts, BUSY, 1, pause_s=0.0)
    async with hosts.turn("a:80") as turn:
        turn.begin()
        turn.answered()
        turn.done()
    assert await at_once(hosts) == 2


async def test_a_pause_is_one_hosts() -> None:
    """Its rows wait; those of others do not."""
    hosts = Hosts(Limits(most=4))
    await fail(hosts, BUSY, 1, pause_s=60)
    assert await at_once(hosts) == 0
    assert await at_once(hosts, "b:80") == 4


async def test_a_pause_is_told_to_others_who_ask_the_host() -> None:
    """They leave it alone for as long, unless that is beyond the patience of their rows."""
    sent: list[tuple[str, float]] = []
    pauses = Pauses(lambda host, seconds: sent.append((host, seconds)))
    one, other = (Hosts(Limits(most=4, patience_s=60), pauses.tell) for _ in range(2))
    for hosts in (one, other):
        pauses.listen(hosts.pause)
    assert await at_once(other) == 4
    await fail(one, BUSY, 1, pause_s=30)
    assert sent == [("a:80", 30)]
    assert await at_once(one) == await at_once(other) == 0
    assert await at_once(other, "b:80") == 4
    pauses.heard("b:80", 61)
    assert await at_once(other, "b:80") == 4


async def test_after_a_pause() -> None:
    """One request is tried, and if that goes well, more."""
    hosts = Hosts(Limits(most=4))
    await fail(hosts, BUSY, 1, pause_s=0.01)
    async with hosts.turn("a:80") as turn:
        assert await at_once(hosts) == 0
        turn.begin()
        turn.answered()
        assert await at_once(hosts) == 1


async def test_a_dead_host_is_given_up() -> None:
    """After pauses, with the cause it died of; who waits hears it too."""
    hosts = Hosts(Limits(most=4))
    heard = []

    async def wait() -> None:
        try:
            await fail(hosts, DEAD, 1)
        except HostGivenUpError as error:
            heard.append(error.cause)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(wait)
    assert 8 <= 50 - len(heard) <= 12
    assert set(heard) == {Cause.CONNECT}
    with pytest.raises(HostGivenUpError, match="times in a row, at last: refused"):
        await fail(hosts, DEAD, 1)


async def test_a_burst_of_failures_is_one_failure() -> None:
    """Requests that were under way when the host was paused say nothing of how it is afterwards."""
    hosts = Hosts(Limits(most=40))
    async with AsyncExitStack() as stack:
        turns = [await stack.enter_async_context(hosts.turn("a:80")) for _ in range(8)]
        for turn in turns:
            turn.begin()
        await anyio.lowlevel.checkpoint()
        for turn in turns:
            turn.failed(DEAD, None)
    assert hosts._host("a:80").pauses == 1
    await succeed(hosts)
    assert await at_once(hosts) > 1


async def test_a_host_that_fails_in_many_ways_is_not() -> None:
    """Before the patience with it is at its end."""
    hosts = Hosts(Limits(most=4))
    for _ in range(4):
        await fail(hosts, DEAD, 1)
        await fail(hosts, BUSY, 1)
    hosts = Hosts(Limits(most=4, patience_s=0.001))
    await fail(hosts, DEAD, 4)
    with pytest.raises(HostGivenUpError):
        await fail(hosts, BUSY, 3)


async def test_a_host_that_answered_before_is_waited_for() -> None:
    """Its outage may be a short one; the rows wait as long as the patience lasts."""
    hosts = Hosts(Limits(most=4, patience_s=60))
    await succeed(hosts)
    await fail(hosts, DEAD, 12)
    await succeed(hosts)


async def test_rows_wait_while_a_host_is_paused() -> None:
    """However many they are, and whoever told of the pause."""
    hosts = Hosts(Limits(most=1, patience_s=60))
    hosts.pause("a:80", 0.05)
    async with anyio.create_task_group() as tasks:
        for _ in range(1100):
            tasks.start_soon(succeed, hosts)
        await anyio.wait_all_tasks_blocked()
        async with hosts.turn("b:80"):
            pass
    assert hosts._host("a:80").answers == 1100


@pytest.mark.parametrize(("error", "enough"), [(JAMMED, 3), (BUSY, 2)])
async def test_one_file_that_is_away_for_long(error: ItemError, enough: int) -> None:
    """Does not take those of its host along, not even as the very first; several in a row do."""
    hosts = Hosts(Limits(most=4, patience_s=60))
    for _ in range(3):
        await fail(hosts, error, 1, pause_s=3600)
        await succeed(hosts)
    await fail(hosts, error, enough, pause_s=3600)
    with pytest.raises(HostGivenUpError):
        await at_once(hosts)


@pytest.mark.parametrize("error", [JAMMED, BUSY])
@pytest.mark.parametrize("is_known", [True, False])
async def test_files_that_are_away_for_long_and_were_asked_for_together(
    error: ItemError, is_known: bool
) -> None:
    """Count as one: they say nothing of what the host will say when it is asked again."""
    hosts = Hosts(Limits(most=4, patience_s=60))
    if is_known:
        await succeed(hosts)
    async with hosts.turn("a:80") as one, hosts.turn("a:80") as two, hosts.turn("a:80") as three:
        for turn in (one, two, three):
            turn.begin()
        for turn in (one, two, three):
            turn.failed(error, 3600)
    host = hosts._host("a:80")
    assert not host.is_given_up
    assert host.paused_until < host.paused_at + 60


async def test_files_that_are_away_for_a_while() -> None:
    """Teach that their host is well: in the end each pauses its own row alone, but not three."""
    told: list[float] = []
    hosts = Hosts(Limits(most=4, patience_s=60), lambda _, seconds: told.append(seconds))
    host = hosts._host("a:80")
    await succeed(hosts)
    for _ in range(2):
        await fail(hosts, JAMMED, 1, pause_s=0.01)
        assert host.paused_until > host.paused_at
        await succeed(hosts)
    before = host.paused_until
    for _ in range(20):
        await fail(hosts, JAMMED, 1, pause_s=30)
        assert host.paused_until == before
        for _ in range(8):
            await succeed(hosts)
    assert told == [0.01, 0.01]
    await fail(hosts, JAMMED, 3, pause_s=0.01)
    assert host.paused_until > before


async def test_a_host_that_refuses_most() -> None:
    """Is overloaded, and not missing some files: it is left alone each time it asks for that."""
    hosts = Hosts(Limits(most=4, patience_s=60))
    host = hosts._host("a:80")
    await succeed(hosts)
    heeded = list[bool]()
    for _ in range(30):
        before = host.paused_until
        await fail(hosts, JAMMED, 2, pause_s=0.001)
        heeded.append(host.paused_until > before)
        await succeed(hosts)
    assert heeded[:2] == [True, True]
    assert all(heeded[6:])


async def test_too_many_requests_are_about_no_file() -> None:
    """They pause the host however often it did well afterwards."""
    hosts = Hosts(Limits(most=4, patience_s=60))
    host = hosts._host("a:80")
    for _ in range(5):
        await succeed(hosts)
        before = host.paused_until
        await fail(hosts, BUSY, 1, pause_s=0.01)
        assert host.paused_until > before


async def test_too_many_requests_pause_a_host_at_once() -> None:
    """Also where it does not say for how long."""
    hosts = Hosts(Limits(most=40))
    await fail(hosts, BUSY, 1)
    assert hosts._host("a:80").pauses == 1


async def test_those_who_stop_waiting() -> None:
    """Leave their turn to others."""
    hosts = Hosts(Limits(most=1))
    async with anyio.create_task_group() as tasks, hosts.turn("a:80"):
        async with anyio.create_task_group() as waiting:
            for _ in range(5):
                waiting.start_soon(at_once, hosts)
                waiting.start_soon(fail, hosts, BUSY, 1)
            await anyio.wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
        tasks.start_soon(fail, hosts, BUSY, 1, 0.0)
        await anyio.wait_all_tasks_blocked()
    assert await at_once(hosts) == 1
    assert hosts.remembered == 1


async def test_a_rate() -> None:
    """Spreads requests; the first is sent at once."""
    hosts = Hosts(Limits(most=4, interval_s=60))
    async with hosts.turn("a:80"), hosts.turn("b:80"):
        assert await at_once(hosts) == 0
    hosts = Hosts(Limits(most=4, interval_s=0.001))
    for _ in range(10):
        async with hosts.turn("a:80"):
            pass


async def test_idle_hosts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but a bounded number."""
    monkeypatch.setattr(host_limits, "_REMEMBERED", 10)
    hosts = Hosts(Limits(most=4))
    for number in range(100):
        async with hosts.turn(f"{number}:80"):
            pass
    assert hosts.remembered == 10


async def test_hosts_that_say_more_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that is known of them."""
    monkeypatch.setattr(host_limits, "_REMEMBERED", 10)
    hosts = Hosts(Limits(most=4))
    for number in range(20):
        hosts.hear_more(f"{number}:80")
    assert [hosts.says_more(f"{number}:80") for number in (0, 19, 20)] == [False, True, False]
    assert hosts.remembered == 10


class TestDownloads:
    """The same, asked of a server."""

    async def test_retry_after(
        self, server: Server, downloads: Downloads, videos: Mapping[str, bytes]
    ) -> None:
        """A server that asks for a pause gets one, and then all the rows."""
        async with downloads.client(concurrency=8, retries=5) as client:

            async def get(number: int) -> None:
                url = server.url(f"busy/1/429/short.mp4?Retry-After=0.01&{number}")
                blob, _ = await client.download(url)
                assert blob.read() == videos["short.mp4"]
                blob.close()

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(get, number)

    @pytest.mark.parametrize(
        ("status", "cause", "enough"),
        [
            ("429 Too Many Requests", Cause.HTTP_429, 2),
            ("503 Service Unavailable", Cause.HTTP_5XX, 3),
        ],
    )
    async def test_a_pause_for_longer_than_rows_wait(
        self, downloads: Downloads, status: str, cause: Cause, enough: int
    ) -> None:
        """Ends rows at once, with how long it is; after a few, no others ask at all."""
        asked: list[str] = []
        failures: list[ItemError] = []

        async def answer(request: str, writer: asyncio.StreamWriter) -> None:
            asked.append(request)
            writer.write(head(status, Retry_After=3600, Content_Length=0))

        async with answering(answer) as base, downloads.client(concurrency=1, retries=5) as client:
            for number in range(10):
                with pytest.raises(ItemError) as caught:
                    await client.download(f"{base}/{number}.mp4")
                failures.append(caught.value)
        assert {error.cause for error in failures} == {cause}
        assert all("asks to wait 3600 s" in error.detail for error in failures)
        assert [error.attempts for error in failures] == [1] * enough + [0] * (10 - enough)
        assert len(asked) == enough

    async def test_a_dead_host_costs_little(self, server: Server, downloads: Downloads) -> None:
        """Its rows fail for what it died of, with the attempts that they had."""
        causes = []
        async with downloads.client(concurrency=4, retries=1) as client:

            async def get(number: int) -> None:
                with pytest.raises(ItemError) as caught:
                    await client.download(f"http://127.0.0.1:1/{number}")
                causes.append(caught.value.cause)
                assert caught.value.attempts <= 2

            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(get, number)
        assert causes == [Cause.CONNECT] * 200
