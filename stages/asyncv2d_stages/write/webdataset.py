"""Writes WebDataset shards."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample

if TYPE_CHECKING:
    import pyarrow as pa


class WebdatasetWriter(Settings):
    """One tar a shard; the parts of a sample lie side by side as ``{key}.{extension}``."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _TarShard:
        """Begin the shard's tar in ``folder``, or go on with it."""
        return _TarShard(folder / f"{shard_name}.tar", position)


class _TarShard:
    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._file = path.open("r+b" if position else "wb")
        self._file.truncate(position)
        self._file.seek(position)
        self._archive = tarfile.open(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 — closed by close

    def write(self, sample: Sample) -> int:
        """Append one sample; the same sample always gives the same bytes."""
        for extension, body in sample.parts.items():
            entry = tarfile.TarInfo(f"{sample.key}.{extension}")
            entry.size, entry.mode = body.size, 0o444
            with body.open() as file:
                self._archive.addfile(entry, file)
        self._file.flush()
        return self._file.tell()

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Finish the tar."""
        with self._file:
            self._archive.close()
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._file.close()
