"""Transfers that break off: the rest is asked for where that is safe, else all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from asyncv2d.types import Cause

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio
NAME = "short.mp4"
SOON: Mapping[str, Any] = {"stall_timeout": 0.1, "timeout": 5}


def ranges(server: Server, way: str) -> list[str | None]:
    """The header Range of each request."""
    return [headers.get("Range") for headers in server.headers[f"/broken/{way}/{NAME}"]]


@pytest.mark.parametrize("way", ["range", "modified"])
async def test_the_rest(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes], way: str
) -> None:
    """Is asked for, on condition that the file is the same, and completes the body."""
    data, facts = await downloads.one(server.url(f"broken/{way}/{NAME}"), **SOON)
    assert data == videos[NAME]
    assert facts["attempts"] == 2
    assert facts["http_status"] == 206
    assert ranges(server, way) == [None, f"bytes={len(data) // 2}-"]
    assert server.headers[f"/broken/{way}/{NAME}"][1]["If-Range"]


@pytest.mark.parametrize("way", ["changed", "ignored"])
async def test_all_of_it_in_place_of_the_rest(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes], way: str
) -> None:
    """Starts over, at once."""
    data, facts = await downloads.one(server.url(f"broken/{way}/{NAME}"), **SOON)
    assert data == videos[NAME]
    assert facts["attempts"] == 2


@pytest.mark.parametrize("way", ["weak", "none"])
async def test_no_way_to_tell_if_it_is_the_same(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes], way: str
) -> None:
    """Starts over."""
    data, _ = await downloads.one(server.url(f"broken/{way}/{NAME}"), **SOON)
    assert data == videos[NAME]
    assert ranges(server, way) == [None, None]


@pytest.mark.parametrize("way", ["wrong", "gone"])
async def test_another_part(
    server: Server, downloads: Downloads, videos: Mapping[str, bytes], way: str
) -> None:
    """Is an error, after which everything is asked for again."""
    data, facts = await downloads.one(server.url(f"broken/{way}/{NAME}"), **SOON)
    assert data == videos[NAME]
    assert facts["attempts"] == 3
    assert ranges(server, way) == [None, f"bytes={len(data) // 2}-", None]
    error = await downloads.failure(server.url(f"broken/{way}/{NAME}?again"), **SOON, retries=0)
    assert error.cause is Cause.TRUNCATED
    assert error.attempts == 2


async def test_a_large_body(server: Server, downloads: Downloads) -> None:
    """Is completed and replaced in its file too."""
    server.videos["large.mp4"] = bytes(range(256)) * 20_000
    for way in ("range", "changed"):
        data, facts = await downloads.one(server.url(f"broken/{way}/large.mp4"), **SOON)
        assert data == server.videos["large.mp4"]
        assert facts["attempts"] == 2
