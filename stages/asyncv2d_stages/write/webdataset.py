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

_END = bytes(2 * tarfile.BLOCKSIZE)
# Where an entry's header has its name, its size and its checksum, which counts itself as blanks.
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 135), slice(148, 155)
_BLANK_CHECKSUM = 7 * ord(" ")
_LARGEST = 8**11 - 1


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

    def write(self, sample: Sample) -> int:
        """Append one sample; the same sample always gives the same bytes."""
        _append(self._file, sample)
        return self._file.tell()

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Finish the tar."""
        with self._file as file:
            file.write(_END)
            file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
        return [WrittenFile(self._path, self._path.name)]

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        with suppress(OSError):  # what is buffered may not fit on a full disk
            self._file.close()


class _TarStream:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, sample: Sample) -> int:
        """Append one sample."""
        _append(self._file, sample)
        return 0

    def finish(self) -> None:
        """Write the end of the tar."""
        self._file.write(_END)
        self._file.flush()


def _append(file: BinaryIO, sample: Sample) -> None:
    """Headers, bodies and padding: tarfile's own way reads bodies in many small pieces."""
    for extension, body in sample.parts.items():
        file.write(_header(sample, extension, body))
        for chunk in chunks(body):
            file.write(chunk)
        file.write(bytes(-body.size % tarfile.BLOCKSIZE))
    file.flush()


def _header(sample: Sample, extension: str, body: Body) -> bytes:
    name = f"{sample.key}.{extension}"
    encoded = name.encode()
    if len(encoded) > _NAME.stop or body.size > _LARGEST or not name.isascii():
        return _entry(name, body.size).tobuf(tarfile.GNU_FORMAT)
    # All headers are alike but for these fields, and to make each from nothing takes a small file
    # longer than all its other writing.
    header = bytearray(_LIKE_ALL)
    header[: len(encoded)] = encoded
    header[_SIZE] = b"%011o" % body.size
    header[_CHECKSUM] = b"%06o\0" % (sum(header) - sum(header[_CHECKSUM]) + _BLANK_CHECKSUM)
    return bytes(header)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o444
    return entry


_LIKE_ALL = _entry("", 0).tobuf(tarfile.GNU_FORMAT)
