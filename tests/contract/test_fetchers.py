"""What every fetcher promises, and what each one makes of its own faults."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from asyncv2d.budget import ByteBudget
from asyncv2d.fetching import equipped
from asyncv2d.ports import FetchContext, Fetcher, PageFetcher
from asyncv2d.registry import load, names
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import Blob, Cause, Fetched, ItemError, Row

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
URLS = {
    "filesystem": "/no/such/file",
    "http": "http://127.0.0.1:1/a.mp4",
    "remote": "memory://no/such/file",
    "ytdlp": "http://127.0.0.1:1/a.html",
}
QUICK: dict[str, Any] = {"timeout": 0.5, "total_timeout": 5, "retries": 0}


@pytest.fixture(params=names("fetch"))
def kind(request: pytest.FixtureRequest) -> str:
    """Each fetcher there is."""
    return cast(str, request.param)


def fetcher(kind: str, **settings: Any) -> Fetcher:
    """A fetcher with settings; the defaults that only wait are short."""
    cls = load("fetch", kind)
    known = {key: value for key, value in QUICK.items() if key in cls.model_fields}
    return cast(Fetcher, cls.model_validate({**known, **settings}))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool that shows what is left in it."""
    return Spool(
        SpoolFolders(tmp_path, tmp_path, 1 << 30), ByteBudget(1 << 30), ByteBudget(1 << 30)
    )


async def fetch(spool: Spool, url: str, kind: str = "http", **settings: Any) -> Fetched:
    """Fetch one row."""
    with anyio.fail_after(30):
        async with fetcher(kind, **settings).open(equipped(FetchContext(spool, 4))) as fetch_row:
            return await fetch_row(Row(0, "0", url))


async def failure(spool: Spool, url: str, kind: str = "http", **settings: Any) -> ItemError:
    """Fetch one row that must fail, and leave nothing behind."""
    with pytest.raises(ItemError) as caught:
        await fetch(spool, url, kind, **settings)
    assert spool.budget.used == 0
    assert not list(spool.folders.fast.iterdir())
    return caught.value


def test_it_says_what_it_fetches(kind: str) -> None:
    """A fetcher names its schemes in lower case, and is documented."""
    assert fetcher(kind).schemes
    assert all(scheme == scheme.lower() for scheme in fetcher(kind).schemes)
    assert (load("fetch", kind).__doc__ or "").strip()


def test_no_two_fetch_the_same() -> None:
    """Each scheme belongs to one fetcher, beside those that look into its pages."""
    fetchers = [
        found for kind in names("fetch") if not isinstance(found := fetcher(kind), PageFetcher)
    ]
    schemes = [scheme for found in fetchers for scheme in found.schemes]
    assert len(schemes) == len(set(schemes))


def test_it_can_be_sent_to_another_process(kind: str) -> None:
    """Pickling gives an equal fetcher."""
    assert pickle.loads(pickle.dumps(fetcher(kind))) == fetcher(kind)


async def test_what_is_not_there(kind: str, spool: Spool) -> None:
    """Is an ItemError, and leaves nothing behind."""
    error = await failure(spool, URLS[kind], kind)
    assert error.cause in (Cause.CONNECT, Cause.NOT_FOUND)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "/\0", "/" + "x" * 5000, "file://", "."])
async def test_odd_urls(kind: str, spool: Spool, url: str) -> None:
    """Are ItemErrors too, never bugs."""
    if any(url.startswith(f"{scheme}:") for scheme in fetcher(kind).schemes) or "://" not in url:
        await failure(spool, url, kind)


