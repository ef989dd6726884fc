"""A few threads of one's own for blocking work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple, Unpack

import anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class OwnThreads:
    """Threads that nothing else uses; leave the context to end them.

    Arrow keeps freed memory for each thread that used it. On the event loop's common threads, of
    which there are dozens, that grew to several times what is needed at any moment.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="asyncv2d")

    def __enter__(self) -> OwnThreads:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Call ``function`` in one of them; cancelling waits for it to return."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([future])
        return future.result()
