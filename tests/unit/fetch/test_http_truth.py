"""What came is what should come, or the cause says what is wrong with it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from asyncv2d.types import Cause, UserError
from asyncv2d_stages.fetch._http import body_watch, exchange, least
from asyncv2d_stages.fetch._http.body import check_start
from asyncv2d_stages.fetch.http import HttpFetcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "is_page"),
    [
        ("html/a", True),
        ("disguised/a", True),
        ("playlist/a", True),
        ("json/a", False),
        ("picture/a", False),
        ("pdf/a", False),
    ],
)
async def test_no_media(server: Server, downloads: Downloads, path: str, is_page: bool) -> None:
    """Says whether it is a page that may show a video."""
    error = await downloads.failure(server.url(path))
    assert error.cause is Cause.NOT_MEDIA
    assert error.facts.get("is_page", False) is is_page
    assert error.facts["http_status"] == 200
    assert error.attempts == 1


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/vnd.trolltech.linguist", "application/json", "text/html"]
)
def test_media_of_a_wrong_type(kind: str) -> None:
    """Are media."""
    for start in (b"\0\0\0\x18ftypisom", b"G" + bytes(187) + b"G", b"\x1aE\xdf\xa3", b"ID3\4"):
        check_start(start, kind)


@pytest.mark.parametrize("way", ["deflate", "bare", "members"])
async def test_compressed(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes], way: str
) -> None:
    """A transfer compressed in any of the usual ways is unpacked."""
    data, _ = await downloads.one(server.url(f"packed/{way}/short.mp4"))
    assert data == videos["short.mp4"]
    assert server.headers[f"/packed/{way}/short.mp4"][0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("short", Cause.TRUNCATED),
        ("spoilt", Cause.CORRUPT),
        ("unknown", Cause.CORRUPT),
        ("bomb", Cause.TOO_LARGE),
    ],
)
async def test_badly_compressed(
    server: Server, downloads: Downloads, way: str, cause: Cause
) -> None:
    """Is noticed, before it has filled the memory."""
    error = await downloads.failure(
        server.url(f"packed/{way}/short.mp4"), max_bytes=1 << 20, retries=0
    )
    assert error.cause is cause


async def test_each_deadline_is_its_own(server: Server, downloads: Downloads) -> None:
    """A body that stalls and an answer that does not begin."""
    settings = {"timeout": 20, "total_timeout": 20, "retries": 0}
    stalled = await downloads.failure(server.url("stall/short.mp4"), stall_timeout=0.2, **settings)
    assert stalled.cause is Cause.STALLED
    silent = await downloads.failure(server.url("silent/a"), answer_timeout=0.2, **settings)
    assert silent.cause is Cause.TIMEOUT


@pytest.mark.parametrize(
    ("least_rate", "cause"), [(10_000, Cause.STALLED), (1, Cause.TIMEOUT), (0, Cause.TIMEOUT)]
)
async def test_a_body_that_drips(
    server: Server,
    downloads: Downloads,
    monkeypatch: pytest.MonkeyPatch,
    least_rate: int,
    cause: Cause,
) -> None:
    """Never stands still, and ends as one that does where too little of it comes."""
    monkeypatch.setattr(body_watch, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(least, "_WITHIN_S", 0.5)
    error = await downloads.failure(
        server.url("drip/a"),
        timeout=0.3,
        total_timeout=1.5,
        least_rate=least_rate,
        retries=0,
    )
    assert error.cause is cause


async def test_redirects(server: Server, downloads: Downloads, videos: Mapping[str, bytes]) -> None:
    """Lead somewhere, in whatever letters; what was learnt says where, without secrets."""
    server.videos["ä b.mp4"] = b"body" * 200
    url = server.url("to?url=%2Fok%2F%C3%A4 b.mp4%3Ftoken%3Dabc")
    data, facts = await downloads.one(url)
    assert data == server.videos["ä b.mp4"]
    assert facts["final_url"] == server.url("ok/%C3%A4%20b.mp4?token=***")
    nowhere = await downloads.failure(server.url("to?url=http://%25/"))
    assert nowhere.cause is Cause.REDIRECTS
    assert (await downloads.failure(server.url("loop/a"), max_redirects=3)).cause is Cause.REDIRECTS
    assert server.count("loop/a") == 3


async def test_cookies_on_the_way(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes]
) -> None:
    """A server that sets a cookie with its redirect gets it back."""
    data, _ = await downloads.one(server.url("cookie/short.mp4"))
    assert data == videos["short.mp4"]
    assert server.count("cookie/short.mp4") == 2


async def test_a_file_of_cookies(server: Server, downloads: Downloads, tmp_path: Path) -> None:
    """Is sent to the hosts that it names."""
    file = tmp_path.parent / f"{tmp_path.name}-cookies.txt"
    file.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tseen\tyes\n")
    await downloads.one(server.url("cookie/short.mp4"), cookies=str(file))
    assert server.count("cookie/short.mp4") == 1
    file.write_text("no cookies")
    with pytest.raises(UserError, match=r"reading\.cookies"):
        await downloads.one(server.url("cookie/short.mp4"), cookies=str(file))
    with pytest.raises(UserError, match=r"reading\.cookies"):
        await downloads.one(server.url("cookie/short.mp4"), cookies="/no/such/file")


@pytest.mark.parametrize("content", [b"\xff\xfe\0\x80", b"# HTTP Cookie File\n\xe9\n"])
async def test_a_file_of_no_cookies(downloads: Downloads, tmp_path: Path, content: bytes) -> None:
    """Is a mistake of the user's."""
    file = tmp_path.parent / f"{tmp_path.name}-cookies.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"reading\.cookies: .* is no cookies\.txt: no UTF-8 text"):
        await downloads.one("http://127.0.0.1:1/", cookies=str(file))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("127.0.0.1\tFALSE\ts3cret", "is no cookies.txt: its first line is not"),
        ("127.0.0.1\tFALSE\t/\tFALSE\t0\tkey\ts3cret\x01", "for 127.0.0.1 has characters"),
        ("127.0.0.1\tFALSE\t/\tFALSE\t0\tkey\ts3cret\u4e2d", "for 127.0.0.1 has characters"),
    ],
)
async def test_a_line_that_is_no_cookie(
    downloads: Downloads, tmp_path: Path, line: str, said: str
) -> None:
    """Is a mistake that is named without what is secret in it."""
    file = tmp_path.parent / f"{tmp_path.name}-cookies.txt"
    file.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    with pytest.raises(UserError) as caught:
        await downloads.one("http://127.0.0.1:1/", cookies=str(file))
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("path", ["/dev/zero", "/", "a\0b"])
async def test_cookies_that_are_no_file(downloads: Downloads, path: str) -> None:
    """Are not read: a device has no end."""
    with pytest.raises(UserError, match=r"reading\.cookies: .* (is no regular file|cannot be)"):
        await downloads.one("http://127.0.0.1:1/", cookies=path)


