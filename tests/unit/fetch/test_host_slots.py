"""Requests in flight: in order, limited, and not held up by silent servers."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest

from asyncv2d_stages.fetch._hosts import slots as host_slots
from asyncv2d_stages.fetch._hosts.slots import Slots

pytestmark = pytest.mark.anyio


@dataclass
class Request:
    """How far a request came; while it ``flows``, further whenever somebody looks."""

    came: int = 0
    flows: bool = False

    @property
    def progress(self) -> int:
        """Bytes."""
        if self.flows:
            self.came += 1 << 20
        return self.came


async def test_in_order() -> None:
    """Who may not wait gets one at once."""
    slots, order = Slots(1), []

    async def take(name: str) -> None:
        async with slots.one(Request(), at_once=False):
            order.append(name)

    async with anyio.create_task_group() as tasks, slots.one(Request(), at_once=False):
        for name in "abc":
            tasks.start_soon(take, name)
            await anyio.wait_all_tasks_blocked()
        async with slots.one(Request(), at_once=True):
            assert not order
    assert order == ["a", "b", "c"]


async def test_those_who_stop_waiting() -> None:
    """Leave their slot to others."""
    slots = Slots(1)
    async with slots.one(Request(), at_once=False):
        with anyio.move_on_after(0) as scope:
            async with slots.one(Request(), at_once=False):
                pass
        assert scope.cancelled_caught
    async with slots.one(Request(), at_once=False):
        pass


async def test_a_silent_server_lends_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """To one that waits; when bytes come again, it counts again."""
    monkeypatch.setattr(host_slots, "_LOOK_EVERY_S", 0.01)
    slots, silent = Slots(1), Request()

    async def take() -> None:
        async with slots.one(Request(), at_once=False):
            got.append(None)

    got: list[None] = []
    async with slots.one(silent, at_once=False):
        await take()
        silent.flows = True
        await until_taken(slots)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            assert len(got) == 1
            tasks.cancel_scope.cancel()


async def until_taken(slots: Slots) -> None:
    """Wait until no slot is free."""
    is_free = True
    while is_free:
        await anyio.lowlevel.checkpoint()
        is_free = False
        with anyio.move_on_after(0):
            async with slots.one(Request(), at_once=False):
                is_free = True
