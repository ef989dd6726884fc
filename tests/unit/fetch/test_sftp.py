"""Files over SFTP, from a real server."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import asyncssh
import pytest
from asyncssh.sftp import SFTPServerHandler

from asyncv2d.ports import FetchContext
from asyncv2d.types import Cause, Fetched, Row
from asyncv2d_stages.fetch._hosts import host
from asyncv2d_stages.fetch.remote import RemoteFetcher
from tests.unit.fetch.sftp_server import Sftp, serving
from tests.unit.fetch.test_remote import failure, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
BODY = os.urandom(1_500_000)
SMALL = BODY[:50_000]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "a b.mp4").write_bytes(BODY)
    (folder / "small.mp4").write_bytes(SMALL)
    (folder / "empty.mp4").touch()
    (folder / "secret.mp4").write_bytes(BODY)
    return folder


async def test_a_file(downloads: Downloads, folder: Path) -> None:
    """Comes whole, by a name and with a password that are quoted in its URL."""
    async with serving(folder) as sftp:
        got = await fetch(downloads, sftp.url("a%20b.mp4"))
        assert got.media["video"].read() == BODY
        got.close()


@pytest.mark.parametrize(
    ("path", "cause"), [("none.mp4", Cause.NOT_FOUND), ("empty.mp4", Cause.EMPTY)]
)
async def test_a_fault(downloads: Downloads, folder: Path, path: str, cause: Cause) -> None:
    """Has its cause."""
    async with serving(folder) as sftp:
        assert (await failure(downloads, sftp.url(path))).cause is cause


async def test_a_wrong_password(downloads: Downloads, folder: Path) -> None:
    """Is refused, once, and is not told."""
    async with serving(folder) as sftp:
        url = f"sftp://me:wrong@127.0.0.1:{sftp.port}/secret.mp4"
        error = await failure(downloads, url, retries=2)
    assert (error.cause, error.attempts) == (Cause.HTTP_403, 1)
    assert "wrong" not in str(error)


@pytest.fixture
def own_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> asyncssh.SSHKey:
    """The only key of the user."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(home / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return key


async def test_keys_where_there_is_a_password(
    downloads: Downloads, folder: Path, own_key: asyncssh.SSHKey
) -> None:
    """Are offered to nobody, be the password right or wrong."""
    async with serving(folder) as sftp:
        sftp.known = [own_key.public_data]
        (await fetch(downloads, sftp.url("small.mp4"))).close()
        url = f"sftp://me:wrong@127.0.0.1:{sftp.port}/small.mp4"
        assert (await failure(downloads, url)).cause is Cause.HTTP_403
        assert sftp.keys == []


async def test_keys_without_a_password(
    downloads: Downloads, folder: Path, own_key: asyncssh.SSHKey
) -> None:
    """Open what they are good for."""
    async with serving(folder) as sftp:
        url = f"sftp://me@127.0.0.1:{sftp.port}/small.mp4"
        assert (await failure(downloads, url)).cause is Cause.HTTP_403
        sftp.known = [own_key.public_data]
        got = await fetch(downloads, url)
        assert got.media["video"].read() == SMALL
        got.close()
        assert set(sftp.keys) == {own_key.public_data}


async def test_a_server_that_packs_all(downloads: Downloads, folder: Path) -> None:
    """Is not talked to: a few bytes could be unpacked to any number of them."""
    async with serving(folder, compression_algs=["zlib@openssh.com"]) as sftp:
        error = await failure(downloads, sftp.url("small.mp4"))
    assert error.cause is Cause.CONNECT
    assert "compression" in error.detail


async def test_a_server_that_repeats_the_url(downloads: Downloads, folder: Path) -> None:
    """Gets no part of the password told."""
    async with serving(folder) as sftp:
        sftp.most_taken = 0
        sftp.goodbye = asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT, "not sftp://me:p@ss:w/d@h/"
        url = f"sftp://me:p%40ss%3Aw%2Fd@127.0.0.1:{sftp.port}/small.mp4"
        assert (await failure(downloads, url)).detail == "not sftp://***@h/ (error 1)"


async def test_nobody_there(downloads: Downloads, folder: Path) -> None:
    """Is told, and what is not there is asked for again."""
    async with serving(folder) as sftp:
        url = sftp.url("a%20b.mp4")
    error = await failure(downloads, url, retries=1)
    assert (error.cause, error.attempts) == (Cause.CONNECT, 2)


