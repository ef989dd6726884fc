"""Files in stores, by fsspec's own memory and a real S3 server."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import fsspec
import pytest
from anyio import to_thread

from asyncv2d.ports import FetchContext
from asyncv2d.types import Cause, Fetched, ItemError, Row
from asyncv2d_stages.fetch._remote_causes import explaining
from asyncv2d_stages.fetch.remote import RemoteFetcher

if TYPE_CHECKING:
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
BODY = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """Fsspec's store in memory, with one file."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/there/a.mp4", BODY)
    store.pipe_file("/there/empty.mp4", b"")
    yield store
    store.rm("/there", recursive=True)


async def fetch(downloads: Downloads, url: str, **settings: Any) -> Fetched:
    """Fetch one row."""
    fetcher = RemoteFetcher.model_validate({"retries": 0, **settings})
    with anyio.fail_after(60):
        async with fetcher.open(FetchContext(downloads.spool, 4)) as fetch_row:
            return await fetch_row(Row(0, "0", url))


async def failure(downloads: Downloads, url: str, **settings: Any) -> ItemError:
    """Fetch one row that must fail, and leave nothing behind."""
    with pytest.raises(ItemError) as caught:
        await fetch(downloads, url, **settings)
    assert downloads.spool.budget.used == downloads.spool.disk.used == 0
    assert not list(downloads.spool.folders.fast.iterdir())
    return caught.value


async def test_a_file(downloads: Downloads) -> None:
    """Comes whole."""
    got = await fetch(downloads, "memory://there/a.mp4")
    assert got.media["video"].read() == BODY
    got.close()


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("memory://there/b.mp4", Cause.NOT_FOUND),
        ("memory://there/empty.mp4", Cause.EMPTY),
        ("simplecache::memory://there/a.mp4", Cause.BAD_URL),
        ("memory://there/a.mp4::file:///etc/passwd", Cause.BAD_URL),
        ("ftp://127.0.0.1:1/a.mp4", Cause.CONNECT),
        ("ftp://169.254.169.254/a.mp4", Cause.FORBIDDEN_ADDRESS),
        ("ftp://[::1/a.mp4", Cause.BAD_URL),
    ],
)
async def test_a_fault(downloads: Downloads, url: str, cause: Cause) -> None:
    """Has its cause."""
    assert (await failure(downloads, url)).cause is cause


def test_what_is_left_to_others() -> None:
    """Nothing that leads to files of this machine, nor what has a fetcher of its own."""
    schemes = RemoteFetcher().schemes
    assert {"s3", "gs", "az", "hf", "sftp", "ftp", "memory"} <= schemes
    assert not schemes & {"", "file", "local", "http", "https", "reference", "zip", "simplecache"}


async def test_a_public_name_that_leads_home(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is refused, and not connected to."""
    answer = [(2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    error = await failure(downloads, "sftp://store.example.com/a.mp4")
    assert error.cause is Cause.FORBIDDEN_ADDRESS


async def test_too_large(downloads: Downloads) -> None:
    """Is refused before a byte is read."""
    error = await failure(downloads, "memory://there/a.mp4", max_bytes=1000)
    assert error.cause is Cause.TOO_LARGE


async def test_what_may_pass_is_tried_again(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, memory: Any
) -> None:
    """As often as allowed."""
    tries = mock.Mock(side_effect=[ConnectionResetError("gone"), memory.open("/there/a.mp4")])
    monkeypatch.setattr(type(memory), "open", tries)
    got = await fetch(downloads, "memory://there/a.mp4", retries=1)
    assert (got.attempts, got.media["video"].size) == (2, len(BODY))
    got.close()


async def test_a_driver_that_never_answers(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch, memory: Any
) -> None:
    """Is left to itself at the deadline."""
    from threading import Event

    gone = Event()
    monkeypatch.setattr(type(memory), "open", lambda *_, **__: gone.wait(60))
    try:
        error = await failure(downloads, "memory://there/a.mp4", timeout=0.1)
    finally:
        gone.set()
    assert error.cause is Cause.STALLED


async def test_a_driver_that_is_not_installed(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is named with the command that installs it."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    error = await failure(downloads, "gs://bucket/a.mp4")
    assert error.cause is Cause.NOT_INSTALLED
    assert error.detail == (
        "gs:// needs the driver gcsfs, which is not installed: pip install gcsfs"
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FileNotFoundError("x"), Cause.NOT_FOUND),
        (PermissionError("x"), Cause.HTTP_403),
        (TimeoutError("x"), Cause.TIMEOUT),
        (ConnectionRefusedError("x"), Cause.CONNECT),
        (ValueError("x"), Cause.BAD_URL),
        (type("NoCredentialsError", (Exception,), {})("x"), Cause.HTTP_403),
        (type("EndpointConnectionError", (Exception,), {})("x"), Cause.CONNECT),
        (type("HttpError", (Exception,), {"code": 503})("x"), Cause.HTTP_5XX),
        (type("HttpError", (Exception,), {"status": 429})("x"), Cause.HTTP_429),
        (type("HttpError", (Exception,), {"status": 404})("x"), Cause.NOT_FOUND),
    ],
)
def test_causes(error: Exception, cause: Cause) -> None:
    """What drivers raise has no common base."""
    with pytest.raises(ItemError) as caught, explaining("x://a"):
        raise error
    assert caught.value.cause is cause


def test_secrets() -> None:
    """Stay out of messages."""
    with pytest.raises(ItemError) as caught, explaining("ftp://x"):
        raise OSError("cannot reach ftp://me:secret@example.com/a?token=abc")
    assert caught.value.detail == "cannot reach ftp://***@example.com/a?token=***"


async def test_secrets_in_a_store_s_name(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stay out of messages, too: there the driver takes them for the name of a bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    # fsspec keeps clients by their arguments: with another timeout it is this test's alone.
    error = await failure(downloads, "s3://me:secret@bucket/a.mp4", timeout=7)
    assert error.cause is Cause.BAD_URL
    assert "bucket" in error.detail
    assert "secret" not in error.detail
    assert "me:" not in error.detail


async def test_s3(downloads: Downloads, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server: what is there, what is not, and who may not look."""
    fsspec.filesystem("s3").pipe_file(f"{s3_url}/a b.mp4", BODY)
    got = await fetch(downloads, f"{s3_url}/a b.mp4")
    assert got.media["video"].read() == BODY
    got.close()
    assert (await failure(downloads, f"{s3_url}/b.mp4")).cause is Cause.NOT_FOUND
    assert (await failure(downloads, "s3://no-such-bucket/b.mp4")).cause is Cause.NOT_FOUND
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    await to_thread.run_sync(_forget_clients)
    assert (await failure(downloads, f"{s3_url}/a b.mp4")).cause is Cause.HTTP_403


def _forget_clients() -> None:
    """In a thread without a loop: s3fs closes what it forgets on the loop that runs just then."""
    fsspec.filesystem("s3").clear_instance_cache()
    gc.collect()
