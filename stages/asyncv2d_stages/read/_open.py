"""Opening an input file: local or fsspec's, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from asyncv2d.remote_errors import translating
from asyncv2d.types import UserError

STDIN = "-"
BUFFER = 1 << 18
_HEAD = 512
_MAGIC = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
}
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
_NOT_TEXT = {b"PAR1": "a parquet file", b"PK\x03\x04": "a zip archive"}


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Say in one line that ``path`` cannot be read, and why."""
    with translating(lambda error: cannot_read(path, error)):
        yield


def cannot_read(path: str, error: Exception) -> UserError:
    """``error`` as one line."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, FileNotFoundError):  # a driver may only repeat the name
        reason = "No such file"
    reason = " ".join(reason.split()) or type(error).__name__
    return UserError(f"{path}: cannot read the input file: {reason}")


def open_file(path: str, block_size: int | None = None) -> BinaryIO:
    """The bytes of a file as they are; ``block_size`` is how much to fetch of a remote one."""
    with reading(path):
        if path == STDIN:
            return open(sys.stdin.fileno(), "rb", buffering=BUFFER, closefd=False)
        if "://" not in path:
            return Path(path).open("rb", buffering=BUFFER)
        # Imported here: a table on this machine needs none of it.
        import fsspec

        system, name = fsspec.core.url_to_fs(path)
        if block_size is None and path.startswith(("http://", "https://")):
            block_size = _web_block(system.info(name))
        options = {} if block_size is None else {"block_size": block_size}
        return cast(BinaryIO, system.open(name, "rb", **options))


def _web_block(info: Mapping[str, Any]) -> int | None:
    """0, which reads from front to back, where a server does not say that it gives parts."""
    return None if info.get("partial") else 0


def refuse_stdin(path: str) -> None:
    """Raise UserError if ``path`` is stdin, for formats that are not read from front to back."""
    if path == STDIN:
        raise UserError("-: this format cannot be read from stdin; give the file's name")


def unpacked(file: io.BufferedReader) -> tuple[Callable[[int], bytes], bool]:
    """What reads the next so many bytes of a file, decompressed, and whether that is needed.

    Which compression it is, the first bytes say. Everything before a damage comes out first: one
    call reads no more than one block.
    """
    head = file.peek(_HEAD)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    return (file.read1, False) if kind is None else (_UNPACK[kind](file), True)


def damage(error: BaseException | None) -> str | None:
    """What is wrong with compressed data, if that is what ``error`` means."""
    if not isinstance(error, _DAMAGED):
        return None
    is_of_disk_or_network = isinstance(error, OSError) and (
        error.errno is not None or type(error) not in (OSError, gzip.BadGzipFile)
    )
    return None if is_of_disk_or_network else f"damaged compressed file: {error}"


def check_is_text(path: str, head: bytes) -> None:
    """Raise UserError if a file that begins so is none of text."""
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise UserError(f"{path}: this is {what}, not text; say so with --input_format")
    if b"\0" in head[:_HEAD]:
        raise UserError(f"{path}: this is a binary file, not text; see --input_format")


def buffered(file: BinaryIO) -> io.BufferedReader:
    """The file with a buffer around, where it has none."""
    if isinstance(file, io.BufferedReader):
        return file
    return io.BufferedReader(cast(io.RawIOBase, file), BUFFER)


def _gz(file: Any) -> Callable[[int], bytes]:
    return gzip.GzipFile(fileobj=file).read1


def _bz2(file: Any) -> Callable[[int], bytes]:
    return bz2.BZ2File(file).read1


def _xz(file: Any) -> Callable[[int], bytes]:
    return lzma.LZMAFile(file).read1


def _zst(file: Any) -> Callable[[int], bytes]:
    import pyarrow as pa

    return cast(Callable[[int], bytes], pa.CompressedInputStream(file, "zstd").read)


_UNPACK = {"gz": _gz, "bz2": _bz2, "xz": _xz, "zst": _zst}
