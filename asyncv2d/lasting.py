"""A stream that may be lost: a terminal goes away, or a disk is full, and the program goes on."""

from __future__ import annotations

import io
import os
from typing import TextIO


class Lasting(io.TextIOWrapper):
    """Writes for as long as the file takes anything, and then nowhere."""

    @classmethod
    def of(cls, file: TextIO) -> TextIO:
        """The same stream, which ``file`` is no longer to be used for."""
        if not isinstance(file, io.TextIOWrapper):
            return file
        encoding, errors = file.encoding, file.errors
        return cls(file.detach(), encoding, errors, line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write, unless the file is lost."""
        try:
            return super().write(text)
        except BlockingIOError:  # who reads is slow, and not gone
            return len(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, unless the file is lost."""
        try:
            super().flush()
        except BlockingIOError:
            return
        except OSError:
            self._lose()

    def _lose(self) -> None:
        # What is buffered would be written again, and fail again, when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
