"""Writes WebDataset shards."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample
from asyncv2d_stages.write._files import open_at

if TYPE_CHECKING:
    import pyarrow as pa


class WebdatasetWriter(Settings):
    """One tar a shard; the parts of a sample lie side by side as ``{key}.{extension}``."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _TarShard:
        """Begin the shard's tar in ``folder``, or go on with it."""
        return _TarShard(folder / f"{shard_name}.tar", position)

    def stream(self, file: BinaryIO) -> _TarStream:
        """Begin a tar that goes into ``file``, which may be a pipe."""
        return _TarStream(file)


class _TarShard:
    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._file = open_at(path, position)
        self._archive = tarfile.open(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 — closed by close

    def write(self, sample: Sample) -> int:
        """Append one sample; the same sample always gives the same bytes."""
        _add(self._archive, sample)
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


class _TarStream:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Blocks of the size that members are padded to, so that nothing of a sample is held back.
        self._archive = tarfile.open(  # noqa: SIM115 — closed by finish
            fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=tarfile.BLOCKSIZE
        )

    def write(self, sample: Sample) -> int:
        """Append one sample."""
        _add(self._archive, sample)
        self._file.flush()
        return 0

    def finish(self) -> None:
        """Write the end of the tar."""
        self._archive.close()
        self._file.flush()


def _add(archive: tarfile.TarFile, sample: Sample) -> None:
    for extension, body in sample.parts.items():
        entry = tarfile.TarInfo(f"{sample.key}.{extension}")
        entry.size, entry.mode = body.size, 0o444
        with body.open() as file:
            archive.addfile(entry, file)
