"""Remembers answers, and asks once for all who wait for the same one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Answers(Generic[T]):
    """Answers by key, each good for the seconds that ``ask`` gives with it."""

    def __init__(self, ask: Callable[[str], Awaitable[tuple[T, float]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._known: OrderedDict[str, tuple[T, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str) -> T:
        """The answer for ``key``. What is being asked goes on when one who waits is cancelled."""
        known = self._known.get(key)
        if known is not None and known[1] > _now():
            return known[0]
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._find(key))
        return await asyncio.shield(task)

    async def _find(self, key: str) -> T:
        try:
            answer, good_for_s = await self._ask(key)
            self._known[key] = answer, _now() + good_for_s
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
            return answer
        finally:
            del self._asked[key]

    async def close(self) -> None:
        """Give up what is being asked."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
