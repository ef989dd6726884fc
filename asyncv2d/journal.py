"""What is done already of a shard that is not published yet.

A line of JSON for each finished row, written once its samples are safe. Should the process be
killed, the next one goes on after the last whole line, and asks for no finished row again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, field
from msgspec.structs import asdict

from asyncv2d.record import Lines
from asyncv2d.types import Row

_LONGEST_WAIT_S = 10.0
_WAIT_S = 0.05


class Entry(Struct, frozen=True):
    """One finished row: its ledger lines, its figures, and where its samples end."""

    index: int
    position: int
    own: Sequence[Mapping[str, Any]]
    figures: Mapping[str, Any]

    def lines(self, row: Row) -> Lines:
        """The row's ledger lines."""
        return Lines(row, self.own)


class Journal(Struct):
    """The journal of one shard, open for writing; nobody else can open it meanwhile.

    ``position`` is where the samples of all finished rows end; ``files`` are the names of the
    shard's files, once they are whole.
    """

    file: BinaryIO
    entries: dict[int, Entry] = field(default_factory=dict)
    position: int = 0
    files: Sequence[str] | None = None

    @classmethod
    def open(cls, path: Path, head: Mapping[str, Any]) -> Journal:
        """Open the journal and read what is in it; one that has another ``head`` begins anew."""
        # Unbuffered: a line that was written survives the process.
        file = path.open("a+b", buffering=0)
        try:
            _lock(file, path)
            journal = cls(file)
            journal._read(head)
        except BaseException:
            file.close()
            raise
        return journal

    def add(self, entry: Entry) -> None:
        """Note a finished row."""
        self._write(asdict(entry))
        self._remember(entry)

    def closed(self, files: Sequence[str]) -> None:
        """Note that all rows are done, and these files (by name) are whole."""
        self.files = files
        self._write({"files": files})

    def close(self) -> None:
        """Let others open the journal."""
        self.file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[self.file.write(data) :]

    def _read(self, head: Mapping[str, Any]) -> None:
        self.file.seek(0)
        *lines, torn = self.file.read().split(b"\n")
        whole = sum(len(line) + 1 for line in lines)
        if not lines or json.loads(lines[0]) != json.loads(json.dumps(head)):
            self.file.truncate(0)
            self._write(head)
            return
        if torn:
            self.file.truncate(whole)
        for line in lines[1:]:
            found = json.loads(line)
            if "files" in found:
                self.files = found["files"]
            else:
                self._remember(Entry(**found))

    def _remember(self, entry: Entry) -> None:
        self.entries[entry.index] = entry
        self.position = entry.position


def _lock(file: BinaryIO, path: Path) -> None:
    """Wait for a process of a killed run that is still ending."""
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return
            raise FileNotFoundError(f"{path}: was removed by another process")
        time.sleep(_WAIT_S)
    raise OSError(f"{path}: another process still writes this shard")