class TestHttp:
    """HTTP."""

    @pytest.mark.parametrize("way", ["ok", "chunked", "gzip", "redirect"])
    async def test_a_good_body(
        self, server: Server, spool: Spool, videos: Mapping[str, bytes], way: str
    ) -> None:
        """Comes whole, however it is transferred, with its status."""
        got = await fetch(spool, server.url(f"{way}/short.mp4"))
        assert got.media["video"].read() == videos["short.mp4"]
        assert got.info["http_status"] == 200
        assert got.attempts == 1
        got.close()
        assert spool.budget.used == 0

    async def test_a_server_is_not_kept_waiting_for_room(
        self, server: Server, spool: Spool, videos: Mapping[str, bytes]
    ) -> None:
        """Without room for what is announced it hangs up, and asks again: the same attempt."""
        url, got = server.url("ok/short.mp4"), []
        others = await spool.budget.lease(spool.budget.limit - 100)
        for _ in range(200):
            spool.learn(1)  # so small a body is usual that the first request is sent

        async def get() -> None:
            got.append(await fetch(spool, url))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            with anyio.fail_after(30):
                while spool.budget.waiting == 0:
                    await anyio.lowlevel.checkpoint()
            others.close()
        assert got[0].media["video"].read() == videos["short.mp4"]
        assert got[0].attempts == 1
        assert server.count("ok/short.mp4") == 2
        got[0].close()

    @pytest.mark.parametrize(
        ("path", "cause"),
        [
            ("status/404/a", Cause.HTTP_404),
            ("status/410/a", Cause.HTTP_404),
            ("status/401/a", Cause.HTTP_4XX),
            ("status/403/a", Cause.HTTP_403),
            ("status/408/a", Cause.TIMEOUT),
            ("status/429/a", Cause.HTTP_429),
            ("status/500/a", Cause.HTTP_5XX),
            ("status/599/a", Cause.HTTP_5XX),
            ("status/304/a", Cause.REDIRECTS),
            ("status/204/a", Cause.EMPTY),
            ("loop/a", Cause.REDIRECTS),
            ("html/a", Cause.NOT_MEDIA),
            ("disguised/a", Cause.NOT_MEDIA),
            ("empty/a", Cause.EMPTY),
            ("cut/short.mp4", Cause.TRUNCATED),
            ("stall/short.mp4", Cause.STALLED),
            ("silent/a", Cause.TIMEOUT),
            ("reset/a", Cause.CONNECT),
            ("reset-after/short.mp4", Cause.TRUNCATED),
            ("nonsense/a", Cause.CONNECT),
        ],
    )
    async def test_a_fault(self, server: Server, spool: Spool, path: str, cause: Cause) -> None:
        """Has its own cause."""
        assert (await failure(spool, server.url(path))).cause is cause

    async def test_an_endless_drip(self, server: Server, spool: Spool) -> None:
        """Is a timeout, not a stall: bytes do come."""
        error = await failure(spool, server.url("drip/a"), total_timeout=0.3)
        assert error.cause is Cause.TIMEOUT

    async def test_what_may_pass_is_tried_again(self, server: Server, spool: Spool) -> None:
        """As often as allowed, and no more."""
        got = await fetch(spool, server.url("flaky/2/short.mp4"), retries=2)
        assert got.attempts == server.count("flaky/2/short.mp4") == 3
        got.close()
        error = await failure(spool, server.url("flaky/9/short.mp4"), retries=1)
        assert error.attempts == server.count("flaky/9/short.mp4") == 2

    async def test_what_will_not_pass_is_not(self, server: Server, spool: Spool) -> None:
        """A missing page is asked for once."""
        error = await failure(spool, server.url("status/404/a"), retries=5)
        assert error.attempts == server.count("status/404/a") == 1

    @pytest.mark.parametrize("way", ["ok", "chunked", "gzip"])
    async def test_too_large(self, server: Server, spool: Spool, way: str) -> None:
        """A body beyond the limit is given up, also where its length is not announced."""
        error = await failure(spool, server.url(f"{way}/short.mp4"), max_bytes=1000)
        assert error.cause is Cause.TOO_LARGE

    async def test_tls(self, server: Server, spool: Spool) -> None:
        """A server that does not speak TLS."""
        url = server.url("ok/short.mp4").replace("http:", "https:")
        assert (await failure(spool, url)).cause is Cause.TLS

    @pytest.fixture
    def full_backlog(self) -> Iterator[str]:
        """A port that listens and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/a"

    async def test_a_port_that_never_answers(self, spool: Spool, full_backlog: str) -> None:
        """Is a timeout."""
        assert (await failure(spool, full_backlog)).cause is Cause.TIMEOUT

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:99999/a",
            "http://127.0.0.1:x/a",
            "http:///a",
            "http://%",
        ],
    )
    async def test_malformed(self, spool: Spool, url: str) -> None:
        """Is a bad URL."""
        assert (await failure(spool, url)).cause is Cause.BAD_URL

    async def test_odd_but_good_urls(self, server: Server, spool: Spool) -> None:
        """Spaces, letters of all sorts, credentials and fragments are no obstacle."""
        server.videos["ä b.mp4"] = b"body"
        url = server.url("ok/ä b.mp4?q=ü&r=1 2#part").replace("://", "://user:secret@")
        got = await fetch(spool, url)
        assert got.media["video"].read() == b"body"
        got.close()


class TestFilesystem:
    """Files of this machine."""

    @pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
    async def test_a_file(self, spool: Spool, tmp_path: Path, form: str) -> None:
        """Is used where it lies, and stays."""
        path = tmp_path / "a.mp4"
        path.write_bytes(b"body")
        got = await fetch(spool, form.format(path), "filesystem")
        assert got.media["video"].read() == b"body"
        assert not isinstance(got.media["video"], Blob)
        got.close()
        assert path.exists()

    async def test_quoted(self, spool: Spool, tmp_path: Path) -> None:
        """A file URL may quote what a plain path says as it is."""
        path = tmp_path / "a b%20.mp4"
        path.write_bytes(b"body")
        for url in (str(path), path.as_uri()):
            assert (await fetch(spool, url, "filesystem")).media["video"].read() == b"body"
