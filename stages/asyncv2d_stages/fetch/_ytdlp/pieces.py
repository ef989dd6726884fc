"""Downloads what comes in segments, as HLS and DASH do, into files in the spool."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from asyncv2d.ports import BodyFolder
from asyncv2d.types import Body, Cause, ItemError
from asyncv2d_stages.fetch._ytdlp.kept import IS_BEYOND_LIMIT
from asyncv2d_stages.fetch._ytdlp.pool import Process
from asyncv2d_stages.fetch._ytdlp.worker import Form, fetch_pieces

_MORE_ROOM = 4  # times what was too little


class Pieces:
    """Has yt-dlp's processes download segments, each within the room that was taken for it.

    ``most`` is what a body may have (bytes; None: what there is room for), ``timeout`` how long it
    may take (seconds).
    """

    def __init__(
        self,
        folder: Callable[[], AbstractAsyncContextManager[BodyFolder]],
        most: int | None,
        timeout: float,
    ) -> None:
        self._folder = folder
        self._most = most
        self._timeout = timeout

    async def download(self, process: Process, form: Form, url: str) -> Body:
        """The segments of a form in one file; ``url`` is the page's.

        How large that becomes is seldom known. Where too little room was taken, none is kept while
        more is waited for, and it begins anew. Raises ItemError.
        """
        wanted = form.size or 0
        while True:
            async with self._folder() as folder:
                most = min(folder.most, self._most or folder.most)
                room = min(max(wanted, folder.share), most)
                await folder.reserve(room)
                try:
                    file = await self._fetch(process, form, url, folder.path, room)
                except ItemError as error:
                    if room == most or IS_BEYOND_LIMIT not in error.facts:
                        raise
                else:
                    return await folder.finish(file)
            wanted = _MORE_ROOM * room

    async def _fetch(self, process: Process, form: Form, url: str, path: Path, room: int) -> Path:
        try:
            file = await process.workers.run(
                fetch_pieces, form, url, str(path), room, timeout_s=self._timeout
            )
        except TimeoutError:
            detail = f"the segments did not come within total_timeout ({self._timeout:g} s)"
            raise ItemError(Cause.TIMEOUT, detail) from None
        return Path(file)
