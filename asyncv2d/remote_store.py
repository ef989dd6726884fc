"""An output folder that fsspec reaches: S3, Google Cloud Storage, Azure, SFTP and others."""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from asyncv2d.ports import WrittenFile
from asyncv2d.remote_errors import in_clear_words, missing_driver
from asyncv2d.types import RunError, UserError

T = TypeVar("T")

_TRIES = 3
_BACKOFF_S = 1.0
_AT_ONCE = 8
_READ_BYTES = 1 << 18
_PART_BYTES = 5 << 20  # the least that S3 allows; some four are in memory at once
_MOST_PARTS = 10_000
_PROBE = "_asyncv2d_can_write"
# Stores without folders. Making one there would make a bucket, which is not ours to do.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss"}
_S3 = {"s3", "s3a"}
# What drivers take for a pattern where they delete many files at once.
_MAGIC = re.compile(r"[*?\[]")
# botocore's own limits let a dead address hold a run for minutes.
_S3_CLIENT = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


class RemoteStore:
    """A folder behind one of fsspec's drivers; on object stores, a prefix of a bucket."""

    def __init__(self, url: str) -> None:
        self._url = re.sub(r"(?<=://)[^/]*:[^/]*@", "", url)
        self._scheme = url.partition("://")[0].rpartition("::")[2]
        with self._as_user_error():
            self._driver, root = _connect(url, self._scheme)
        self._root = root.rstrip("/")
        if self._scheme in _BUCKETS and not self._root:
            raise UserError(f"{self._url}: names no bucket")

    @property
    def url(self) -> str:
        """The URL, without a user's name and password."""
        return self._url

    @property
    def local_folder(self) -> Path | None:
        """It is not on this machine."""
        return None

    def prepare(self) -> None:
        """See that the folder can be written: only writing tells."""
        path = self._path(_PROBE)
        with self._as_user_error("cannot be the output folder: "):
            self._make_folder(self._root)
            self._driver.pipe_file(path, b"")
            self._driver.rm_file(path)

    def names(self) -> list[str]:
        """What lies in the folder."""
        return sorted(self._list())

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        try:
            data: bytes = self._persistently(self._driver.cat_file, self._path(name))
        except FileNotFoundError:
            return None
        return data

    def open(self, name: str) -> BinaryIO:
        """A file to read parts of."""
        path = self._path(name)

        def fetch(start: int, stop: int) -> bytes:
            data: bytes = self._persistently(self._driver.cat_file, path, start=start, end=stop)
            return data

        self._driver.invalidate_cache()
        size = self._persistently(self._driver.info, path)["size"]
        return io.BufferedReader(_Ranges(fetch, size), _READ_BYTES)

    def write(self, name: str, data: bytes) -> None:
        """Put a small file."""
        self._persistently(self._driver.pipe_file, self._path(name), data)

    def publish(self, files: Sequence[WrittenFile]) -> None:
        """Upload files, and the files of folders, one after the other."""
        for file in files:
            target = self._path(file.name)
            if file.path.is_dir():
                self._upload_folder(file.path, target)
            else:
                self._upload(file.path, target)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files and folders."""
        wanted = set(names)
        there = self._list()
        files = [self._path(name) for name in there if name in wanted and not there[name]]
        folders = [self._path(name) for name in there if name in wanted and there[name]]
        for folder in folders:
            files += self._files_below(folder)
        self._delete(files)
        if self._scheme not in _BUCKETS:
            for folder in folders:
                self._persistently(self._delete_folder, folder)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _list(self) -> dict[str, bool]:
        """What lies in the folder, and whether it is a folder itself."""
        self._driver.invalidate_cache()
        try:
            found = self._persistently(self._driver.ls, self._root, detail=True)
        except FileNotFoundError:
            return {}
        inside = f"{self._root}/"
        return {
            name: item["type"] == "directory"
            for item in found
            if item["name"].startswith(inside)
            and (name := item["name"].removeprefix(inside).rstrip("/"))
        }

    def _upload(self, source: Path, target: str) -> None:
        options: Mapping[str, Any] = {}
        if self._scheme in _S3:
            options = {"chunksize": _part_bytes(source.stat().st_size), "max_concurrency": 2}
        elif self._scheme in ("gs", "gcs"):
            options = {"chunksize": 4 * _PART_BYTES}  # one after the other
        self._persistently(self._driver.put_file, str(source), target, **options)

    def _upload_folder(self, source: Path, target: str) -> None:
        """Upload all files of a folder, several at once; then remove those of an older one."""
        before = self._files_below(target)
        paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
        targets = [f"{target}/{path.relative_to(source).as_posix()}" for path in paths]
        for folder in {name.rpartition("/")[0] for name in targets} | {target}:
            self._persistently(self._make_folder, folder)
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload")
        try:
            list(pool.map(self._upload, paths, targets))
        finally:
            pool.shutdown(cancel_futures=True)
        self._delete(sorted(set(before) - set(targets)))

    def _make_folder(self, path: str) -> None:
        if self._scheme not in _BUCKETS:
            self._driver.makedirs(path, exist_ok=True)

    def _files_below(self, folder: str) -> list[str]:
        self._driver.invalidate_cache()
        try:
            return list(self._persistently(self._driver.find, folder))
        except FileNotFoundError:
            return []

    def _delete(self, paths: Sequence[str]) -> None:
        plain = [path for path in paths if not _MAGIC.search(path)]
        if plain:
            with suppress(FileNotFoundError):
                self._persistently(self._driver.rm, plain)
        for path in set(paths) - set(plain):
            with suppress(FileNotFoundError):
                self._persistently(self._driver.rm_file, path)

    def _delete_folder(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._driver.rm(path, recursive=True)

    def _persistently(self, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Try again, a few times and ever later, where an error may pass."""
        for tries in range(1, _TRIES + 1):
            try:
                with in_clear_words(self._place):
                    return call(*args, **options)
            except FileNotFoundError:
                raise
            except OSError:
                if tries == _TRIES:
                    raise
            time.sleep(_BACKOFF_S * 2 ** (tries - 1) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    @contextmanager
    def _as_user_error(self, prefix: str = "") -> Iterator[None]:
        """Before a run begins, whatever is wrong with its output is for the user to mend."""
        try:
            with in_clear_words(self._place, prefix):
                yield
        except UserError:
            raise
        except (OSError, RunError) as error:
            raise UserError(str(error)) from error

    def _place(self) -> str:
        """The URL and, where the driver tells it, the server."""
        client = getattr(getattr(self, "_driver", None), "_s3", None)
        server = getattr(getattr(client, "meta", None), "endpoint_url", None)
        return f"{self._url} at {server}" if server else self._url


class _Ranges(io.RawIOBase):
    """A remote file of known size, read piece by piece."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        data = self._fetch(self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _connect(url: str, scheme: str) -> tuple[Any, str]:
    """The driver for ``url``, of this store alone, and the path of the folder in it."""
    import fsspec
    from fsspec.config import conf

    options: dict[str, Any] = {}
    if scheme in _S3:
        options["config_kwargs"] = _S3_CLIENT | conf.get("s3", {}).get("config_kwargs", {})
    try:
        driver, root = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    except ImportError as error:
        raise UserError(missing_driver(scheme, error)) from error
    return driver, root


def _part_bytes(size: int) -> int:
    """How much of a file is sent at once: what memory allows, and S3's limit of parts."""
    part = _PART_BYTES
    while part * _MOST_PARTS < size:
        part *= 2
    return part
