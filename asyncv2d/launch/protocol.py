"""What a launcher and its loop processes say to each other: JSON, one message a line.

launcher → loop: the job first, then ``{"shard": …}`` or ``{"end": true}`` for each ``want``, and
``{"drain": true}`` and ``{"pause": …}`` at any time after that. The launcher's end of the pipe
closing means: cancel.
loop → launcher: ``{"want": true}``, ``{"begun": …}`` for each shard that arrives,
``{"report": …}``, ``{"progress": …}``, ``{"error": …}``, ``{"pause": …}``, which is for all other
loops, and ``{"outcome": …}`` where these are wanted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from anyio import IncompleteRead
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.streams.buffered import BufferedByteReceiveStream

_LONGEST_MESSAGE = 1 << 26


async def send(stream: ByteSendStream, message: Mapping[str, Any]) -> None:
    """Write one message."""
    await stream.send(json.dumps(message).encode() + b"\n")


async def messages(stream: ByteReceiveStream) -> AsyncGenerator[dict[str, Any], None]:
    """All messages until the other end closes."""
    buffered = BufferedByteReceiveStream(stream)
    while True:
        try:
            line = await buffered.receive_until(b"\n", _LONGEST_MESSAGE)
        except IncompleteRead:  # closed; half a message from a process that died is none
            return
        yield json.loads(line)
