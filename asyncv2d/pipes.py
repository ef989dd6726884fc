"""Pipes as streams of bytes, without a thread: one that blocks would outlive a cancelled run."""

from __future__ import annotations

import os

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream


class PipeReceiver(ByteReceiveStream):
    """The end of a pipe that is read from; owns the file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has come, as soon as something has. Raises EndOfStream once nobody writes."""
        if self._fd is None:
            raise anyio.ClosedResourceError
        await anyio.wait_readable(self._fd)
        if chunk := os.read(self._fd, max_bytes):
            return chunk
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        """Close it; who waits for bytes gets ClosedResourceError."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            anyio.notify_closing(fd)
            os.close(fd)


class PipeSender(ByteSendStream):
    """The end of a pipe that is written to; owns the file descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd

    async def send(self, item: bytes) -> None:
        """Write all of ``item``. Raises BrokenResourceError where nobody reads any more."""
        rest = memoryview(item)
        while rest:
            if self._fd is None:
                raise anyio.ClosedResourceError
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._fd)
            except BrokenPipeError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close it; who waits for room gets ClosedResourceError."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            anyio.notify_closing(fd)
            os.close(fd)
