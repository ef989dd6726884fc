"""Keeps the samples of a shard in one file until all of them are there."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from asyncv2d.types import Sample
from asyncv2d_stages.write._files import chunks, open_at

_LENGTH = struct.Struct("<Q")


class Piece(Struct, frozen=True):
    """Where some bytes lie in the file."""

    start: int
    size: int


class Staged(Struct, frozen=True):
    """A sample in the file: its record, and its parts by extension."""

    key: str
    record: Piece
    parts: Mapping[str, Piece]

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return self.record.size + sum(part.size for part in self.parts.values())


class Staging:
    """A file of samples, one behind the other: length of the head, head, record, parts.

    The head is JSON with the key and all sizes, so that the file can be gone through without
    reading the parts.
    """

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._file = open_at(path, position)

    def append(self, sample: Sample, extensions: frozenset[str]) -> int:
        """Add a sample with its parts of these extensions; gives the place behind it."""
        record = json.dumps(sample.meta, ensure_ascii=False).encode()
        bodies = {name: body for name, body in sample.parts.items() if name in extensions}
        sizes = {name: body.size for name, body in bodies.items()}
        head = json.dumps({"key": sample.key, "record": len(record), "parts": sizes}).encode()
        self._file.write(_LENGTH.pack(len(head)) + head + record)
        for body in bodies.values():
            for chunk in chunks(body):
                self._file.write(chunk)
        self._file.flush()
        return self._file.tell()

    def samples(self) -> Iterator[Staged]:
        """Where each sample lies, in the order of writing."""
        end = self._file.seek(0, os.SEEK_END)
        place = 0
        while place < end:
            self._file.seek(place)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            head = json.loads(self._file.read(length))
            record = Piece(place + _LENGTH.size + length, head["record"])
            place = record.start + record.size
            parts: dict[str, Piece] = {}
            for name, size in head["parts"].items():
                parts[name] = Piece(place, size)
                place += size
            yield Staged(head["key"], record, parts)

    def record(self, staged: Staged) -> dict[str, Any]:
        """The record of a sample."""
        record: dict[str, Any] = json.loads(self.read(staged.record))
        return record

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece."""
        self._file.seek(piece.start)
        return self._file.read(piece.size)

    def read_into(self, piece: Piece, target: memoryview) -> None:
        """The bytes of a piece, without a copy of them."""
        self._file.seek(piece.start)
        if self._file.readinto(target) != piece.size:
            raise OSError(f"{self._path}: has become shorter")

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._file.close()
