"""Files of a real FTP server."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncv2d.ports import FetchContext
from asyncv2d.types import Cause, ItemError, Row
from asyncv2d_stages.fetch._hosts import dns, host
from asyncv2d_stages.fetch.remote import RemoteFetcher
from tests.unit.fetch.ftp_server import FtpServer, Visit, ftp_server

if TYPE_CHECKING:
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio
BODY = os.urandom(3_000_000)
SECRET = "p%3A%2F%40w"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that takes no more connections is asked again at once."""
    monkeypatch.setattr(host, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture
async def server() -> AsyncIterator[FtpServer]:
    """A server with one file, whose connections are all gone at the end."""
    async with ftp_server() as found:
        found.files[b"/d/a.mp4"] = BODY
        found.users[b"me@here"] = b"p:/@w"
        yield found
        with anyio.fail_after(60):
            await found.until_all_left()


async def fetch(downloads: Downloads, url: str, **settings: Any) -> tuple[bytes, int]:
    """The body of one row, and the number of attempts."""
    fetcher = RemoteFetcher.model_validate({"retries": 0, **settings})
    with anyio.fail_after(60):
        async with fetcher.open(FetchContext(downloads.spool, 4)) as fetch_row:
            fetched = await fetch_row(Row(0, "0", url))
    body = fetched.media["video"].read()
    fetched.close()
    return body, fetched.attempts


async def failure(downloads: Downloads, url: str, **settings: Any) -> ItemError:
    """Fetch one row that must fail, and leave nothing behind."""
    with pytest.raises(ItemError) as caught:
        await fetch(downloads, url, **settings)
    assert downloads.spool.budget.used == downloads.spool.disk.used == 0
    assert not downloads.files()
    return caught.value


async def test_a_file(server: FtpServer, downloads: Downloads) -> None:
    """Comes whole, and no folder is listed for it."""
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)
    names = [command.partition(b" ")[0] for command in server.commands]
    assert names == [b"USER", b"PASS", b"TYPE", b"SIZE", b"PASV", b"RETR", b"QUIT"]


@pytest.mark.parametrize("reply", ["450 busy, try again", "550 not allowed"])
async def test_a_folder_that_cannot_be_listed(
    server: FtpServer, downloads: Downloads, reply: str
) -> None:
    """Is no hindrance."""
    server.acts = {"MLSD": reply, "LIST": reply, "NLST": reply}
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a%20b.mp4", "/a b.mp4"),
        ("a b.mp4", "/a b.mp4"),
        ("d/%C3%A4.mp4", "/d/ä.mp4"),
        ("d/ä.mp4", "/d/ä.mp4"),
        ("//d/a.mp4", "/d/a.mp4"),
        ("a%25.mp4", "/a%.mp4"),
        ("a#1.mp4", "/a#1.mp4"),
        ("a%3F.mp4", "/a?.mp4"),
        ("a.mp4;type=i", "/a.mp4"),
        ("a.mp4;TYPE=A", "/a.mp4"),
        ("a;b.mp4", "/a;b.mp4"),
    ],
)
async def test_names(server: FtpServer, downloads: Downloads, path: str, name: str) -> None:
    """Are those that the URL quotes."""
    server.files[name.encode()] = BODY
    assert await fetch(downloads, server.url(path)) == (BODY, 1)


async def test_names_that_are_no_text(server: FtpServer, downloads: Downloads) -> None:
    """Are asked for byte by byte."""
    server.files[b"/\xe4.mp4"] = BODY
    assert await fetch(downloads, server.url("%E4.mp4")) == (BODY, 1)


async def test_a_login(server: FtpServer, downloads: Downloads) -> None:
    """Is the one that the URL quotes."""
    url = server.url("d/a.mp4", f"me%40here:{SECRET}@")
    assert await fetch(downloads, url) == (BODY, 1)


@pytest.mark.parametrize("reply", [None, "530 you are not p:/@w", "430 p%3A%2F%40w is wrong"])
async def test_a_login_that_is_refused(
    server: FtpServer, downloads: Downloads, reply: str | None
) -> None:
    """Is not tried again, and the password is not told, even if the server tells it."""
    if reply is not None:
        server.acts["PASS"] = reply
    error = await failure(downloads, server.url("d/a.mp4", f"you:{SECRET}@"), retries=2)
    assert (error.cause, error.attempts, server.asked("USER")) == (Cause.HTTP_403, 1, [b"you"])
    assert "***" in error.detail
    assert "p:/@w" not in error.detail
    assert SECRET not in error.detail


