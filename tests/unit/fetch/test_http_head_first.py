"""How the heads of answers are taken apart from what follows them."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncv2d.types import Cause
from asyncv2d_stages.fetch._hosts.dns import open_lookup
from asyncv2d_stages.fetch._hosts.safety import Policy
from asyncv2d_stages.fetch._http.session import family, open_session
from asyncv2d_stages.fetch.http import HttpFetcher
from tests.unit.fetch.proxies import listening
from tests.unit.fetch.test_http_raw import answering, head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.fetch.conftest import Downloads

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


FILE = b"\0\0\0\x10ftypisom" + bytes(1000)
LENGTH = f"Content-Length: {len(FILE)}"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(FILE), FILE)
TWICE: Mapping[str, tuple[tuple[str, ...], bytes]] = {
    "the same": ((LENGTH, LENGTH), FILE),
    "the same, elsewhere": ((LENGTH.lower(), "ETag: 1", LENGTH), FILE),
    "the same in a line": ((f"{LENGTH}, {len(FILE)}",), FILE),
    "chunks, then a length": (("Transfer-Encoding: chunked", "Content-Length: 5"), IN_CHUNKS),
    "a length, then chunks": (("Content-Length: 5", "Transfer-Encoding: Chunked"), IN_CHUNKS),
    "a length, and that it is so": (("Transfer-Encoding: Identity ", LENGTH), FILE),
    "chunks in two lines": (("Transfer-Encoding: chunked",) * 2, IN_CHUNKS),
    "chunks twice in a line": (("Transfer-Encoding: chunked, Chunked",), IN_CHUNKS),
}


async def let_others_read() -> None:
    """So that what was written is read on its own."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("first", [None, 30])
@pytest.mark.parametrize("kind", TWICE)
async def test_a_length_that_is_told_twice(
    downloads: Downloads, kind: str, first: int | None
) -> None:
    """Is taken as it is meant, in whatever pieces it comes."""
    lines, body = TWICE[kind]
    answered = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answered[:first])
        await writer.drain()
        if first is not None:
            await let_others_read()
            writer.write(answered[first:])

    async with answering(answer) as base:
        data, facts = await downloads.one(f"{base}/a.mp4", retries=0)
    assert (data, facts["http_status"]) == (FILE, 200)


async def test_two_lengths(downloads: Downloads) -> None:
    """Are none."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head(Content_Length=f"{len(FILE)}\r\nContent-Length: 5") + FILE)

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/a.mp4", retries=0)
    assert error.cause is Cause.CONNECT
    assert "Content-Length" in error.detail


@pytest.mark.parametrize("answered", [b"SSH-2.0-OpenSSH_9.6\r\n", b"no", b"\r\n\r\nno"])
async def test_what_is_no_head(downloads: Downloads, answered: bytes) -> None:
    """Is seen at once, and not waited for to be complete."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answered)
        await reader.read()
        writer.close()

    async with listening(serve) as address:
        error = await downloads.failure(f"http://{address}/a.mp4", retries=0, timeout=40)
    assert error.cause is Cause.CONNECT
    assert error.detail.startswith("the answer cannot be read")


@pytest.mark.parametrize("before", ["", "\r\n", "\r\n\r\n"])
async def test_a_head_of_bare_lines(downloads: Downloads, before: str) -> None:
    """Is one as well."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{before}HTTP/1.1 200 OK\n{LENGTH}\n{LENGTH}\n\n".encode() + FILE)
        await reader.read()
        writer.close()

    async with listening(serve) as address:
        data, _ = await downloads.one(f"http://{address}/a.mp4", retries=0, timeout=40)
    assert data == FILE


TRANSFERS: Mapping[str, tuple[str, bytes, str | None]] = {
    "gzip, chunked": ("gzip, chunked", gzip.compress(FILE), None),
    "a line each": ("gzip\r\nTransfer-Encoding: chunked", gzip.compress(FILE), None),
    "deflate, chunked": ("Deflate, Chunked", zlib.compress(FILE), None),
    "gzip": ("gzip", gzip.compress(FILE), None),
    "half of it": ("gzip, chunked", gzip.compress(FILE)[:-9], "truncated"),
    "gzip of its own": ("chunked\r\nContent-Encoding: gzip", gzip.compress(FILE), None),
    "both": ("gzip, chunked\r\nContent-Encoding: gzip", gzip.compress(FILE), "corrupt"),
    "unknown": ("Br, chunked", FILE, "corrupt"),
}


@pytest.mark.parametrize("kind", TRANSFERS)
async def test_a_transfer_that_is_packed(downloads: Downloads, kind: str) -> None:
    """Is unpacked where it can be, though nobody asked for that."""
    coding, body, cause = TRANSFERS[kind]
    if "chunked" in coding.lower():
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head(Transfer_Encoding=coding) + body)

    async with answering(answer) as base:
        if cause is None:
            data, _ = await downloads.one(f"{base}/a.mp4", retries=0)
            assert data == FILE
            return
        error = await downloads.failure(f"{base}/a.mp4", retries=0)
    assert error.cause == cause
    assert "compressed" in error.detail
    assert ("(br)" in error.detail) == (kind == "unknown")
