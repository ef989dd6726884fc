"""Reads a file over SFTP, with several requests at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
from msgspec import Struct

_CHUNK = 256 << 10
_MOST_AT_A_TIME = 16
_LEAST = 4096  # bytes: a server that sends fewer is asked for one block after the other


class Reads(Struct):
    """A file in blocks, each of which is one request; it has to be opened with ``block_size=0``."""

    file: asyncssh.SFTPClientFile
    block: int
    at_a_time: int

    async def after(self, begin: int) -> bytes:
        """What begins there; nothing at the end of the file.

        All that was asked for behind a block of another length is dropped: the file goes on where
        that block ends, or it is at its end.
        """
        offsets = range(begin, begin + self.at_a_time * self.block, self.block)
        reads = (self.file.read(self.block, offset) for offset in offsets)
        blocks: list[Any] = await asyncio.gather(*reads)
        for number, block in enumerate(blocks, 1):
            if len(block) != self.block:
                self._learn(len(block))
                return b"".join(blocks[:number])
        return b"".join(blocks)

    def _learn(self, most: int) -> None:
        """A server sent so many bytes of a block: of some that is the most that they send."""
        if most < _LEAST:
            self.at_a_time = 1
        else:
            self.block, self.at_a_time = most, min(_MOST_AT_A_TIME, _CHUNK // most)


def reads(file: asyncssh.SFTPClientFile, longest: int) -> Reads:
    """For a file of a server that sends ``longest`` bytes at a time."""
    block = min(_CHUNK, longest)
    return Reads(file, block, max(1, min(_MOST_AT_A_TIME, _CHUNK // block)))