async def test_a_server_that_repeats_the_url(server: FtpServer, downloads: Downloads) -> None:
    """Gets no part of the password told."""
    server.acts["PASS"] = "530 not ftp://you:p@ss:w/d@h/"
    error = await failure(downloads, server.url("d/a.mp4", "you:p%40ss%3Aw%2Fd@"))
    assert error.detail == "FTP 530 not ftp://***@h/"


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("%0d%0aDELE%20a.mp4", ""),
        ("a%0A.mp4", ""),
        ("a%00.mp4", ""),
        ("a.mp4", "me%0d%0aDELE a:pw@"),
        ("a.mp4", "me:pw%0aDELE a@"),
        ("", ""),
        ("/", ""),
        ("\ud800.mp4", ""),
    ],
)
async def test_a_bad_url(server: FtpServer, downloads: Downloads, path: str, user: str) -> None:
    """Is refused, and nobody is asked."""
    error = await failure(downloads, server.url(path, user))
    assert error.cause is Cause.BAD_URL
    assert not server.commands


@pytest.mark.parametrize("url", ["ftp:///a", "ftp://h:0/a", "ftp://h:x/a", "ftp://u:p@/a"])
async def test_a_url_without_a_server(downloads: Downloads, url: str) -> None:
    """Is refused."""
    assert (await failure(downloads, url)).cause is Cause.BAD_URL


@pytest.mark.parametrize(
    ("command", "reply", "cause", "attempts"),
    [
        ("HELLO", "421 too many connections", Cause.HTTP_429, 3),
        ("HELLO", "500 go away", Cause.HTTP_4XX, 1),
        ("HELLO", "SSH-2.0-x", Cause.CONNECT, 3),
        ("HELLO", "220" + "x" * 100_000, Cause.CONNECT, 3),
        ("USER", "530 Sorry, the maximum number of clients (5)", Cause.HTTP_429, 3),
        ("PASS", "332 and the account?", Cause.HTTP_403, 1),
        ("SIZE", "421 going down", Cause.HTTP_429, 3),
        ("PASV", "227 here (1,2,3,4,999,9)", Cause.CONNECT, 3),
        ("RETR", "550 no such file", Cause.NOT_FOUND, 1),
        ("RETR", "553 no such name", Cause.NOT_FOUND, 1),
        ("RETR", "550 Permission denied", Cause.HTTP_403, 1),
        ("RETR", "425 cannot connect", Cause.CONNECT, 3),
        ("RETR", "450 busy", Cause.HTTP_5XX, 3),
        ("RETR", "451 something broke", Cause.HTTP_5XX, 3),
        ("RETR", "501 what?", Cause.HTTP_4XX, 1),
    ],
)
async def test_a_fault(
    server: FtpServer, downloads: Downloads, command: str, reply: str, cause: Cause, attempts: int
) -> None:
    """Has its cause, and is tried again if it may pass."""
    server.acts[command] = reply
    error = await failure(downloads, server.url("d/a.mp4"), retries=2)
    assert (error.cause, error.attempts) == (cause, attempts)


@pytest.mark.parametrize("command", ["HELLO", "USER", "PASS", "SIZE", "PASV", "RETR"])
@pytest.mark.parametrize("reply", ["421 too many connections", "450 busy"])
async def test_what_passes(
    server: FtpServer, downloads: Downloads, command: str, reply: str
) -> None:
    """Is tried again until it did."""
    server.acts[command] = [reply]
    attempts = 1 if (command, reply[:3]) == ("SIZE", "450") else 2
    assert await fetch(downloads, server.url("d/a.mp4"), retries=1) == (BODY, attempts)


