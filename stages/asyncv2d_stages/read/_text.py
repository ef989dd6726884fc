"""The text of an input file, line by line or in chunks, with the place one has come to."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from asyncv2d.types import UserError
from asyncv2d_stages.read._open import (
    BUFFER,
    buffered,
    check_is_text,
    damage,
    open_file,
    reading,
    unpacked,
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST = 64 << 20
_MOST_LINES = 10_000
NOT_UTF8 = "not UTF-8 text"


class Bad(Struct, frozen=True):
    """A record that cannot be read: the number of the line it begins at, and why."""

    line: int
    why: str


class TooLongError(Exception):
    """A record goes on and on: most likely a quote is missing somewhere."""


class Text(Iterator[str]):
    """A file's text from its beginning on.

    ``position`` counts the bytes (decompressed) and ``line`` the lines that were taken so far;
    ``began`` is the number of the line at which the current record begins. ``damage`` says why
    the rest of the file cannot be read, once that is known; before, everything readable comes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.position = self.line = self.began = 0
        self.damage: str | None = None
        self.is_utf8 = True
        self._buffer = b""
        self._at = self._mark = self._first = 0  # in the buffer: here, the record, its first line
        self._read_to = 0
        self._file = buffered(open_file(path))
        try:
            with reading(path):
                self._read, self._is_compressed = unpacked(self._file)
            is_empty = not self._fill()
            if is_empty and self.damage:
                raise UserError(f"{path}: {self.damage}")
            check_is_text(path, self._buffer)
        except BaseException:
            self._file.close()
            raise
        if self._buffer.startswith(_BYTE_ORDER_MARK):
            self.position = self._at = len(_BYTE_ORDER_MARK)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def begin(self) -> None:
        """A record begins here."""
        self._mark = self._at
        self.began = self.line + 1
        self.is_utf8 = True

    def __next__(self) -> str:
        if self.line - self.began >= _MOST_LINES:
            raise TooLongError(f"a quote is not closed within {_MOST_LINES} lines")
        end = self._buffer.find(b"\n", self._at) + 1 or self._line_end()
        data = self._buffer[self._at : end]
        if not data:
            raise StopIteration
        if self.line < self.began:
            self._first = end - self._mark
        self._at = end
        self.position += len(data)
        self.line += 1
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.is_utf8 = False
            return data.decode(errors="replace")

    def lines(self) -> Iterator[str | Bad]:
        """The lines that are not blank, as records."""
        self.begin()
        for line in self:
            if not self.is_utf8:
                yield Bad(self.began, NOT_UTF8)
            elif line.strip():
                yield line
            self.begin()

    def give_back(self) -> None:
        """Leave the record at its first line: the others are yet to be taken."""
        if self.line > self.began:
            self.position -= self._at - self._mark - self._first
            self._at = self._mark + self._first
            self.line = self.began

    def chunk(self) -> bytes:
        """The bytes that come next, none at the end; ``took`` says which of them are done with."""
        if self._at == len(self._buffer):
            self._mark = len(self._buffer) - (self._read_to - self.position)
            self._fill()
        data = self._buffer[self._at :]
        self._at = len(self._buffer)
        return data

    def took(self, data: bytes) -> None:
        """These bytes, the next ones, are done with."""
        self.position += len(data)
        self.line += data.count(b"\n")

    def jump(self, position: int, line: int) -> bool:
        """Go on at another place, the beginning of a record.

        False if it lies behind, and only reading the file from its beginning leads there.
        """
        if not self._is_in_buffer(position) and not self._seek(position):
            if position < self._read_to or self.damage is not None:
                return False
            while self._read_to < position and self._buffer:
                self._mark = self._at = len(self._buffer)
                self._fill()
        self._at = self._mark = position - (self._read_to - len(self._buffer))
        self.position, self.line = position, line
        return True

    def _is_in_buffer(self, position: int) -> bool:
        return self._read_to - len(self._buffer) <= position <= self._read_to

    def _seek(self, position: int) -> bool:
        if self._is_compressed or self.damage is not None:
            return False
        try:
            self._file.seek(position)
        except (ValueError, OSError):  # a server that gives whole files only
            return False
        self._buffer, self._read_to = b"", position
        return True

    def _line_end(self) -> int:
        """Fill the buffer until it holds a whole line; where that ends."""
        end = 0
        while not end and self._fill():
            end = self._buffer.find(b"\n", self._at) + 1
            if len(self._buffer) > LONGEST:
                if self.line >= self.began:
                    raise TooLongError(f"a quote is not closed within {LONGEST >> 20} MiB")
                self.damage = f"a record is longer than {LONGEST >> 20} MiB"
        return end or (self._at if self.damage else len(self._buffer))

    def _fill(self) -> bool:
        """Read on; what lies before the record is dropped. False at the end.

        It is read in blocks of one size, so that where a damaged file ends depends on it alone.
        """
        kept = self._buffer[self._mark :]
        self._at -= self._mark
        self._mark = 0
        blocks = [kept]
        for _ in range(max(1, len(kept) // BUFFER)):
            if not (block := self._block()):
                break
            blocks.append(block)
        self._buffer = b"".join(blocks)
        return len(blocks) > 1

    def _block(self) -> bytes:
        if self.damage is not None:
            return b""
        try:
            with reading(self.path):
                block = self._read(BUFFER)
        except UserError as error:
            self.damage = damage(error.__cause__) if self._is_compressed else None
            if self.damage is None:
                raise
            return b""
        self._read_to += len(block)
        return block
