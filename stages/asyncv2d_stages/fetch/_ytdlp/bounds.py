"""Bounds what yt-dlp reads at once: it takes an answer whole, however long its server goes on.

Its own handler of HTTP reads packed answers, and the bodies of redirects, before anybody sees them;
so the bound is laid below it, where the bytes come and where they are unpacked.
"""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._ytdlp.guard import RefusedError
from asyncv2d_stages.fetch._ytdlp.instead import instead

_PIECE = 1 << 16
_DROP = 64
_GZIP = zlib.MAX_WBITS | 16


@contextmanager
def bounded(most: int, *, each: bool) -> Iterator[None]:
    """Within it, nothing that is read at once is larger than ``most`` bytes, packed or unpacked.

    ``each``: nor is any answer as it is sent, read in however many pieces.
    """
    from yt_dlp.networking import _urllib

    unpacking = _urllib.HTTPHandler
    with ExitStack() as stack:
        read = partial(_read, http.client.HTTPResponse.read, most, each)
        stack.enter_context(instead(http.client.HTTPResponse, "read", _as_method(read)))
        for name, unpack in (("gz", _gunzip), ("deflate", _inflate), ("brotli", _unbrotli)):
            stack.enter_context(instead(unpacking, name, staticmethod(partial(unpack, most))))
        yield


def read_whole(read: Callable[[int], bytes], most: int) -> bytes:
    """All that ``read`` gives. Raises RefusedError where that is more than ``most`` bytes."""
    pieces, size = [], 0
    while piece := read(_PIECE):
        size += len(piece)
        _check(size, most)
        pieces.append(piece)
    return b"".join(pieces)


def _as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        return function(self, *args)

    return method


def _read(
    read: Callable[..., bytes],
    most: int,
    each: bool,
    answer: http.client.HTTPResponse,
    amount: int | None = None,
) -> bytes:
    if amount is not None:
        piece = read(answer, amount)
        if each:
            taken = vars(answer)["taken"] = vars(answer).get("taken", 0) + len(piece)
            _check(taken, most)
        return piece
    if answer.length is not None:  # then all of it has to come, or that is an error
        _check(answer.length, most)
        return read(answer)
    return read_whole(partial(_read, read, most, each, answer), most)


def _check(size: int, most: int) -> None:
    if size > most:
        detail = f"the page or playlist is larger than {most} bytes"
        raise RefusedError(ItemError(Cause.TOO_LARGE, detail))


def _gunzip(most: int, data: bytes) -> bytes:
    return _unpacked(zlib.decompressobj(_GZIP), data, most) if data else data


def _inflate(most: int, data: bytes) -> bytes:
    """Meant is zlib's format; many servers send the bare stream."""
    if not data:
        return data
    try:
        return _unpacked(zlib.decompressobj(-zlib.MAX_WBITS), data, most)
    except zlib.error:
        return _unpacked(zlib.decompressobj(), data, most)


def _unpacked(unpacker: zlib._Decompress, data: bytes, most: int) -> bytes:
    found = unpacker.decompress(data, most + 1)
    _check(len(found), most)
    if not unpacker.eof:
        raise zlib.error("the compressed answer is cut off")
    return found


def _unbrotli(most: int, data: bytes) -> bytes:
    from yt_dlp.dependencies import brotli

    if not data:
        return data
    unpacker = brotli.Decompressor()
    try:
        found: bytes = unpacker.process(data, output_buffer_limit=most + 1)
    except TypeError:  # before its release 1.2: little by little
        pieces = (data[start : start + _DROP] for start in range(0, len(data), _DROP))
        found = read_whole(lambda _: next(filter(None, map(unpacker.process, pieces)), b""), most)
    _check(len(found), most)
    if not unpacker.is_finished():
        raise brotli.error("the compressed answer is cut off")
    return found
