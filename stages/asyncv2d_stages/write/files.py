"""Writes samples as plain files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample


class FilesWriter(Settings):
    """One folder a shard, with a file ``{key}.{extension}`` for each part of each sample."""

    def open(self, folder: Path, shard_name: str) -> _FolderShard:
        """Begin the shard's folder in ``folder``."""
        return _FolderShard(folder / shard_name)


class _FolderShard:
    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir()

    def write(self, sample: Sample) -> None:
        """Write the sample's files."""
        for extension, body in sample.parts.items():
            target = self._path / f"{sample.key}.{extension}"
            with body.open() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)

    def close(self) -> Sequence[WrittenFile]:
        """Nothing is left to do."""
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Nothing is open."""
