"""Answers that no server library would send, byte for byte."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncv2d.types import Cause, ItemError

if TYPE_CHECKING:
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server that has ``answer`` write to every request, whose head it gets, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def head(status: str = "200 OK", **headers: object) -> bytes:
    """The head of an answer."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


async def test_an_answer_that_nobody_asked_for(downloads: Downloads) -> None:
    """Is not taken for the one to the next request: its connection is left, and so are others.

    The next time it might come a moment later, when the next request is out already.
    """
    asked: list[str] = []
    connections: list[int] = []
    said_more = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
                connections[-1] += 1
                body = b"\0\0\0\x10ftyp" + asked[-1].encode().ljust(8)
                writer.write(head(Content_Length=len(body)) + body)
                await writer.drain()
                if len(asked) == 1:
                    await received.wait()
                    writer.write(head(Content_Length=12) + b"\0\0\0\x0cftypnone")
                    await writer.drain()
                    said_more.set()
        writer.close()

    received = anyio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with downloads.client(retries=0) as client:
            for path in ("/1.mp4", "/2.mp4", "/3.mp4"):
                blob, _ = await client.download(base + path)
                assert path.encode() in blob.read()
                blob.close()
                received.set()
                await said_more.wait()
                for _ in range(50):  # so that it is read before the next request
                    await anyio.lowlevel.checkpoint()
    assert asked == ["/1.mp4", "/2.mp4", "/3.mp4"]
    assert connections == [1, 1, 1]


async def test_an_answer_that_becomes_nonsense(downloads: Downloads) -> None:
    """Is cut off there, and nobody waits for more of it."""

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        assert request.startswith("GET /a.mp4")
        writer.write(head(Transfer_Encoding="chunked") + b"3e8\r\n" + bytes(1000) + b"\r\n")
        await writer.drain()
        for _ in range(50):  # so that it is read on its own
            await anyio.lowlevel.checkpoint()
        writer.write(b"zz\r\nabc")

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/a.mp4", retries=0, timeout=60, total_timeout=60)
    assert error.cause is Cause.TRUNCATED


BODY = b"\0\0\0\x10ftypisom" + bytes(1000)
TOLD_WRONG: Mapping[str, tuple[str, Mapping[str, object], bytes, str | None]] = {
    "more than was told": ("200 OK", {"Content_Length": len(BODY)}, BODY + b"more", None),
    "less was told": ("200 OK", {"Content_Length": 500}, BODY, None),
    "a chunk of no size": ("200 OK", {"Transfer_Encoding": "chunked"}, b"zz\r\nabc", "truncated"),
    "one of any size": (
        *("200 OK", {"Transfer_Encoding": "chunked"}),
        *(b"f" * 40 + b"\r\nabc", "truncated"),
    ),
    "such an error": ("500 No", {"Transfer_Encoding": "chunked"}, b"zz\r\nabc", "http_5xx"),
    "a length of words": ("200 OK", {"Content_Length": "abc"}, BODY, "connect"),
}


@pytest.mark.parametrize("kind", TOLD_WRONG)
async def test_a_head_that_does_not_fit_what_follows(downloads: Downloads, kind: str) -> None:
    """Counts for itself, also where all comes at once; as much is taken as it told of."""
    status, fields, body, cause = TOLD_WRONG[kind]

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, **fields) + body)

    async with answering(answer) as base:
        if cause is None:
            data, _ = await downloads.one(f"{base}/a.mp4")
            assert data == BODY[: int(str(fields["Content_Length"]))]
            return
        error = await downloads.failure(f"{base}/a.mp4", retries=0)
    assert error.cause == cause
    assert "message=" not in error.detail


@pytest.mark.parametrize("first", [1, 12, 40, 60])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
async def test_a_head_in_pieces(downloads: Downloads, first: int, before: bytes) -> None:
    """Counts for itself as well, and so does one that comes before it."""
    answered = before + head(Content_Length=len(BODY)) + BODY + b"more"

    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answered[:first])
        await writer.drain()
        for _ in range(50):  # so that it is read on its own
            await anyio.lowlevel.checkpoint()
        writer.write(answered[first:])

    async with answering(answer) as base:
        data, _ = await downloads.one(f"{base}/a.mp4", retries=0)
    assert data == BODY


