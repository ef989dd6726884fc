"""Tests of GIFs: films, single pictures, and those that are cut off."""

from __future__ import annotations

import io

import pytest

from asyncv2d.gif import Blocks, read_blocks
from asyncv2d.probe import open_media
from asyncv2d.truncation import is_truncated
from asyncv2d.types import Blob, Cause, ItemError

_SCREEN = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6)  # 1 × 1 pixels, and a table of two colours
_DELAY = b"\x21\xf9\4\0\x0a\0\0\0"
_PICTURE = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
_PICTURE_WITH_TABLE = b"\x2c\0\0\0\0\1\0\1\0\x80" + bytes(6) + b"\2\2\x44\1\0"
_FILM = _SCREEN + _DELAY + _PICTURE + _DELAY + _PICTURE_WITH_TABLE
_END = b"\x3b"


def blocks(data: bytes) -> Blocks:
    """The blocks of a file."""
    return read_blocks(io.BytesIO(data), len(data))


@pytest.mark.parametrize("end", [_END, b"", _END + b"padding"])
def test_a_whole_one(end: bytes) -> None:
    """Its pictures are counted; that it ends is said or not."""
    assert blocks(_FILM + end) == Blocks(2, is_cut=False)


def test_wherever_it_is_cut() -> None:
    """Within a block that is seen; between two of them it cannot be."""
    lengths = [len(_SCREEN), len(_DELAY), len(_PICTURE), len(_DELAY), len(_PICTURE_WITH_TABLE)]
    between = {sum(lengths[:count]) for count in range(1, 6)}
    whole = {end for end in range(6, len(_FILM) + 1) if not is_truncated(io.BytesIO(_FILM[:end]))}
    assert whole == between


def test_a_film_is_media() -> None:
    """As any other video."""
    with open_media(Blob.of(_FILM + _END)) as media:
        assert media.video is not None


@pytest.mark.parametrize(
    "data",
    [
        _SCREEN + _PICTURE + _END,
        b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + bytes(100),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    ],
    ids=["gif", "avif", "heic"],
)
def test_a_picture_is_none(data: bytes) -> None:
    """Also one that a decoder of video would take for a very short one."""
    with pytest.raises(ItemError) as caught, open_media(Blob.of(data)):
        pass
    assert caught.value.cause is Cause.NOT_MEDIA
