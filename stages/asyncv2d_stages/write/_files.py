"""What the writers of one growing file share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path

from asyncv2d.types import Blob, Body

_CHUNK = 1 << 20


def open_at(path: Path, position: int) -> BufferedRandom:
    """The file, new or open behind its first ``position`` bytes; what came after is dropped."""
    file = path.open("r+b" if position else "w+b")
    size = file.seek(0, os.SEEK_END)
    if size < position:
        file.close()
        raise OSError(f"{path}: ends at byte {size}, and was to go on behind byte {position}")
    file.truncate(position)
    file.seek(position)
    return file


def chunks(body: Body) -> Iterator[bytes]:
    """The bytes of a body, exactly as many as it says. Raises OSError where there are fewer."""
    pieces = body.pieces if isinstance(body, Blob) else None
    if pieces is not None and sum(map(len, pieces)) == body.size:
        yield from pieces
        return
    left = body.size
    with body.open() as file:
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise OSError(f"unexpected end of data: {left} bytes of a part are missing")
            left -= len(chunk)
            yield chunk