async def test_a_host_that_takes_few_connections(server: FtpServer, downloads: Downloads) -> None:
    """Is asked for as much as it takes, and no row is lost."""
    server.most = 3
    urls = []
    for number in range(60):
        server.files[b"/%d.mp4" % number] = b"%d" % number * 50_000
        urls.append(server.url(f"{number}.mp4"))
    found = await downloads.remote(urls, retries=2)
    for fetched in found:
        name = fetched.row.url.rpartition("/")[2]
        assert fetched.media["video"].read() == server.files[f"/{name}".encode()]
        fetched.close()
    assert len(found) == 60
    assert server.turned_away > 0


async def test_a_host_that_hangs_up_on_some(server: FtpServer, downloads: Downloads) -> None:
    """Has too many connections, if it served others: that is no failure of a row."""

    async def hang_up(_: Visit) -> None:
        raise EOFError

    fetcher = RemoteFetcher.model_validate({"retries": 0})
    async with fetcher.open(FetchContext(downloads.spool, 4)) as fetch_row:
        for turned_away in (0, 3):
            server.acts["HELLO"] = [hang_up] * turned_away
            fetched = await fetch_row(Row(0, "0", server.url("d/a.mp4")))
            assert (fetched.media["video"].read(), fetched.attempts) == (BODY, turned_away + 1)
            fetched.close()


async def test_most_connections(server: FtpServer, downloads: Downloads) -> None:
    """Are never more than are allowed."""
    found = await downloads.remote([server.url("d/a.mp4")] * 12, host_connections=2)
    for fetched in found:
        fetched.close()
    assert (len(found), server.busiest) == (12, 2)


@pytest.mark.parametrize("reply", ["550 not allowed", "500 what?", "213 soon"])
async def test_a_size_that_is_not_told(server: FtpServer, downloads: Downloads, reply: str) -> None:
    """Is no hindrance; the limit holds all the same."""
    server.acts["SIZE"] = reply
    url = server.url("d/a.mp4")
    assert await fetch(downloads, url) == (BODY, 1)
    assert (await failure(downloads, url, max_bytes=1_000_000)).cause is Cause.TOO_LARGE


async def test_too_large(server: FtpServer, downloads: Downloads) -> None:
    """Is refused before a byte is asked for."""
    error = await failure(downloads, server.url("d/a.mp4"), max_bytes=1000)
    assert (error.cause, server.asked("RETR")) == (Cause.TOO_LARGE, [])


@pytest.mark.parametrize(
    ("size", "cause"),
    [("550 not allowed", Cause.TOO_LARGE), ("213 3000000", Cause.TRUNCATED)],
)
async def test_a_file_without_end(
    server: FtpServer, downloads: Downloads, size: str, cause: Cause
) -> None:
    """Is given up at its size, or at the limit."""

    async def send(visit: Visit) -> None:
        async with visit.sending() as data:
            while True:
                data.write(bytes(1 << 16))
                await data.drain()

    server.acts = {"RETR": send, "SIZE": size}
    error = await failure(downloads, server.url("d/a.mp4"), max_bytes=5_000_000)
    assert error.cause is cause


async def test_an_empty_file(server: FtpServer, downloads: Downloads) -> None:
    """Is none."""
    server.files[b"/empty.mp4"] = b""
    assert (await failure(downloads, server.url("empty.mp4"))).cause is Cause.EMPTY


@pytest.mark.parametrize("end", ["426 it broke", "451 the disk broke", None])
@pytest.mark.parametrize(("is_told", "came"), [(True, 1_000_000), (False, 1_000_000), (True, 0)])
async def test_a_file_that_is_cut_off(
    server: FtpServer, downloads: Downloads, end: str | None, *, is_told: bool, came: int
) -> None:
    """Is seen to be: by its size, by what the server says, or because it says nothing more."""

    async def send(visit: Visit) -> None:
        async with visit.sending() as data:
            data.write(BODY[:came])
        if end is None:
            raise EOFError
        await visit.say(end)

    server.acts["RETR"] = [send]
    if not is_told:
        server.acts["SIZE"] = "550 not allowed"
    assert await fetch(downloads, server.url("d/a.mp4"), retries=1) == (BODY, 2)
    server.acts["RETR"] = send
    assert (await failure(downloads, server.url("d/a.mp4"))).cause is Cause.TRUNCATED


