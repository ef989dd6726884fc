"""Takes the head of an answer apart from what comes with it.

Where aiohttp cannot make sense of what follows a head (more than was announced, chunks that are
none), it drops all that came at once: of a small file, the whole answer. Nor does it notice what
comes when nothing is asked for, and takes it for the answer to the next request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
else:
    ResponseHandler = object  # aiohttp is imported where it is used

_BEGIN = b"HTTP/"
_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"\s*(HTTP/1\.\d 1(?!01)|\Z)")  # the answer itself is yet to come
_LONGEST = 1 << 18
# In a head of small letters: they are looked for in each.
_LENGTH = re.compile(rb"\ncontent-length:([^\n]*)")
_CHUNKED = re.compile(rb"\ntransfer-encoding:[^\n]*\bchunked\s*\n")
_AS_IT_IS = re.compile(rb"\ntransfer-encoding:[ \t]*identity[ \t\r]*(?=\n)", re.IGNORECASE)
_LENGTH_AS_SENT = re.compile(_LENGTH.pattern, re.IGNORECASE)


@cache
def protocol() -> type[ResponseHandler]:
    """Aiohttp's protocol of a connection, which hears of each head before anything that follows."""
    from aiohttp.client_proto import ResponseHandler as Handler

    return type("HeadFirst", (_HeadFirst, Handler), {})


class _HeadFirst(ResponseHandler):
    on_more: Callable[[], None] | None = None  # hears that more came than was asked for
    _head: bytes | None = None  # what came of it so far; None: all is handed on as it comes
    _body: Any = None  # of the answer to what was asked

    def set_response_params(self, **params: Any) -> None:
        """A request is to be sent."""
        self._head, self._body = b"", None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Heads are handed on as a whole; nothing: what was held back is to be gone on with."""
        if data and self._head is not None and not (data := self._take_heads(data)):
            return
        super().data_received(data)

    def _take_heads(self, data: bytes) -> bytes:
        """What follows the heads in ``data``."""
        while data and self._head is not None:
            if self._is_answered():
                self._hear_more(data)
                return b""
            head, data = self._split(self._head + data)
            if head:
                super().data_received(head)
        return data

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        end = _END.search(data)
        if end is not None:
            head, rest = data[: end.end()], data[end.end() :]
            self._head = b"" if _INTERIM.match(head) else None
            clear = with_one_length(head)
            if clear is not head:
                self.force_close()
            return clear, rest
        if len(data) < _LONGEST and _BEGIN.startswith(data.lstrip(b"\r\n")[: len(_BEGIN)]):
            self._head = data
            self.start_timeout()
            return b"", b""
        self._head = None  # no head at all
        return b"", data

    def feed_data(self, data: Any, size: int = 0) -> None:
        """A head was read."""
        message, body = data
        if message.code == 101 or message.code >= 200:
            if self._body is not None:
                self._tell()
            else:
                self._body = body
                body.on_eof(self._listen)
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """The connection broke, or what came cannot be read."""
        from aiohttp.http_exceptions import HttpProcessingError

        if isinstance(exc, HttpProcessingError) and self._is_answered():
            self._tell()
        super().set_exception(exc, *cause)

    def _is_answered(self) -> bool:
        return self._body is not None and bool(self._body.is_eof())

    def _listen(self) -> None:
        self._head = b""

    def _hear_more(self, data: bytes) -> None:
        if data.strip(b"\r\n"):
            self._tell()
            if self.transport is not None:
                self.transport.close()

    def _tell(self) -> None:
        self.force_close()
        if self.on_more is not None:
            self.on_more()


def with_one_length(head: bytes) -> bytes:
    """``head`` as it is meant, where it says more than once how long its body is.

    Chunks count more than a length (RFC 9112, 6.3), and the same length twice is one (RFC 9110,
    8.6); aiohttp refuses both, and any transfer encoding beside a length, be it none.
    """
    small = head.lower()
    said = [one.strip() for line in _LENGTH.findall(small) for one in line.split(b",")]
    if not said:
        return head
    if b"\ntransfer-encoding:" in small:
        if _CHUNKED.search(small):
            return _LENGTH_AS_SENT.sub(b"", head)
        head = _AS_IT_IS.sub(b"", head)
    if len(said) == 1 or len(set(said)) > 1:
        return head
    lines = iter([b"\nContent-Length: %b\r" % said[0]])
    return _LENGTH_AS_SENT.sub(lambda _: next(lines, b""), head)
