"""Bodies of videos and of their parts, wherever they lie: in memory, or in a file."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, RawIOBase
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class Blob:
    """A body with an owner: either ``pieces`` in memory that follow each other, or a spool file.

    Whoever receives a Blob closes it; that deletes its spool file and gives its share of the byte
    budget back. Closing twice does nothing.
    """

    size: int
    pieces: Sequence[bytes] | None = None
    path: Path | None = None
    on_close: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """A Blob that holds its bytes itself and owes nothing to a budget."""
        return cls(size=len(data), pieces=(data,))

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        if self.pieces is not None:
            is_one = len(self.pieces) == 1
            return BytesIO(self.pieces[0]) if is_one else BufferedReader(_Pieces(self.pieces))
        assert self.path is not None
        return self.path.open("rb")

    def read(self) -> bytes:
        """All bytes of the body."""
        if self.pieces is not None:
            return b"".join(self.pieces)
        assert self.path is not None
        return self.path.read_bytes()

    def close(self) -> None:
        """Give the body up."""
        if self.on_close is not None:
            self.on_close()


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A body that lies on this machine already and is not ours to delete."""

    path: Path

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        return self.path.open("rb")

    def read(self) -> bytes:
        """All bytes of the file."""
        return self.path.read_bytes()

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A body that is a stretch of a file on this machine, such as a part in a tar."""

    path: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        return BufferedReader(_Stretch(self))

    def read(self) -> bytes:
        """All bytes of the stretch."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def close(self) -> None:
        """Nothing to give back."""


Body = Blob | LocalFile | FileSlice


class _Window(RawIOBase):
    """A file of ``size`` bytes that reads what lies elsewhere."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        left = max(0, self._size - self._position)
        count = self._read_at(self._position, memoryview(buffer).cast("B")[:left])
        self._position += count
        return count

    def _read_at(self, position: int, room: memoryview) -> int:
        """Fill ``room``, or a part of it, from ``position`` on; how many bytes that are."""
        raise NotImplementedError


class _Pieces(_Window):
    """Pieces in memory, read where they lie: to join them takes as long as to write them."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._ends = list(accumulate(map(len, pieces)))
        super().__init__(self._ends[-1] if pieces else 0)

    def _read_at(self, position: int, room: memoryview) -> int:
        if not room:
            return 0
        number = bisect_right(self._ends, position)
        piece, left = self._pieces[number], self._ends[number] - position
        count = min(len(room), left)
        begin = len(piece) - left
        room[:count] = piece[begin : begin + count]
        return count


class _Stretch(_Window):
    """A stretch of a file."""

    def __init__(self, part: FileSlice) -> None:
        super().__init__(part.size)
        self._file = part.path.open("rb", buffering=0)
        self._start = part.start

    def _read_at(self, position: int, room: memoryview) -> int:
        self._file.seek(self._start + position)
        return self._file.readinto(room)

    def close(self) -> None:
        self._file.close()
        super().close()
