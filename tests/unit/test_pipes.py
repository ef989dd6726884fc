"""Pipes as streams of bytes."""

from __future__ import annotations

import os

import anyio
import pytest

from asyncv2d.pipes import PipeReceiver, PipeSender

pytestmark = pytest.mark.anyio

MUCH = b"x" * 1_000_000  # more than a pipe holds


async def test_much_goes_through() -> None:
    """A message that the pipe does not hold at once arrives whole."""
    reads, writes = os.pipe()
    received = bytearray()
    async with PipeReceiver(reads) as receiver, anyio.create_task_group() as tasks:

        async def receive() -> None:
            async for chunk in receiver:
                received.extend(chunk)

        tasks.start_soon(receive)
        async with PipeSender(writes) as sender:
            await sender.send(MUCH)
    assert bytes(received) == MUCH


async def test_nobody_reads_any_more() -> None:
    """Sending says so, also to who was waiting for room."""
    reads, writes = os.pipe()
    async with PipeSender(writes) as sender, anyio.create_task_group() as tasks:
        tasks.start_soon(_close_when_blocked, PipeReceiver(reads))
        with pytest.raises(anyio.BrokenResourceError):
            await sender.send(MUCH)
        with pytest.raises(anyio.BrokenResourceError):
            await sender.send(b"x")


async def _close_when_blocked(end: PipeReceiver | PipeSender) -> None:
    await anyio.wait_all_tasks_blocked()
    await end.aclose()


async def test_closing_ends_a_wait() -> None:
    """Who waits for bytes, or for room, learns that the pipe was closed on this side."""
    reads, writes = os.pipe()
    sender, receiver = PipeSender(writes), PipeReceiver(reads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_close_when_blocked, receiver)
        with pytest.raises(anyio.ClosedResourceError):
            await receiver.receive()
    await sender.aclose()
    reads, writes = os.pipe()
    sender, receiver = PipeSender(writes), PipeReceiver(reads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_close_when_blocked, sender)
        with pytest.raises(anyio.ClosedResourceError):
            await sender.send(MUCH)
    await receiver.aclose()


async def test_a_closed_end() -> None:
    """Takes and gives nothing more; closing it again does nothing."""
    reads, writes = os.pipe()
    sender, receiver = PipeSender(writes), PipeReceiver(reads)
    for end in (sender, receiver):
        await end.aclose()
        await end.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await sender.send(b"x")
    with pytest.raises(anyio.ClosedResourceError):
        await receiver.receive()
