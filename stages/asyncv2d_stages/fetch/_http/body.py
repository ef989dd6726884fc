"""What a body is, seen from its first bytes and its declared type; and bodies sent compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from asyncv2d.types import Cause, ItemError

if TYPE_CHECKING:
    import aiohttp

ENOUGH = 512
"""Bytes from which on a body's start tells what it is."""
_HEAD = 4096
_PIECE = 1 << 20
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_MARKS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")
_PLAYLIST_MARKS = (b"#extm3u", b"<mpd")
# Of files that a decoder of video may take for a video of one frame, or that are none at all.
_OTHERS = {
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"%PDF-": "a PDF file",
    b"PK\x03\x04": "a ZIP archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
}
# Many a server puts here how it was told to send the body, or what the body is.
_NO_ENCODINGS = frozenset(
    {"", "identity", "none", "aws-chunked", "binary", "7bit", "8bit", "utf-8", "utf8"}
)
_TEXTUAL = ("text/", "application/json", "application/xml", "application/javascript")
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"pnot")
_MEDIA_MARKS = (
    *(
        b"\x1aE\xdf\xa3",
        b"RIFF",
        b"RF64",
        b"OggS",
        b"ID3",
        b"fLaC",
        b"FLV",
        b"\x00\x00\x01",
        b"FORM",
    ),
    *(b"\x30\x26\xb2\x75", b"caff", b".snd", b"#!AMR", b"wvPK", b".RMF", b"MThd", b"GIF8", b"DKIF"),
    *(
        b"\xff\xfb",
        b"\xff\xf3",
        b"\xff\xf2",
        b"\xff\xf1",
        b"\xff\xf9",
        b"\x0bw",
        b"\x7f\xfe\x80\x01",
    ),
)
_TS_PACKET = 188


def check_start(start: bytes, kind: str) -> None:
    """Refuse by its first bytes what is not media, whatever type it is sent with.

    The type decides where these tell nothing.
    """
    start = start[:_HEAD]  # a whole body may have come at once
    if kind in _HTML_TYPES and not looks_like_media(start):
        raise not_media(f"the server sent {kind}, a web page", is_page=True)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    bare = text.partition(b"?>")[2].lstrip() if text.startswith(b"<?xml") else text
    if bare.startswith(_HTML_MARKS):
        raise not_media("the body is a web page", is_page=True)
    if bare.startswith(_PLAYLIST_MARKS):
        raise not_media("the body is a playlist of media, not media", is_page=True)
    for mark, what in _OTHERS.items():
        if start.startswith(mark):
            raise not_media(f"the body is {what}")
    if text.startswith(b"<?xml"):
        raise not_media("the body is XML")
    if is_textual(kind) and not looks_like_media(start):
        raise not_media(f"the server sent {kind}, and that is what the body looks like")


def not_media(detail: str, *, is_page: bool = False) -> ItemError:
    """The error of a body that is something else; a page may be one that shows a video."""
    facts = {"is_page": True} if is_page else {}
    return ItemError(Cause.NOT_MEDIA, detail, **facts)


def is_textual(kind: str) -> bool:
    """Whether a Content-Type is that of a page or another text."""
    return kind.startswith(_TEXTUAL) or kind in _HTML_TYPES


def looks_like_media(start: bytes) -> bool:
    """Whether it begins as some format of media does."""
    is_ts = start[:1] == b"G" and start[_TS_PACKET : _TS_PACKET + 1] in (b"G", b"")
    return start[4:8] in _BOXES or start.startswith(_MEDIA_MARKS) or is_ts


def encoding_of(response: aiohttp.ClientResponse) -> str:
    """All that an answer says of how its body is encoded, for itself or for its transfer."""
    headers = response.headers
    own = ",".join(headers.getall("Content-Encoding", ()))
    if "Transfer-Encoding" not in headers:
        return own
    sent = ",".join(headers.getall("Transfer-Encoding")).split(",")
    # Chunks are put together by aiohttp, and some servers name them twice.
    return ",".join([own, *(name for name in sent if name.strip().lower() != "chunked")])


def is_plain(encoding: str) -> bool:
    """Whether a Content-Encoding says that the body is sent as it is, if not in the right words."""
    return not _encodings(encoding)


def _encodings(header: str) -> list[str]:
    names = (name.strip().lower() for name in header.split(","))
    return [name for name in names if name not in _NO_ENCODINGS]


class Unpacker:
    """Undoes a transfer's compression, a bounded piece at a time."""

    def __init__(self, encoding: str) -> None:
        self._name = ",".join(_encodings(encoding))
        if self._name not in ("gzip", "x-gzip", "deflate"):
            names = self._name[:40]
            detail = f"the server compressed the body ({names}), which it was not asked to do"
            raise ItemError(Cause.CORRUPT, detail)
        self._inner = self._new(b"")
        self._begun = False

    def _new(self, start: bytes) -> zlib._Decompress:
        if self._name != "deflate":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # Meant is zlib's format; some servers send the bare stream.
        is_bare = bool(start) and start[0] & 0x0F != 0x08
        return zlib.decompressobj(-zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What ``chunk`` adds to the body."""
        if not self._begun:
            self._inner, self._begun = self._new(chunk), True
        while chunk:
            if self._inner.eof:  # another member follows
                self._inner = self._new(chunk)
            try:
                piece = self._inner.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise ItemError(
                    Cause.CORRUPT, f"the body's compression is broken: {error}"
                ) from None
            if piece:
                yield piece
            chunk = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail

    def finish(self) -> None:
        """Check that nothing is missing."""
        if self._begun and not self._inner.eof:
            raise ItemError(Cause.TRUNCATED, "the compressed body is cut off")
