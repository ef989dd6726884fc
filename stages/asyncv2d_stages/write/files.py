"""Writes samples as plain files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample
from asyncv2d_stages.write._files import chunks, open_at

if TYPE_CHECKING:
    import pyarrow as pa


class FilesWriter(Settings):
    """One folder a shard, with a file ``{key}.{extension}`` for each part of each sample."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _FolderShard:
        """Begin the shard's folder in ``folder``, or go on with it."""
        return _FolderShard(folder, shard_name, position)


class _FolderShard:
    """A folder, and beside it the list of what is in it: whatever the list does not name, goes."""

    def __init__(self, folder: Path, name: str, position: int) -> None:
        self._path = folder / name
        self._path.mkdir(exist_ok=True)
        self._list = open_at(folder / f"{name}.list", position)
        self._list.seek(0)
        listed = {name for line in self._list for name in json.loads(line)}
        for path in self._path.iterdir():
            if path.name not in listed:
                path.unlink()

    def write(self, sample: Sample) -> int:
        """Write the sample's files."""
        names = {f"{sample.key}.{extension}": body for extension, body in sample.parts.items()}
        for name, body in names.items():
            with (self._path / name).open("wb") as file:
                for chunk in chunks(body):
                    file.write(chunk)
        self._list.write(json.dumps([*names]).encode() + b"\n")
        self._list.flush()
        return self._list.tell()

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Nothing is left to do."""
        self._list.close()
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the list."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._list.close()