RULES = b"User-agent: *\nDisallow: /closed\n"
PACKED_RULES = {
    "a byte order mark": ({}, b"\xef\xbb\xbf" + RULES),
    "gzip": ({"Content_Encoding": "gzip"}, gzip.compress(RULES)),
    "deflate": ({"Content_Encoding": "deflate"}, zlib.compress(RULES)),
    "both": ({"Content_Encoding": "GZIP"}, gzip.compress(b"\xef\xbb\xbf" + RULES)),
    "no encoding": ({"Content_Encoding": "utf-8"}, RULES),
    "long": ({"Content_Encoding": "gzip"}, gzip.compress(RULES + b"#" * (1 << 24))),
}


@pytest.mark.parametrize("kind", PACKED_RULES)
async def test_packed_rules(downloads: Downloads, kind: str) -> None:
    """A robots.txt is followed however it was sent."""
    fields, rules = PACKED_RULES[kind]

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        assert request.startswith("GET /robots.txt")
        writer.write(head(**fields) + rules)

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/closed.mp4", respect_robots_txt=True)
    assert error.cause is Cause.OPTED_OUT


@pytest.mark.parametrize("fields", [{"Content_Encoding": "br"}, {"Content_Encoding": "gzip"}])
async def test_rules_that_cannot_be_unpacked(
    downloads: Downloads, fields: Mapping[str, str]
) -> None:
    """Allow nothing."""

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        assert request.startswith("GET /robots.txt")
        writer.write(head(**fields) + gzip.compress(RULES)[:-9])

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/open.mp4", respect_robots_txt=True, retries=0)
    assert "robots.txt cannot be read" in error.detail


@pytest.mark.parametrize(
    "encoding", ["aws-chunked", "binary", "identity\r\nContent-Encoding: UTF-8"]
)
async def test_an_encoding_that_is_none(downloads: Downloads, encoding: str) -> None:
    """Changes nothing: the body is as it is sent, and its rest can be asked for."""
    body = bytes(range(256)) * 40
    asked: list[str] = []

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        fields = {"Content_Encoding": encoding, "ETag": '"1"', "Accept_Ranges": "bytes"}
        if len(asked) == 1:
            writer.write(head(Content_Length=len(body), **fields) + body[:5120])
        else:
            part = {"Content_Range": f"bytes 5120-{len(body) - 1}/{len(body)}"}
            writer.write(head("206 Partial Content", **fields, **part) + body[5120:])

    async with answering(answer) as base:
        data, _ = await downloads.one(f"{base}/a.mp4")
    assert data == body
    assert "Range: bytes=5120-" in asked[1]


async def test_an_answer_to_something_else(downloads: Downloads) -> None:
    """Such as a change of protocol is no web page, whatever type it has."""

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head("101 Switching Protocols", Upgrade="x", Content_Type="text/html"))

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/a.mp4", retries=0)
    assert error.cause is Cause.CONNECT
    assert error.facts["http_status"] == 101


async def test_an_answer_that_is_announced_for_ever(downloads: Downloads) -> None:
    """Does not count as one that has begun."""
    hung_up = anyio.Event()

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await anyio.sleep(0.01)
        finally:
            hung_up.set()

    limits = {"dns_timeout": 0.1, "connect_timeout": 0.1, "answer_timeout": 0.1}
    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/a.mp4", retries=0, total_timeout=60, **limits)
        await hung_up.wait()
    assert error.cause is Cause.TIMEOUT
    assert error.detail == "no answer began within 1.3 s"