async def test_a_server_that_says_nothing(downloads: Downloads) -> None:
    """Is left at the deadline."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        error = await failure(downloads, f"sftp://me@127.0.0.1:{port}/a.mp4", timeout=0.5)
    assert error.cause is Cause.TIMEOUT


async def test_a_server_that_talks_nonsense(downloads: Downloads) -> None:
    """Is asked again, as any that cannot be talked to."""

    async def talk(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"SSH-2.0-x\r\n" + bytes(100_000))
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, talk)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        error = await failure(downloads, f"sftp://me:pw@127.0.0.1:{port}/a.mp4", retries=2)
        tasks.cancel_scope.cancel()
    assert (error.cause, error.attempts) == (Cause.CONNECT, 3)


async def test_a_name_that_no_user_can_have(downloads: Downloads, folder: Path) -> None:
    """Is a mistake in the URL."""
    async with serving(folder) as sftp:
        error = await failure(downloads, f"sftp://m%07e:pw@127.0.0.1:{sftp.port}/a.mp4", retries=2)
    assert (error.cause, error.attempts) == (Cause.BAD_URL, 1)


@pytest.mark.parametrize("opens_folders", [False, True])
@pytest.mark.parametrize("path", ["folder.mp4", "loop.mp4", "small.mp4/a.mp4"])
async def test_what_is_no_file(
    downloads: Downloads, folder: Path, path: str, *, opens_folders: bool
) -> None:
    """Is not asked for again, though the server only says that it failed."""
    (folder / "folder.mp4").mkdir()
    (folder / "loop.mp4").symlink_to("loop.mp4")
    async with serving(folder) as sftp:
        sftp.opens_folders = opens_folders
        error = await failure(downloads, sftp.url(path), retries=2)
    assert (error.cause, error.attempts) == (Cause.NOT_FOUND, 1)


def no_files(_: Any) -> asyncssh.SFTPServer:
    """What a server does that cannot start what it has for SFTP."""
    raise EOFError


@pytest.mark.parametrize("sftp_factory", [None, no_files])
async def test_a_server_without_sftp(downloads: Downloads, folder: Path, sftp_factory: Any) -> None:
    """Is said to be one."""
    async with serving(folder, sftp_factory=sftp_factory) as sftp:
        error = await failure(downloads, sftp.url("small.mp4"), retries=1)
    assert (error.cause, error.attempts) == (Cause.CONNECT, 2)
    assert error.detail.startswith("no SFTP after the login: ")


async def test_a_server_that_falls_silent(downloads: Downloads, folder: Path) -> None:
    """Is left at the deadline, and no connection to it stays."""
    async with serving(folder) as sftp:
        sftp.fault = "hang", 500_000
        error = await failure(downloads, sftp.url("a%20b.mp4"), stall_timeout=0.5, retries=2)
        assert (error.cause, error.attempts) == (Cause.STALLED, 3)
        with anyio.fail_after(30):
            for connection in sftp.connections:
                await connection.wait_closed()


async def test_a_server_that_hangs_up(downloads: Downloads, folder: Path) -> None:
    """Is asked again."""
    async with serving(folder) as sftp:
        sftp.fault = "hang up", 500_000
        got = await fetch(downloads, sftp.url("a%20b.mp4"), retries=1)
        assert (got.media["video"].read(), got.attempts) == (BODY, 2)
        got.close()
        sftp.fault = "hang up", 500_000
        assert (await failure(downloads, sftp.url("a%20b.mp4"))).cause is Cause.TRUNCATED


async def test_no_more_at_a_time_than_allowed(downloads: Downloads, folder: Path) -> None:
    """Of one host: its turns are those of all downloads."""
    fetcher = RemoteFetcher.model_validate({"host_connections": 1, "timeout": 20})
    got: list[Fetched] = []
    async with serving(folder) as sftp:
        async with fetcher.open(FetchContext(downloads.spool, 4)) as fetch_row:

            async def fetch_one(number: int) -> None:
                got.append(await fetch_row(Row(number, str(number), sftp.url("a%20b.mp4"))))

            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for number in range(5):
                        tasks.start_soon(fetch_one, number)
        assert sftp.most == 1
    for one in got:
        one.close()


async def test_a_host_that_takes_few_connections(
    downloads: Downloads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is asked for as much as it takes, and no row is lost."""
    monkeypatch.setattr(host, "_FIRST_PAUSE_S", 0.0)
    async with serving(folder) as sftp:
        sftp.most_taken = 3
        found = await downloads.remote([sftp.url("small.mp4")] * 60, retries=2)
        assert sftp.turned_away > 0
    assert [fetched.media["video"].read() for fetched in found] == [SMALL] * 60
    for fetched in found:
        fetched.close()


@pytest.mark.parametrize(
    "goodbye",
    [None, (asyncssh.DISC_TOO_MANY_CONNECTIONS, "no"), (asyncssh.DISC_BY_APPLICATION, "")],
)
async def test_a_host_that_hangs_up_on_some(
    downloads: Downloads, folder: Path, goodbye: tuple[int, str] | None
) -> None:
    """Has too many connections, if it served others: that is no failure of a row."""
    fetcher = RemoteFetcher.model_validate({"retries": 0})
    async with serving(folder) as sftp:
        row = Row(0, "0", sftp.url("small.mp4"))
        sftp.goodbye = goodbye
        async with fetcher.open(FetchContext(downloads.spool, 4)) as fetch_row:
            for turned_away in (0, 3):
                sftp.turns_away = turned_away
                got = await fetch_row(row)
                assert (got.media["video"].read(), got.attempts) == (SMALL, turned_away + 1)
                got.close()


