"""Host names: asked for once, remembered, and never too many at a time."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._hosts import dns
from asyncv2d_stages.fetch._hosts.dns import HostLookup, UnresolvedError, open_lookup
from asyncv2d_stages.fetch._hosts.safety import Policy

if TYPE_CHECKING:
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
GOOD = ((socket.AF_INET, "93.184.216.34"),)
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
UNSURE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Resolver:
    """Stands in for the system's; ``answers`` are given in turn, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: Counter[str] = Counter()
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        self._now = 0

    def __call__(self, host: str, family: socket.AddressFamily) -> Any:
        with self._lock:
            self.asked[host] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.gate.wait(30)
        with self._lock:
            self._now -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def lookup(
    monkeypatch: pytest.MonkeyPatch, resolver: Resolver, timeout_s: float = 20
) -> AsyncIterator[HostLookup]:
    """A lookup that asks ``resolver``; its threads are gone afterwards."""
    monkeypatch.setattr(dns, "_getaddrinfo", resolver)
    async with open_lookup(Policy("auto"), timeout_s, socket.AF_UNSPEC, None) as found:
        yield found
        resolver.gate.set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dns")]


async def test_one_query_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wait for the same host, and for those who come later."""
    resolver = Resolver(GOOD)
    async with lookup(monkeypatch, resolver) as found:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(found.addresses, "host.example")
        assert await found.addresses("host.example") == list(GOOD)
    assert resolver.asked == {"host.example": 1}


async def test_one_who_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not take the answer from the others."""
    resolver = Resolver(GOOD)
    resolver.gate.clear()
    async with lookup(monkeypatch, resolver) as found:
        with anyio.move_on_after(0):
            await found.addresses("host.example")
        resolver.gate.set()
        assert await found.addresses("host.example") == list(GOOD)
    assert resolver.asked == {"host.example": 1}


async def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is final, and remembered too."""
    resolver = Resolver(UNKNOWN)
    async with lookup(monkeypatch, resolver) as found:
        for _ in range(3):
            with pytest.raises(UnresolvedError) as caught:
                await found.addresses("host.example")
            assert caught.value.cause is Cause.DNS
            assert caught.value.is_final
    assert resolver.asked == {"host.example": 1}


async def test_what_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is asked again, a few times."""
    async with lookup(monkeypatch, Resolver(UNSURE, UNSURE, GOOD)) as found:
        assert await found.addresses("host.example") == list(GOOD)
    resolver = Resolver(UNSURE)
    async with lookup(monkeypatch, resolver) as found:
        with pytest.raises(UnresolvedError) as caught:
            await found.addresses("host.example")
        assert not caught.value.is_final
    assert resolver.asked == {"host.example": 3}


async def test_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of queries at a time, each with its own deadline."""
    monkeypatch.setattr(dns, "_QUERIES", 4)
    resolver = Resolver(GOOD)
    async with lookup(monkeypatch, resolver) as found, anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(found.addresses, f"host-{number}.example")
    assert len(resolver.asked) == 200
    assert resolver.most_at_once <= 4


async def test_names_whose_servers_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep others waiting for no longer than it takes to see that."""
    monkeypatch.setattr(dns, "_QUERIES", 2)
    monkeypatch.setattr(dns, "_SLOW_S", 0.01)
    resolver = Resolver(GOOD)
    resolver.gate.clear()
    async with lookup(monkeypatch, resolver) as found, anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(found.addresses, f"silent-{number}.example")
        while len(resolver.asked) < 20:
            await anyio.lowlevel.checkpoint()
        assert resolver.most_at_once == 20
        resolver.gate.set()


async def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up at the deadline."""
    resolver = Resolver(GOOD)
    resolver.gate.clear()
    async with lookup(monkeypatch, resolver, timeout_s=0.05) as found:
        with pytest.raises(ItemError, match="not resolved in") as caught:
            await found.addresses("host.example")
        assert caught.value.cause is Cause.DNS


@pytest.mark.parametrize("name", ["localhost", "Host-7.LocalHost", "a.b.localhost."])
async def test_the_systems_own(name: str) -> None:
    """Knows this machine, if not by all the names that mean it."""
    async with open_lookup(Policy("auto"), 20, socket.AF_INET, None) as found:
        assert await found.addresses(name) == [(socket.AF_INET, "127.0.0.1")]


async def test_localhost_alone_means_this_machine() -> None:
    """Names that only end like it do not."""
    async with open_lookup(Policy("auto"), 20, socket.AF_INET, None) as found:
        with pytest.raises(UnresolvedError):
            await found.addresses("notlocalhost")


async def test_an_unknown_host_is_not_tried_again(
    downloads: Downloads, names: dict[str, Any]
) -> None:
    """One that may be known later is."""
    error = await downloads.failure("http://unknown.example/a")
    assert (error.cause, error.attempts) == (Cause.DNS, 1)
    names["unsure.example"] = UNSURE
    error = await downloads.failure("http://unsure.example/a")
    assert (error.cause, error.attempts) == (Cause.DNS, 3)