async def test_a_body_that_outgrows_the_room_there_is(downloads: Downloads) -> None:
    """Is hung up on, for others wait for its turn at the host, and asked for again: one attempt."""
    spool, asked = downloads.spool, list[str]()
    large = b"\0\0\0\x10ftypisom" + bytes(2 << 20)

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        asked.append(request.split()[1])
        if asked[-1] == "/small.mp4":
            writer.write(head(Content_Length=16) + large[:16])
            return
        writer.write(head(Transfer_Encoding="chunked") + b"%x\r\n" % len(large) + large)
        writer.write(b"\r\n0\r\n\r\n")

    spool.share = 1000  # so that bodies have to lie on the disk
    others = await spool.disk.lease(spool.disk.limit - (1 << 20))
    async with answering(answer) as base:

        async def get_large() -> None:
            blob, facts = await client.download(f"{base}/large.mp4")
            assert (blob.read(), facts["attempts"]) == (large, 1)
            blob.close()

        async with (
            downloads.client(retries=0, host_connections=1) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(get_large)
            while not asked:
                await anyio.lowlevel.checkpoint()
            blob, _ = await client.download(f"{base}/small.mp4")
            blob.close()
            others.close()
    assert asked[:2] == ["/large.mp4", "/small.mp4"]
    assert set(asked[2:]) == {"/large.mp4"}


async def test_a_pause_that_a_broken_server_asks_for(downloads: Downloads) -> None:
    """Is granted, whatever is broken: for longer than rows wait, it is not asked again."""
    asked: list[str] = []

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(head("502 Bad Gateway", Retry_After=3600, Content_Length=0))

    async with answering(answer) as base:
        error = await downloads.failure(f"{base}/a.mp4", retries=5)
    assert (error.cause, error.attempts, len(asked)) == (Cause.HTTP_5XX, 1, 1)


def policy(length: int) -> Answer:
    """Answers with a file and a long rule about it."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        body = b"\0\0\0\x10ftypisom" + bytes(4)
        writer.write(head(Content_Security_Policy="x" * length, Content_Length=len(body)) + body)

    return answer


async def test_a_long_header(downloads: Downloads) -> None:
    """Is no reason to refuse a file."""
    async with answering(policy(60_000)) as base, downloads.client(retries=0) as client:
        blob, _ = await client.download(f"{base}/1.mp4")
        assert blob.size == 16
        blob.close()


async def test_cookies_that_are_no_ascii(downloads: Downloads) -> None:
    """Keep no others from being sent back; in UTF-8 they come with the same bytes."""
    asked: list[str] = []

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        if len(asked) == 1:
            lines = b"Set-Cookie: %b\r\n"
            values = (b"latin=caf\xe9", b"utf8=caf\xc3\xa9", b"wall=passed")
            cookies = b"".join(lines % value for value in values)
            start = head("302 Found", Location="/2.mp4", Content_Length=0)
            writer.write(start[:-2] + cookies + b"\r\n")
        else:
            writer.write(head(Content_Length=16) + b"\0\0\0\x10ftypisom" + bytes(4))

    async with answering(answer) as base, downloads.client(retries=0) as client:
        blob, _ = await client.download(f"{base}/1.mp4")
        blob.close()
    assert "wall=passed" in asked[1]
    assert "utf8=café" in asked[1]


async def test_an_endless_header(downloads: Downloads) -> None:
    """Is not kept in memory."""
    async with answering(policy(70_000)) as base, downloads.client(retries=0) as client:
        with pytest.raises(ItemError) as caught:
            await client.download(f"{base}/1.mp4")
    assert caught.value.cause is Cause.CONNECT


async def test_nonsense_is_an_answer(downloads: Downloads, videos: Mapping[str, bytes]) -> None:
    """A host that answers some requests in no way that can be read is not given up for that."""
    video = videos["short.mp4"]

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        is_good = request.startswith("GET /good")
        writer.write(
            head(Content_Length=len(video)) + video if is_good else b"\0 nonsense \0" * 999
        )

    async with answering(answer) as base, downloads.client(retries=0) as client:
        for _ in range(30):
            with pytest.raises(ItemError) as caught:
                await client.download(f"{base}/bad.mp4")
            assert caught.value.cause is Cause.CONNECT
            assert len(caught.value.detail) < 400
        blob, _ = await client.download(f"{base}/good.mp4")
        assert blob.read() == video
        blob.close()


@pytest.mark.parametrize(("parts", "arrives"), [(10, True), (300, False)])
async def test_a_server_that_hangs_up_again_and_again(
    downloads: Downloads, videos: Mapping[str, bytes], parts: int, arrives: bool
) -> None:
    """Attempts that bring a good part of the body do not count; those that bring little do."""
    video = videos["two-scenes.mp4"]

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        asked = re.search(r"Range: bytes=(\d+)-", request)
        start = int(asked[1]) if asked else 0
        size = f"bytes {start}-{len(video) - 1}/{len(video)}"
        part = {"Content_Range": size} if asked else {}
        status = "206 Partial Content" if asked else "200 OK"
        writer.write(head(status, ETag='"a"', Content_Length=len(video) - start, **part))
        writer.write(video[start : start + len(video) // parts + 1])

    async with answering(answer) as base, downloads.client(retries=1) as client:
        if arrives:
            blob, facts = await client.download(f"{base}/a.mp4")
            assert blob.read() == video
            assert facts["attempts"] == parts
            blob.close()
            return
        with pytest.raises(ItemError) as caught:
            await client.download(f"{base}/a.mp4")
        assert (caught.value.cause, caught.value.attempts) == (Cause.TRUNCATED, 2)


class Mirror:
    """Sends the first half of a file and hangs up, and then the rest of another one."""

    def __init__(self, first: Mapping[str, object], then: Mapping[str, object]) -> None:
        self._heads = [first, then]
        self.asked: list[str] = []
        self.bodies = [bytes([number]) * 4000 for number in (1, 2)]

    async def answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        """Take a request."""
        self.asked.append(request)
        number = min(len(self.asked), 2) - 1
        body, start = b"\0\0\0\x18ftypisom" + self.bodies[number], 0
        size = len(body)
        status, part = "200 OK", dict[str, object]()
        if number and "Range:" in request:
            start = size // 2
            status, part = (
                "206 Partial Content",
                {"Content_Range": f"bytes {start}-{size - 1}/{size}"},
            )
        writer.write(head(status, Content_Length=size - start, **part, **self._heads[number]))
        writer.write(body[start:] if number else body[: size // 2])


OLD, NEW = "Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"Last_Modified": OLD}, {"Last_Modified": NEW}),
        ({"ETag": '"a"', "Last_Modified": OLD}, {"Last_Modified": NEW}),
        ({"ETag": '"a"'}, {"ETag": '"b"'}),
    ],
)
async def test_the_rest_of_another_version(
    downloads: Downloads, first: Mapping[str, object], then: Mapping[str, object]
) -> None:
    """Is not put behind what is there, though the server should have noticed itself."""
    mirror = Mirror(first, then)
    async with answering(mirror.answer) as base:
        data, _ = await downloads.one(f"{base}/a.mp4", retries=3)
    assert data.endswith(mirror.bodies[1])
    assert "Range:" in mirror.asked[1]
    assert "Range:" not in mirror.asked[2]


async def test_the_rest_from_another_mirror(downloads: Downloads) -> None:
    """Is not asked for: that one may call another file by the same tag."""
    mirror = Mirror({"ETag": '"1"'}, {"ETag": '"1"'})
    sent: list[str] = []

    async def lead(request: str, writer: asyncio.StreamWriter) -> None:
        sent.append(request)
        location = f"{base}/mirror-{len(sent)}/a.mp4"
        writer.write(head("302 Found", Location=location, Content_Length=0))

    async with answering(mirror.answer) as base, answering(lead) as start:
        data, _ = await downloads.one(f"{start}/a.mp4", retries=3)
    assert data.endswith(mirror.bodies[1])
    assert not any("Range:" in request for request in mirror.asked)
