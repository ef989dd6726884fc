"""The blocks of a GIF, of which FFmpeg reads as many as there are."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

MAGIC = b"GIF8"
_IMAGE, _EXTENSION = b"\x2c", b"\x21"
_SCREEN_END, _DESCRIPTOR = 13, 9
_HAS_TABLE = 0x80


class Blocks(NamedTuple):
    """How many pictures a GIF has, and whether it ends within a block."""

    pictures: int
    is_cut: bool


def read_blocks(file: BinaryIO, size: int) -> Blocks:
    """Go through the blocks of a file of ``size`` bytes."""
    file.seek(0)
    screen = file.read(_SCREEN_END)
    if len(screen) < _SCREEN_END:
        return Blocks(0, is_cut=True)
    file.seek(_table(screen[10]), 1)
    pictures = 0
    while (kind := file.read(1)) in (_IMAGE, _EXTENSION):
        if kind == _IMAGE:
            pictures += 1
            descriptor = file.read(_DESCRIPTOR)
            file.seek(_table(descriptor[-1]) if len(descriptor) == _DESCRIPTOR else 0, 1)
        file.seek(1, 1)  # the kind of extension, or of code
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], 1)
        else:
            return Blocks(pictures, is_cut=True)
    return Blocks(pictures, is_cut=file.tell() > size)


def _table(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & _HAS_TABLE else 0
