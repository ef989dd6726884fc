"""Takes the head of an answer apart from what comes with it.

Where aiohttp cannot make sense of what follows a head (more than was announced, chunks that are
none), it drops all that came at once: of a small file, the whole answer.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

_END = b"\r\n\r\n"
_INTERIM = re.compile(rb"HTTP/1\.\d 1")  # the answer itself is yet to come
_LONGEST = 1 << 18


@cache
def protocol() -> type[ResponseHandler]:
    """Aiohttp's protocol of a connection, which hears of each head before anything that follows."""
    from aiohttp.client_proto import ResponseHandler

    class _HeadFirst(ResponseHandler):
        _head: bytes | None = b""  # what came of it so far; None once it is complete

        def set_response_params(self, **params: Any) -> None:
            """A request is to be sent."""
            self._head = b""
            super().set_response_params(**params)

        def data_received(self, data: bytes) -> None:
            """The head is told from what follows it, in whatever pieces it comes."""
            if data and not (data := self._take_heads(data)):
                return
            super().data_received(data)  # nothing: what was held back is to be gone on with

        def _take_heads(self, data: bytes) -> bytes:
            """Hand heads on, or pieces of them; gives what follows them."""
            while data and self._head is not None:
                head, data = self._split(self._head, data)
                super().data_received(head)
            return data

        def _split(self, before: bytes, data: bytes) -> tuple[bytes, bytes]:
            head = before + data
            end = head.find(_END) + len(_END)
            if end < len(_END):
                self._head = head if len(head) < _LONGEST else None
                return data, b""
            self._head = b"" if _INTERIM.match(head) else None
            return data[: end - len(before)], data[end - len(before) :]

    return _HeadFirst