async def test_a_host_that_hangs_up_on_all(downloads: Downloads, folder: Path) -> None:
    """Fails its rows as often as they may be tried."""
    async with serving(folder) as sftp:
        sftp.most_taken = 0
        error = await failure(downloads, sftp.url("small.mp4"), retries=2)
        assert (error.cause, error.attempts, sftp.turned_away) == (Cause.CONNECT, 3, 3)
        sftp.goodbye = asyncssh.DISC_TOO_MANY_CONNECTIONS, "later"
        assert (await failure(downloads, sftp.url("small.mp4"))).cause is Cause.HTTP_429
        sftp.goodbye = asyncssh.DISC_PROTOCOL_ERROR, "Too many authentication failures"
        error = await failure(downloads, sftp.url("small.mp4"), retries=2)
        assert (error.cause, error.attempts) == (Cause.HTTP_403, 1)


async def test_a_host_that_first_has_time_for_others(
    downloads: Downloads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is not given up though it hangs up time and again: it is there."""
    monkeypatch.setattr(host, "_FIRST_PAUSE_S", 0.0)
    async with serving(folder) as sftp:
        sftp.turns_away = 40
        found = await downloads.remote([sftp.url("small.mp4")] * 60, retries=2)
        assert sftp.turned_away == 40
    for fetched in found:
        fetched.close()


@pytest.fixture
def _small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that do not say how much may be read at a time: it is 16 KiB then."""
    monkeypatch.setattr(SFTPServerHandler, "_extensions", [])


@pytest.mark.usefixtures("_small_reads")
@pytest.mark.parametrize("longest_read", [1 << 20, 10_000])
async def test_reads_of_less_than_asked(
    downloads: Downloads, folder: Path, longest_read: int
) -> None:
    """Are gone on with where they end, and asked for as short as they are from then on."""
    async with serving(folder) as sftp:
        sftp.longest_read = longest_read
        got = await fetch(downloads, sftp.url("a%20b.mp4"))
        assert got.media["video"].read() == BODY
        got.close()
    assert sftp.sizes.count(min(longest_read, 16 << 10)) > len(sftp.sizes) / 2


@pytest.mark.usefixtures("_small_reads")
async def test_an_end_in_the_middle(downloads: Downloads, folder: Path) -> None:
    """Is the end: nothing that comes from behind it counts, and nothing is put in its place."""
    async with serving(folder) as sftp:
        sftp.gap = 20 * (16 << 10)
        error = await failure(downloads, sftp.url("a%20b.mp4"), retries=1)
    assert (error.cause, error.attempts) == (Cause.TRUNCATED, 2)


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_a_file_without_end(downloads: Downloads, folder: Path, size: int) -> None:
    """Is given up at the size that it is said to have."""
    async with serving(folder) as sftp:
        sftp.size = size
        error = await failure(downloads, sftp.url("small.mp4"), max_bytes=5_000_000, retries=1)
    assert (error.cause, error.attempts) == (Cause.TRUNCATED, 2)


class Names:
    """What the system says of a name: another thing the second time it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self._known = socket.getaddrinfo

    def look_up(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        """As ``socket.getaddrinfo``."""
        if host != "store.example.com":
            return self._known(host, port, *args, **more)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (one, port or 0)) for one in addresses]


async def asked_for(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, sftp: Sftp, names: Names
) -> list[str]:
    """Fetch a file from a host with a name; the addresses at which the server was asked."""
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    url = sftp.url("a%20b.mp4", "store.example.com")
    got = await fetch(downloads, url, private_addresses="allow")
    assert got.media["video"].read() == BODY
    got.close()
    return sftp.asked


async def test_a_name_that_leads_elsewhere_once_it_was_looked_at(
    downloads: Downloads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is asked for at the address that was looked at."""
    async with serving(folder, ["127.0.0.1", "127.0.0.2"]) as sftp:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert await asked_for(downloads, monkeypatch, sftp, names) == ["127.0.0.1"]


async def test_an_address_with_nobody(
    downloads: Downloads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leads to the next one of the name."""
    async with serving(folder) as sftp:
        names = Names(["127.0.0.2", "127.0.0.1"])
        assert await asked_for(downloads, monkeypatch, sftp, names) == ["127.0.0.1"]


async def test_an_address_in_brackets(downloads: Downloads, folder: Path) -> None:
    """Is understood, though fsspec does not."""
    async with serving(folder, ["::1"]) as sftp:
        got = await fetch(downloads, sftp.url("a%20b.mp4", "[::1]"))
        assert got.media["video"].read() == BODY
        got.close()
        assert sftp.asked == ["::1"]
