"""Messages between a launcher and its loop processes."""

from __future__ import annotations

from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.launch import protocol

MESSAGES = st.lists(
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(), max_size=4)
)


class _Pipe:
    """A byte stream in memory that hands out what was sent in pieces of odd sizes."""

    def __init__(self, size: int) -> None:
        self.data = b""
        self._size = size

    async def send(self, item: bytes) -> None:
        self.data += item

    async def receive(self, max_bytes: int = 65536) -> bytes:
        chunk, self.data = self.data[: self._size], self.data[self._size :]
        if not chunk:
            raise anyio.EndOfStream
        return chunk

    async def aclose(self) -> None:
        """Nothing to do."""


async def through(messages: list[dict[str, Any]], size: int, cut: int) -> list[dict[str, Any]]:
    """Send messages and receive them, without the last ``cut`` bytes."""
    pipe = _Pipe(size)
    stream: Any = pipe
    for message in messages:
        await protocol.send(stream, message)
    pipe.data = pipe.data[: len(pipe.data) - cut]
    return [message async for message in protocol.messages(stream)]


@given(messages=MESSAGES, size=st.integers(1, 50))
def test_what_is_sent_arrives(messages: list[dict[str, Any]], size: int) -> None:
    """Any messages, whatever pieces they are cut into."""
    assert anyio.run(through, messages, size, 0) == messages


@given(messages=MESSAGES.filter(len), size=st.integers(1, 50))
def test_half_a_message_is_none(messages: list[dict[str, Any]], size: int) -> None:
    """What a process that died could not finish is left out."""
    assert anyio.run(through, messages, size, 1) == messages[:-1]
