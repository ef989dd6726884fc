"""Writes samples as plain files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample

if TYPE_CHECKING:
    import pyarrow as pa


class FilesWriter(Settings):
    """One folder a shard, with a file ``{key}.{extension}`` for each part of each sample."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _FolderShard:
        """Begin the shard's folder in ``folder``."""
        return _FolderShard(folder / shard_name)


class _FolderShard:
    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)

    def write(self, sample: Sample) -> int:
        """Write the sample's files; written twice, they are the same."""
        for extension, body in sample.parts.items():
            target = self._path / f"{sample.key}.{extension}"
            with body.open() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
        return 0

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Nothing is left to do."""
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Nothing is open."""
