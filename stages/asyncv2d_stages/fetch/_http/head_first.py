"""Takes the head of an answer apart from what comes with it.

Where aiohttp cannot make sense of what follows a head (more than was announced, chunks that are
none), it drops all that came at once: of a small file, the whole answer.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

_END = b"\r\n\r\n"


@cache
def protocol() -> type[ResponseHandler]:
    """Aiohttp's protocol of a connection, which hears of each head before anything that follows."""
    from aiohttp.client_proto import ResponseHandler

    class _HeadFirst(ResponseHandler):
        _has_begun = False

        def set_response_params(self, **params: Any) -> None:
            """A request is to be sent."""
            self._has_begun = False
            super().set_response_params(**params)

        def data_received(self, data: bytes) -> None:
            """The first of it is the answer's head, and mostly all of that."""
            if not self._has_begun:
                self._has_begun = True
                head = data.find(_END) + len(_END)
                if len(_END) <= head < len(data):
                    super().data_received(data[:head])
                    data = data[head:]
            super().data_received(data)

    return _HeadFirst
