"""How the heads of answers are taken apart from what follows them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncv2d_stages.fetch._hosts.dns import open_lookup
from asyncv2d_stages.fetch._hosts.safety import Policy
from asyncv2d_stages.fetch._http.session import family, open_session
from asyncv2d_stages.fetch.http import HttpFetcher
from tests.unit.fetch.proxies import listening
from tests.unit.fetch.test_http_raw import head

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

SIZE = 400_000
ALL = bytes(SIZE)
CHUNKS = b"".join(b"3e8\r\n%b\r\n" % ALL[:1000] for _ in range(SIZE // 1000)) + b"0\r\n\r\n"
BODIES: Mapping[str, bytes] = {
    "a length": head(Content_Length=SIZE) + ALL,
    "chunks": head(Transfer_Encoding="chunked") + CHUNKS,
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_that_comes_faster_than_it_is_read(kind: str) -> None:
    """Has an end all the same, though its connection stays open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BODIES[kind])
        await reader.read()
        writer.close()

    settings = HttpFetcher()
    names = open_lookup(Policy("auto"), 5, family(settings), None)
    with anyio.fail_after(20):
        async with (
            listening(serve) as address,
            names as lookup,
            open_session(settings, lookup) as session,
            session.get(f"http://{address}/") as response,
        ):
            assert response.connection is not None
            transport = response.connection.transport
            assert isinstance(transport, asyncio.ReadTransport)
            while transport.is_reading():
                await anyio.lowlevel.checkpoint()
            assert await response.read() == ALL
