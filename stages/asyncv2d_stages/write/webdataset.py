"""Writes WebDataset shards."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample


class WebdatasetWriter(Settings):
    """One tar a shard; the parts of a sample lie side by side as ``{key}.{extension}``."""

    def open(self, folder: Path, shard_name: str) -> _TarShard:
        """Begin the shard's tar in ``folder``."""
        return _TarShard(folder / f"{shard_name}.tar")


class _TarShard:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 — closed by close

    def write(self, sample: Sample) -> None:
        """Append one sample; the same sample always gives the same bytes."""
        for extension, body in sample.parts.items():
            entry = tarfile.TarInfo(f"{sample.key}.{extension}")
            entry.size, entry.mode = body.size, 0o444
            with body.open() as file:
                self._archive.addfile(entry, file)

    def close(self) -> Sequence[WrittenFile]:
        """Finish the tar."""
        self._archive.close()
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._archive.fileobj.close()
