"""What the readers of line-based formats share: finding a shard again by the byte it begins at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from asyncv2d.ports import Settings
from asyncv2d.types import Record, ShardSpec, UserError

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, Any]

_BINARY_MAGIC = {
    b"PAR1": "a parquet file",
    b"\x1f\x8b": "compressed with gzip",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}


class CountedLines(Iterator[str]):
    """The lines of a file as text; ``position`` is the byte after the last line handed out."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self.position = file.tell()

    def __next__(self) -> str:
        line = next(self._file)
        encoding = "utf-8" if self.position else "utf-8-sig"
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError:
            raise UserError(f"{self._path}: not UTF-8 text at byte {self.position}") from None
        self.position += len(line)
        return text


class LineReader(Settings):
    """Base of the readers whose records begin and end at line ends."""

    paths: tuple[str, ...]
    """Input files, in order."""
    columns: tuple[str, ...]
    """Columns to read; each must be there."""

    @abstractmethod
    def _header(self, path: str, lines: CountedLines) -> Sequence[str]:
        """Take the header off ``lines``, where the format has one; the names of the columns."""

    @abstractmethod
    def _parse(self, path: str, lines: CountedLines, header: Sequence[str]) -> Iterator[Columns]:
        """The records in ``lines``, each made from no more lines than it needs."""

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """Cut every file into shards; the last one of a file may be short."""
        shard = 0
        for path in self.paths:
            for start, stop, offset in self._cut(path, samples_per_shard):
                yield ShardSpec(shard, path, start, stop, offset)
                shard += 1

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The records of one shard."""
        with open_text(shard.source) as file:
            header = self._header(shard.source, CountedLines(file, shard.source))
            file.seek(shard.offset)
            records = self._parse(shard.source, CountedLines(file, shard.source), header)
            for record in islice(records, shard.stop - shard.start):
                yield Record({name: record.get(name) for name in self.columns})

    def column_types(self) -> pa.Schema:
        """All is text."""
        import pyarrow as pa

        return pa.schema([(name, pa.string()) for name in self.columns])

    def _cut(self, path: str, size: int) -> Iterator[tuple[int, int, int]]:
        with open_text(path) as file:
            lines = CountedLines(file, path)
            header = self._header(path, lines)
            check_columns(path, header, self.columns)
            records = self._parse(path, lines, header)
            start, offset = 0, lines.position
            while count := sum(1 for _ in islice(records, size)):
                yield start, start + count, offset
                start, offset = start + count, lines.position


def check_columns(path: str, have: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise UserError unless all wanted columns are there."""
    for name in wanted:
        if have.count(name) > 1:
            raise UserError(f"{path}: {have.count(name)} columns are called {name!r}; keep one")
    missing = [name for name in wanted if name not in have]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(map(repr, missing))}; its columns are: {', '.join(have)}"
            " (see --url_col, --caption_col, --clip_col, --save_additional_columns)"
        )


@contextmanager
def open_text(path: str) -> Iterator[BinaryIO]:
    """Open a text file. Raises UserError where it is none."""
    try:
        with Path(path).open("rb") as file:
            _check_is_text(path, file.read(4))
            file.seek(0)
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot read the input file: {error.strerror}") from None


def _check_is_text(path: str, head: bytes) -> None:
    for magic, what in _BINARY_MAGIC.items():
        if head.startswith(magic):
            raise UserError(f"{path}: this is {what}, not text; say so with --input_format")
    if b"\0" in head:
        raise UserError(f"{path}: this is a binary file, not text; see --input_format")
