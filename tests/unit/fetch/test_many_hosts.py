"""A run over many hosts, half of them faulty: each row has its cause, and nothing is left."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncv2d.types import ItemError
from asyncv2d_stages.fetch._hosts import host as one_host

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.unit.fetch.conftest import Downloads, Names

pytestmark = pytest.mark.anyio
GOOD = ("ok/short.mp4", "chunked/short.mp4", "gzip/short.mp4", "redirect/short.mp4")
FAULTS = {
    "status/404/a": "http_404",
    "status/403/a": "http_403",
    "status/429/a": "http_429",
    "status/500/a": "http_5xx",
    "status/503/a": "http_5xx",
    "html/a": "not_media",
    "disguised/a": "not_media",
    "picture/a": "not_media",
    "empty/a": "empty",
    "loop/a": "redirects",
    "cut/short.mp4": "truncated",
    "reset/a": "connect",
    "reset-after/short.mp4": "truncated",
    "nonsense/a": "connect",
    "silent/a": "timeout",
    "stall/short.mp4": "stalled",
    "drip/a": "timeout",
    "packed/short/short.mp4": "truncated",
    "packed/bomb/short.mp4": "too_large",
    "with/short.mp4?X-Robots-Tag=noai": "opted_out",
    "to?url=http://169.254.169.254/": "forbidden_address",
    "to?url=http://%25/": "redirects",
}
HOSTS, ROWS = 100, 20
_ESTABLISHED = "01"


@pytest.fixture
def anyio_backend() -> str:
    """Not in debug mode, which is too slow for so many rows in so short a time."""
    return "asyncio"


def rows(server: Server, names: Names) -> dict[str, str]:
    """The URLs and what becomes of them, those of all hosts in turn."""
    found = {}
    for row in range(ROWS):
        for number in range(HOSTS):
            name = f"host-{number}.example"
            names[name] = ["127.0.0.1"]
            path, cause = GOOD[(number + row) % len(GOOD)], "ok"
            if number % 2:
                path, cause = list(FAULTS.items())[number // 2 % (len(FAULTS) + 1) - 1]
            if number % 2 and number // 2 % (len(FAULTS) + 1) == 0:
                path, cause = GOOD[0], "dns"
                del names[name]
            mark = "&" if "?" in path else "?"
            found[server.url_at(name, f"{path}{mark}row={row}")] = cause
    return found


async def test_each_row_has_its_cause(
    server: Server,
    downloads: Downloads,
    names: Names,
    videos: Mapping[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 2,000, whatever the others do; and sockets, threads and bodies are gone afterwards."""
    monkeypatch.setattr(one_host, "_FIRST_PAUSE_S", 0.01)
    expected = rows(server, names)
    found: dict[str, str] = {}
    left = iter(expected)
    settings = {
        "private_addresses": "allow",
        "retries": 1,
        "timeout": 2.0,
        "total_timeout": 5.0,
        "host_patience": 1,
        "max_bytes": 1 << 20,
    }
    async with downloads.client(concurrency=64, **settings) as client:

        async def work() -> None:
            for url in left:
                try:
                    blob, _ = await client.download(url)
                except ItemError as error:
                    found[url] = error.cause
                else:
                    found[url] = "ok" if blob.read() == videos["short.mp4"] else "bad"
                    blob.close()

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(work)
    wrong = {url: (found[url], cause) for url, cause in expected.items() if found[url] != cause}
    assert not wrong
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dns")]
    assert connections_to(int(server.address.rpartition(":")[2])) == 0


def connections_to(port: int) -> int:
    """Connections to this port of this machine that are open at their client's end."""
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    ends = [(line.split()[2].rpartition(":")[2], line.split()[3]) for line in lines]
    return sum(int(end, 16) == port and state == _ESTABLISHED for end, state in ends)
