"""Connections on which a server said more than it was asked are not used again.

aiohttp would take what came meanwhile for the answer to the next request. Where that happened once,
it may come too late to be seen, so such a host's connections serve one request each.
"""

from __future__ import annotations

import asyncio
import select
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncv2d_stages.fetch._http.head_first import protocol

if TYPE_CHECKING:
    from asyncv2d_stages.fetch._hosts.limits import Hosts


def in_order(kind: type[Any], hosts: Hosts | None) -> Any:
    """The connector ``kind`` with such care; without ``hosts``, each connection for itself."""
    return type(kind.__name__, (_InOrder, kind), {"hosts": hosts})


class _InOrder:
    hosts: Hosts | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._factory = partial(protocol(), loop=asyncio.get_running_loop())

    async def _create_connection(self, asked: Any, *limits: Any) -> Any:
        new: Any = super()
        made = await new._create_connection(asked, *limits)
        if self.hosts is not None:
            made.on_more = partial(self.hosts.hear_more, _place(asked.connection_key))
        return made

    async def _get(self, key: Any, traces: Any) -> Any:
        kept: Any = super()
        while (connection := await kept._get(key, traces)) is not None:
            is_clean = not connection.protocol.should_close and not _has_news(connection.transport)
            if is_clean and not self._says_more(key):
                return connection
            connection.close()
        return None

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        used: Any = super()
        used._release(key, protocol, should_close=should_close or self._says_more(key))

    def _says_more(self, key: Any) -> bool:
        return self.hosts is not None and self.hosts.says_more(_place(key))


def _place(key: Any) -> str:
    return f"{key.host}:{key.port}"


def _has_news(transport: asyncio.Transport) -> bool:
    """Whether something came that was not read yet, or the end did."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))
