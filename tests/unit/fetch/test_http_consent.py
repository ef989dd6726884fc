"""What servers say about the use of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.consent import product_token, refusal

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads


@pytest.mark.parametrize(
    "headers",
    [
        *(["noai"], ["NoImageAI"], ["noindex"], ["noimageindex, nofollow"], ["all", "noai"]),
        *(["none"], ["asyncv2d: noai"], ["AsyncV2D: nofollow, noai"], ["otherbot: a, *: noai"]),
        ["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"],
        ["unavailable_after: Fri, 25 Jun 2030 15:00:00 PST, noai"],
        *(["nofollow; noai"], ["nofollow noai"]),
    ],
)
def test_refused(headers: list[str]) -> None:
    """To everyone, or to this program by its name."""
    assert refusal(headers, "asyncv2d") is not None


@pytest.mark.parametrize(
    "headers",
    [
        *([], ["all"], ["nofollow, noarchive"], ["otherbot: noai"], ["otherbot: nofollow, noai"]),
        ["max-image-preview: none"],
    ],
)
def test_not_refused(headers: list[str]) -> None:
    """Rules about other things, and for others."""
    assert refusal(headers, "asyncv2d") is None


def test_product_token() -> None:
    """The name in rules is the first word of the User-Agent."""
    assert product_token("asyncv2d/0.1 (+mail)") == "asyncv2d"
    assert product_token("My Bot") == "my"


@pytest.mark.anyio
class TestDownloads:
    """The same, asked of a server."""

    async def test_opted_out(self, server: Server, downloads: Downloads) -> None:
        """Is respected, unless the user decides otherwise."""
        url = server.url("with/short.mp4?X-Robots-Tag=otherbot: noai&X-Robots-Tag=noimageai")
        error = await downloads.failure(url)
        assert error.cause is Cause.OPTED_OUT
        assert "noimageai" in error.detail
        await downloads.one(url, ignore_opt_out=True)

    async def robots(
        self, server: Server, downloads: Downloads, status: int, text: str, **settings: Any
    ) -> list[Cause | None]:
        """What becomes of two rows of a host with this robots.txt."""
        server.robots["127.0.0.1"] = status, text
        causes: list[Cause | None] = []
        async with downloads.client(respect_robots_txt=True, **settings) as client:
            for path in ("ok/short.mp4", "ok/sound.mp4"):
                try:
                    blob, _ = await client.download(server.url(path))
                    blob.close()
                    causes.append(None)
                except ItemError as error:
                    causes.append(error.cause)
        return causes

    @pytest.mark.parametrize(
        ("status", "text", "causes"),
        [
            (200, "User-agent: *\nDisallow: /ok/so", [None, Cause.OPTED_OUT]),
            (200, "User-agent: *\nDisallow: /*sound\nAllow: /ok", [None, Cause.OPTED_OUT]),
            (200, "User-agent: *\nDisallow: /\n\nUser-agent: asyncv2d\nAllow: /", [None, None]),
            (200, "\ufeff<html>nonsense", [None, None]),
            (404, "", [None, None]),
            (403, "", [None, None]),
            (503, "", [Cause.HTTP_5XX, Cause.HTTP_5XX]),
            (429, "", [Cause.HTTP_429, Cause.HTTP_429]),
        ],
    )
    async def test_robots_txt(
        self,
        server: Server,
        downloads: Downloads,
        status: int,
        text: str,
        causes: list[Cause | None],
    ) -> None:
        """Is fetched once and followed; if it cannot be read, nothing is fetched."""
        assert await self.robots(server, downloads, status, text) == causes
        assert server.count("robots.txt") == 1

    async def test_not_asked_for(self, server: Server, downloads: Downloads) -> None:
        """Unless the user wants it."""
        await downloads.one(server.url("ok/short.mp4"))
        assert server.count("robots.txt") == 0

    async def test_a_host_that_is_not_there(self, downloads: Downloads) -> None:
        """Is no matter of consent."""
        error = await downloads.failure("http://127.0.0.1:1/a", respect_robots_txt=True, retries=0)
        assert error.cause is Cause.CONNECT
