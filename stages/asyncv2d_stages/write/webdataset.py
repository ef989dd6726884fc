"""Writes WebDataset shards."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Body, Sample
from asyncv2d_stages.write._files import chunks, open_at

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
        self._archive = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)

    def write(self, sample: Sample) -> int:
        """Append one sample; the same sample always gives the same bytes."""
        for extension, body in sample.parts.items():
            with body.open() as file:
                self._archive.addfile(_entry(sample, extension, body), file)
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
    """Headers, bodies and padding one after the other: tarfile's own streams hold blocks back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, sample: Sample) -> int:
        """Append one sample."""
        for extension, body in sample.parts.items():
            entry = _entry(sample, extension, body)
            self._file.write(entry.tobuf(tarfile.GNU_FORMAT))
            for chunk in chunks(body):
                self._file.write(chunk)
            self._file.write(bytes(-body.size % tarfile.BLOCKSIZE))
        self._file.flush()
        return 0

    def finish(self) -> None:
        """Write the end of the tar."""
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.flush()


def _entry(sample: Sample, extension: str, body: Body) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(f"{sample.key}.{extension}")
    entry.size, entry.mode = body.size, 0o444
    return entry