async def test_cookies_for_a_user(server: Server, downloads: Downloads, tmp_path: Path) -> None:
    """Are sent too: a URL with a user names the same host."""
    file = tmp_path.parent / f"{tmp_path.name}-cookies.txt"
    file.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tseen\tyes\n")
    url = server.url("cookie/short.mp4").replace("//", "//user:pw@")
    await downloads.one(url, cookies=str(file))
    assert server.count("cookie/short.mp4") == 1


async def test_a_cookie_that_is_renewed(
    server: Server, downloads: Downloads, tmp_path: Path
) -> None:
    """Replaces the file's, and no other."""
    file = tmp_path.parent / f"{tmp_path.name}-cookies.txt"
    line = ".localhost.local\tTRUE\t/\tFALSE\t0\t{}\told\n"
    file.write_text("# Netscape HTTP Cookie File\n" + line.format("seen") + line.format("other"))
    url = server.url("cookie/short.mp4").replace("127.0.0.1", "localhost")
    await downloads.one(url, cookies=str(file))
    sent = [headers["Cookie"] for headers in server.headers["/cookie/short.mp4"]]
    assert sent == ["seen=old; other=old", "other=old; seen=yes"]


async def test_whose_credentials(server: Server, downloads: Downloads) -> None:
    """A row's own are sent, and the user's where it has none."""
    url = server.url("ok/short.mp4")
    for each in (url, url.replace("//", "//user:pw@")):
        await downloads.one(each, headers={"authorization": "Bearer us"})
    sent = [headers["Authorization"] for headers in server.headers["/ok/short.mp4"]]
    assert sent == ["Bearer us", f"Basic {b64encode(b'user:pw').decode()}"]


