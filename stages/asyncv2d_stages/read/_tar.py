"""The samples in a tar, without reading their media."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from msgspec import Struct, field

from asyncv2d.types import UserError
from asyncv2d_stages.read._open import cannot_read, open_file, refuse_stdin

_HEADER_BLOCK = 1 << 16  # of a remote tar: what is fetched for one header


class Sample(Struct, frozen=True):
    """Files that belong together, by extension: where their bytes lie, or (``texts``) they."""

    key: str
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


class BadSample(Struct, frozen=True):
    """Something that cannot be used as a sample."""

    why: str


def samples(path: str, read: Sequence[str] = ()) -> Iterator[Sample | BadSample]:
    """The samples of a tar, with the content of the files whose extension is in ``read``.

    Whether a sample is bad does not depend on that. Raises UserError where the file is no tar.
    """
    refuse_stdin(path)
    with closing(open_file(path, _HEADER_BLOCK)) as file:
        try:
            tar = tarfile.TarFile(fileobj=file)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise _no_tar(path, error) from None
        seen: set[str] = set()
        try:
            for sample in _grouped(tar, file, read):
                if isinstance(sample, Sample) and sample.key in seen:
                    yield BadSample(f"a second sample is called {sample.key!r}")
                    continue
                if isinstance(sample, Sample):
                    seen.add(sample.key)
                yield sample
        except tarfile.TarError as error:
            yield BadSample(f"damaged tar at byte {tar.offset}: {error}")
        except (OSError, ValueError) as error:
            raise cannot_read(path, error) from None


def _grouped(
    tar: tarfile.TarFile, file: BinaryIO, read: Sequence[str]
) -> Iterator[Sample | BadSample]:
    """The samples; files that follow each other and share a name up to the first dot are one."""
    current, place = None, ""
    while (member := tar.next()) is not None:
        # Else it keeps the headers of all that it read: a leak with large tars. Python can be told
        # not to from 3.13 on only (``stream``); typeshed leaves the attribute out.
        tar.members.clear()  # type: ignore[attr-defined]
        folder, _, name = member.name.rpartition("/")
        key, _, extension = name.partition(".")
        if not member.isreg() or not key:
            continue
        if current is None or place != f"{folder}/{key}" or extension in current.files:
            if current is not None:
                yield current
            current, place = Sample(key), f"{folder}/{key}"
        current.files[extension] = member.offset_data, member.size
        if extension in read:
            file.seek(member.offset_data)
            current.texts[extension] = file.read(member.size)
    _check_end(tar, file)
    if current is not None:
        yield current


def _check_end(tar: tarfile.TarFile, file: BinaryIO) -> None:
    """Raise ReadError unless the tar ends here: tarfile takes any rubbish for an end."""
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError("there is no header where one should be")


def _no_tar(path: str, error: Exception) -> UserError:
    return UserError(f"{path}: this is no uncompressed tar ({error}); see --input_format")
