"""The least that a program can do: GET what ``urls.txt`` lists, and append it to ``out.tar``.

``python bare_loop.py DOWNLOADS``. It imports nothing of asyncv2d, whose start is compared too.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp


def main(downloads: int) -> None:
    """Download with so many requests at a time."""
    with tarfile.open("out.tar", "w") as tar:
        asyncio.run(_download(Path("urls.txt").read_text().split(), tar, downloads))


async def _download(urls: Sequence[str], tar: tarfile.TarFile, downloads: int) -> None:
    left = iter(enumerate(urls))

    async def work(session: aiohttp.ClientSession) -> None:
        for number, url in left:
            async with session.get(url) as response:
                data = await response.read()
            entry = tarfile.TarInfo(f"{number:09d}.mp4")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(downloads)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