async def test_a_control_connection_that_breaks_when_all_came(
    server: FtpServer, downloads: Downloads
) -> None:
    """Is no loss: firewalls drop those that are idle while a large file is sent."""

    async def send(visit: Visit) -> None:
        async with visit.sending() as data:
            data.write(BODY)
        raise EOFError

    server.acts["RETR"] = send
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)


async def test_a_server_is_not_kept_waiting_for_room(
    server: FtpServer, downloads: Downloads
) -> None:
    """Without room for the file it is hung up on, and asked again: the same attempt."""
    spool = downloads.spool
    others = await spool.disk.lease(spool.disk.limit - 100)
    spool.share = 1000  # so that the file has to lie on the disk
    got = []

    async def get() -> None:
        got.append(await fetch(downloads, server.url("d/a.mp4")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        with anyio.fail_after(60):
            while spool.disk.waiting == 0:
                await anyio.lowlevel.checkpoint()
            await server.until_all_left()
        assert server.asked("RETR") == []
        others.close()
    assert got == [(BODY, 1)]


async def test_another_host_for_the_file(server: FtpServer, downloads: Downloads) -> None:
    """Is not connected to: the file comes from where the server is, or not at all."""

    async def listen(visit: Visit) -> None:
        port = await visit.listen()
        await visit.say(f"227 there (10,0,0,1,{port >> 8},{port & 255})")

    server.acts["PASV"] = listen
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)


async def test_a_reply_with_spaces(server: FtpServer, downloads: Downloads) -> None:
    """Is understood."""

    async def listen(visit: Visit) -> None:
        port = await visit.listen()
        await visit.say(f"227 here (127, 0, 0, 1, {port >> 8}, {port & 255})")

    server.acts["PASV"] = listen
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)


async def test_a_server_that_knows_the_newer_way_alone(
    server: FtpServer, downloads: Downloads
) -> None:
    """Is asked in that way where a file will be sent."""
    server.acts["PASV"] = "502 what?"
    assert await fetch(downloads, server.url("d/a.mp4")) == (BODY, 1)
    server.acts["EPSV"] = "502 what?"
    assert (await failure(downloads, server.url("d/a.mp4"))).cause is Cause.HTTP_4XX


async def test_a_file_whose_end_is_not_said(server: FtpServer, downloads: Downloads) -> None:
    """Is there once as much came as it is said to have."""

    async def send(visit: Visit) -> None:
        async with visit.sending() as data:
            data.write(BODY)
            await data.drain()
            await visit.reader.read()

    server.acts["RETR"] = send
    assert await fetch(downloads, server.url("d/a.mp4"), stall_timeout=0.5) == (BODY, 1)


async def test_a_public_name_that_leads_home(
    server: FtpServer, downloads: Downloads, names: Names
) -> None:
    """Is refused, and not connected to."""
    names["store.example.com"] = ["127.0.0.1"]
    error = await failure(downloads, f"ftp://store.example.com:{server.port}/d/a.mp4")
    assert (error.cause, server.visits, server.commands) == (Cause.FORBIDDEN_ADDRESS, 0, [])


async def test_where_a_file_is_asked_for(
    server: FtpServer, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the addresses that were looked at, in turn: a name could have others by then."""
    asked: list[str] = []

    def look_up(name: str, *_: Any) -> Any:
        asked.append(name)
        if len(asked) > 1:
            return ((socket.AF_INET, "10.0.0.1"),)
        return (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")

    monkeypatch.setattr(dns, "_getaddrinfo", look_up)
    url = f"ftp://nas.local:{server.port}/d/a.mp4"
    assert await fetch(downloads, url, timeout=5) == (BODY, 1)
    assert asked == ["nas.local"]


async def test_a_name_without_address(downloads: Downloads, names: Names) -> None:
    """Is not looked up again."""
    error = await failure(downloads, "ftp://none.example.com/a.mp4", retries=2)
    assert (error.cause, error.attempts) == (Cause.DNS, 1)


async def test_ipv6(downloads: Downloads) -> None:
    """Has a way of its own to say where a file is sent; the machine has to know ``::1``."""
    async with ftp_server("::1") as server:
        server.files[b"/a.mp4"] = BODY
        assert await fetch(downloads, server.url("a.mp4")) == (BODY, 1)
        assert len(server.asked("EPSV")) == 1
