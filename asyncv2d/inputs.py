"""Which files the input is made of, and which format they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asyncv2d.registry import names
from asyncv2d.remote_errors import missing_driver, translating
from asyncv2d.types import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

STDIN = "-"
_SUFFIX_FORMATS = {
    "tab": "tsv",
    "pq": "parquet",
    "ndjson": "jsonl",
    "text": "txt",
    "tar": "webdataset",
}
_COMPRESSIONS = ("gz", "gzip", "zst", "zstd", "bz2", "xz")
_IS_PATTERN = re.compile(r"[*?\[]")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def find_inputs(url_list: str | Sequence[str], input_format: str | None) -> tuple[str, list[str]]:
    """The format and the files, sorted, of what the user calls the input.

    That is a file, a folder, or a pattern (``data/*.csv``, ``{00..99}.tar``), on this machine or of
    any scheme of fsspec, or several of those. Raises UserError where they are not to be found or
    of several formats.
    """
    given = [url_list] if isinstance(url_list, str) else list(url_list)
    if not given:
        raise UserError("url_list: no input; give a file, a folder or a pattern such as 'a/*.csv'")
    if STDIN in given and len(given) > 1:
        raise UserError("url_list: '-' (stdin) cannot be read together with files")
    files = {file for path in given for file in _files(path, input_format)}
    formats = sorted({input_format or format_of(file) for file in files})
    if len(formats) > 1:
        raise UserError(
            f"{', '.join(given)}: {' and '.join(formats)} files; choose with --input_format"
        )
    return formats[0], sorted(files)


def format_of(path: str, default: str = "csv") -> str:
    """The format that a file's name tells; that of its compression is passed over."""
    name = urlsplit(path).path if "://" in path else path
    suffixes = re.split(r"[/\\]", name)[-1].lower().split(".")[1:]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    suffix = _SUFFIX_FORMATS.get(suffix, suffix)
    return suffix if suffix in names("read") else default


def _files(path: str, input_format: str | None) -> list[str]:
    if path == STDIN:
        return [path]
    if "://" in path:
        return _remote_files(path, input_format)
    if not path or not Path(path).exists():
        return _matching(path, input_format)
    if _is_passing(path):
        raise UserError(f"{path}: this can be read by one process alone; use - for standard input")
    if not Path(path).is_dir():
        return [path]
    with _readable(path):
        inside = [str(file) for file in Path(path).iterdir() if file.is_file()]
    return _tables(path, inside, input_format)


def _is_passing(path: str) -> bool:
    """Whether it is a pipe, or a name that means another file in each process."""
    is_own = path.startswith(("/dev/stdin", "/dev/fd/", "/proc/"))
    return is_own or not (Path(path).is_file() or Path(path).is_dir())


def _matching(pattern: str, input_format: str | None) -> list[str]:
    """The files of a pattern, which is no file itself."""
    if _RANGE.search(pattern):
        return [file for path in _counted(pattern) for file in _files(path, input_format)]
    if not _IS_PATTERN.search(pattern):
        raise UserError(f"{pattern or 'url_list'}: no such input file")
    root = Path(Path(pattern).anchor)
    with _readable(pattern):
        matches = root.glob(str(Path(pattern).relative_to(root)))
        found = [str(file) for file in matches if file.is_file()]
    return _of_pattern(pattern, found, input_format)


def _of_pattern(pattern: str, found: Sequence[str], input_format: str | None) -> list[str]:
    """Those of the files that are tables by name; all, if none is: the pattern names them."""
    if not found:
        raise UserError(f"{pattern}: no file matches this pattern")
    return [file for file in found if _is_table(file, input_format)] or list(found)


def _tables(folder: str, inside: Sequence[str], input_format: str | None) -> list[str]:
    """Those of the files in a folder that are tables, or the tars of an earlier dataset."""
    wanted = [input_format] if input_format else names("read")
    tables = [file for file in inside if _is_table(file, input_format)]
    if not tables:
        raise UserError(f"{folder}: no {' or '.join(wanted)} file in this folder")
    # What lies beside tars is their ledgers.
    return [file for file in tables if format_of(file) == "webdataset"] or tables


def _is_table(file: str, input_format: str | None) -> bool:
    name = re.split(r"[/\\]", file)[-1]
    is_report = name.startswith((".", "_")) or name.endswith("_stats.json")
    found = format_of(file, default="")
    return not is_report and found != "" and found == (input_format or found)


def _counted(pattern: str) -> Iterator[str]:
    """The names that ``a{00..12}`` stands for."""
    ranges = [(match[1], match[2]) for match in _RANGE.finditer(pattern)]
    numbers = [
        [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        for first, last in ranges
    ]
    texts = _RANGE.sub("\0", pattern).split("\0")
    for chosen in product(*numbers):
        yield "".join(text + number for text, number in zip(texts, [*chosen, ""], strict=True))


def _remote_files(url: str, input_format: str | None) -> list[str]:
    if _RANGE.search(url):
        return [file for path in _counted(url) for file in _remote_files(path, input_format)]
    with _readable(url):
        import fsspec  # imported here: files of this machine need none of it

        system, name = fsspec.core.url_to_fs(url)
        if url.startswith(("http://", "https://")) or "::" in url:
            return [url]  # a web server has no folders, and a ``?`` is no pattern there
        if _IS_PATTERN.search(name):
            found = _urls(system, system.glob(name, detail=True).values())
            return _of_pattern(url, found, input_format)
        info = system.info(name)
        if info["type"] != "directory":
            return [url]
        return _tables(url, _urls(system, system.ls(name, detail=True)), input_format)


def _urls(system: AbstractFileSystem, found: Iterable[Mapping[str, Any]]) -> list[str]:
    return [system.unstrip_protocol(info["name"]) for info in found if info["type"] == "file"]


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Say in one line why a place cannot be looked at."""
    with translating(lambda error: UserError(f"{path}: {_reason(path, error)}")):
        yield


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such input file"
    if isinstance(error, ImportError):
        return missing_driver(path.partition("://")[0], error)
    return f"cannot read the input: {' '.join(str(error).split()) or type(error).__name__}"
