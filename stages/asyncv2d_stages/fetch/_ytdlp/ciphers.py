"""Segments of HLS that are encrypted, and what can be told of them: their ends."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._ytdlp.instead import instead
from asyncv2d_stages.fetch._ytdlp.segment_end import End
from asyncv2d_stages.fetch._ytdlp.segment_kind import kind_of

_ENCRYPTED = re.compile(r"#EXT-X-KEY:(?:[^\n]*,)?METHOD=(?!NONE|AES-128)([\w-]+)")
_BLOCK = 16
_CUT = "an encrypted segment is cut off, or of another key: its last block is not filled"


def is_encrypted(playlist: str) -> bool:
    """Whether an HLS playlist has segments that are to be decrypted."""
    return "METHOD=AES-128" in playlist


def check_encryption(playlist: str) -> None:
    """Raise ItemError for an HLS playlist whose segments yt-dlp cannot decrypt by itself."""
    if (method := _ENCRYPTED.search(playlist)) is not None:
        detail = f"the segments are encrypted in a way that cannot be undone here ({method[1]})"
        raise ItemError(Cause.NO_FORMAT, detail)


def ends_checked() -> AbstractContextManager[None]:
    """Within it, a row's segments have to end as they were encrypted; yt-dlp cuts off any end."""
    from yt_dlp.downloader import fragment

    return instead(fragment, "unpad_pkcs7", Filling().without)


class Filling:
    """What the last blocks of a row's segments are filled with: bytes that say how many they are.

    Where it is full, one of these alone follows; some leave that out, but then in all segments.
    """

    def __init__(self) -> None:
        self._fills_all = False
        self._leaves_out = False

    def without(self, data: bytes) -> bytes:
        """The segment alone. Raises ItemError (truncated) where it was cut off."""
        size = data[-1] if data else 0
        is_filled = 1 <= size <= _BLOCK and data.endswith(bytes([size]) * size)
        if is_filled and len(data) > size:
            self._fills_all |= size == _BLOCK
            data = data[:-size]
        else:
            self._leaves_out = True
            if not _is_whole(data):
                raise ItemError(Cause.TRUNCATED, _CUT)
        if self._fills_all and self._leaves_out:
            raise ItemError(Cause.TRUNCATED, _CUT)
        return data


def _is_whole(data: bytes) -> bool:
    """Whether it is media of a known kind, and ends where that does."""
    end = End(data)
    end.take(data)
    return kind_of(data) is not None and not end.is_missing and not end.is_lost