@pytest.mark.parametrize(("host", "version"), [("127.0.0.1", 6), ("[::1]", 4)])
async def test_an_address_of_the_other_kind(
    server: Server, downloads: Downloads, host: str, version: int
) -> None:
    """Fails at once, and says why."""
    url = server.url("ok/short.mp4").replace("127.0.0.1", host)
    error = await downloads.failure(url, ip_version=version)
    assert error.cause is Cause.DNS
    assert error.detail == f"{host.strip('[]')} is no address of IPv{version} (ip_version)"
    assert error.attempts == 1
    assert not server.hits


async def test_who_asks(server: Server, downloads: Downloads) -> None:
    """The program names itself, unless it is told another name; headers are added."""
    await downloads.one(server.url("ok/short.mp4"))
    await downloads.one(
        server.url("ok/short.mp4"), user_agent="us (mail@example.org)", headers={"X-Key": "1"}
    )
    first, second = server.headers["/ok/short.mp4"]
    assert first["User-Agent"].startswith("asyncv2d/")
    assert second["User-Agent"] == "us (mail@example.org)"
    assert second["X-Key"] == "1"


async def test_idle_connections(
    server: Server, downloads: Downloads, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are kept to a bounded number of hosts."""
    monkeypatch.setattr(exchange, "_LEAST_KEPT", 1)
    async with downloads.client(concurrency=1, private_addresses="allow") as client:
        for number in range(3):
            name = f"host-{number}.example"
            names[name] = ["127.0.0.1"]
            blob, _ = await client.download(server.url_at(name, "ok/short.mp4"))
            blob.close()
    closing = [headers.get("Connection") for headers in server.headers["/ok/short.mp4"]]
    assert closing == [None, "close", "close"]


async def test_secrets_in_messages(server: Server, downloads: Downloads) -> None:
    """Are not shown."""
    url = server.url("nonsense/a?token=secret").replace("://", "://user:secret@")
    error = await downloads.failure(url, retries=0)
    assert error.cause is Cause.CONNECT
    assert "secret" not in error.detail


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"": "1"}, {"a": "1\r\nb: 2"}])
def test_headers_that_cannot_be_sent(headers: Mapping[str, str]) -> None:
    """Are mistakes in the configuration."""
    with pytest.raises(ValidationError):
        HttpFetcher(headers=headers)


async def test_headers_of_a_row(server: Server, downloads: Downloads) -> None:
    """Are sent on to where the row is redirected, personal ones only to the same server."""
    other = server.address.replace("127.0.0.1", "localhost")
    headers = {"Authorization": "secret", "Referer": "there"}
    async with downloads.client() as client:
        for url in ("redirect/short.mp4", f"to?url={other}/ok/short.mp4"):
            blob, _ = await client.download(server.url(url), headers)
            blob.close()
    near, far = server.headers["/ok/short.mp4"]
    assert near["Authorization"] == "secret"
    assert "Authorization" not in far
    assert far["Referer"] == "there"
