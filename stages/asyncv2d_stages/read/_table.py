"""What the readers of text tables share: finding a shard again by the byte it begins at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import PrivateAttr

from asyncv2d.ports import Settings
from asyncv2d.types import Record, ShardSpec, UserError
from asyncv2d_stages.read._keep import Keep
from asyncv2d_stages.read._text import Bad, Text

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, Any]


class _Open(NamedTuple):
    """An open file and its header; nothing in it refers to the reader that keeps it."""

    text: Text
    header: Sequence[str]

    def close(self) -> None:
        self.text.close()


class TableReader(Settings):
    """Base of the readers of text."""

    paths: tuple[str, ...]
    """Input files, in order."""
    columns: tuple[str, ...]
    """Columns to read; each must be there."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    """What to do with a record that cannot be read: stop, or go on and say so in its place."""
    _keep: Keep[_Open] = PrivateAttr(default_factory=Keep)

    @abstractmethod
    def _header(self, text: Text) -> Sequence[str]:
        """Take the header off ``text``, where the format has one; the names of the columns."""

    @abstractmethod
    def _parse(self, text: Text, header: Sequence[str]) -> Iterator[Columns | Bad]:
        """The records in ``text``; it has come to the end of each one when that is given."""

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """Cut every file into shards; the last one of a file may be short."""
        shard = 0
        for path in self.paths:
            for start, stop, offset, line in self._cut(path, samples_per_shard):
                yield ShardSpec(shard, path, start, stop, offset, line)
                shard += 1

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The records of one shard."""
        file = self._at(shard)
        try:
            for entry in islice(self._entries(file), shard.stop - shard.start):
                yield self._record(entry)
        except GeneratorExit:  # a shard that was given up: the next one is not far
            self._keep.put(file)
            raise
        except BaseException:  # closed, and raised as it is
            file.close()
            raise
        self._keep.put(file)

    def column_types(self) -> pa.Schema:
        """All is text."""
        import pyarrow as pa

        return pa.schema([(name, pa.string()) for name in self.columns])

    def _record(self, entry: Columns | Bad) -> Record:
        if isinstance(entry, Bad):
            return Record({}, problem=f"line {entry.line}: {entry.why}")
        return Record(entry)

    def _cut(self, path: str, size: int) -> Iterator[tuple[int, int, int, int]]:
        with closing(self._open(path)) as file:
            entries = self._entries(file)
            start, offset, line = 0, file.text.position, file.text.line
            while count := sum(1 for _ in islice(entries, size)):
                yield start, start + count, offset, line
                start, offset, line = start + count, file.text.position, file.text.line

    def _open(self, path: str) -> _Open:
        text = Text(path)
        try:
            header = self._header(text)
            check_columns(path, header, self.columns)
        except BaseException:
            text.close()
            raise
        return _Open(text, header)

    def _at(self, shard: ShardSpec) -> _Open:
        """The open file if it leads to the shard's first record, else the file opened anew."""
        if (file := self._keep.take()) is not None:
            if file.text.path == shard.source and file.text.jump(shard.offset, shard.line):
                return file
            file.close()
        file = self._open(shard.source)
        if shard.start > 0:
            file.text.jump(shard.offset, shard.line)
        return file

    def _entries(self, file: _Open) -> Iterator[Columns | Bad]:
        """All records, and one more for a rest of the file that cannot be read."""
        text = file.text
        for entry in self._parse(text, file.header):
            if isinstance(entry, Bad):
                self._check(text.path, entry)
            yield entry
        if text.damage:
            text.begin()
            entry = Bad(text.began, text.damage)
            self._check(text.path, entry)
            yield entry

    def _check(self, path: str, entry: Bad) -> None:
        if self.on_bad_row == "fail":
            raise UserError(
                f"{path}: line {entry.line}: {entry.why}"
                " (reading.on_bad_row: skip goes on without it)"
            )


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
