"""A body on its way in, over several requests if the connection breaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from msgspec import Struct, field

from asyncv2d.ports import BodyWriter, Spool
from asyncv2d.types import Blob, Cause, ItemError
from asyncv2d_stages.fetch._http.body import encoding_of, is_plain

if TYPE_CHECKING:
    import aiohttp

    from asyncv2d_stages.fetch._http.urls import Target

_HEAD = 4096
_GOOD_PARTS = 32  # of a body: attempts that bring one do not count as failures
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class NoRoomError(Exception):
    """There is no room now for a body of ``size`` bytes; whoever sends it is to be hung up on."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Version(Struct, frozen=True):
    """By what a server knows that a file is the same; ``place`` is where it lies there."""

    place: str
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """What the server can be asked to compare: an ETag, or a date."""
        return self.etag or self.modified

    def may_be(self, other: Version) -> bool:
        """Whether nothing that both say contradicts that they are the same."""
        pairs = (self.etag, other.etag), (self.modified, other.modified)
        return self.place == other.place and all(
            one is None or another is None or one == another for one, another in pairs
        )


class Transfer(Struct):
    """What came of a body so far, and whether the rest can be asked for.

    ``more_to_come``: its row needs a further body. ``expected`` is how large it is (bytes), where
    that was said and there was no room for it.
    """

    spool: Spool
    max_bytes: int | None
    more_to_come: bool = False
    body: BodyWriter | None = None
    received: int = 0
    whole: int | None = None
    version: Version | None = None
    status: int | None = None
    content_type: str = ""
    took_s: float = 0.0
    expected: int | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    async def __aenter__(self) -> Transfer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.drop()

    async def wait_for_room(self) -> None:
        """Wait until there is room for the body, without taking it.

        It is taken when the turn to ask has come: rows that held room and waited for their turn
        would have those wait for room whose turn it is.
        """
        if self.body is None:
            await self.spool.has_room(self.expected, more_to_come=self.more_to_come)

    def open(self) -> bool:
        """Take room for the body; False where others were quicker."""
        if self.body is None:
            body = self.spool.body_if_room(self.expected, more_to_come=self.more_to_come)
            self.body = None if body is None else self._stack.enter_context(body)
        return self.body is not None

    async def expect(self, size: int) -> None:
        """There was no room for a body of ``size`` bytes: begin again when there is."""
        self.expected = size
        self.took_s = 0.0
        await self.drop()

    async def drop(self) -> None:
        """Give up what came, with its room."""
        self.body, self.received, self.whole, self.version = None, 0, None, None
        self._stack.close()

    async def keep_if_resumable(self) -> None:
        """After a failure: hold on to what came only if the rest can be asked for."""
        if not self.wants_rest:
            await self.drop()

    @property
    def progress(self) -> int:
        """Bytes that came, the answer's head among them."""
        return self.received + (0 if self.status is None else _HEAD)

    @property
    def wants_rest(self) -> bool:
        """Whether a part is there, and the server can tell if it still fits the rest."""
        is_known = self.version is not None and self.version.validator is not None
        return self.body is not None and self.received > 0 and is_known

    def came_on_since(self, received: int) -> bool:
        """Whether a good part of the body came, and the rest can be asked for."""
        came = self.received - received
        return self.wants_rest and self.whole is not None and came * _GOOD_PARTS >= self.whole

    def headers(self, wanted: Target) -> Mapping[str, str]:
        """What asks for the rest only, provided that the file is still the same."""
        version = self.version
        if not self.wants_rest or version is None or version.place != wanted.file:
            return {}  # another mirror may call another file by the same ETag
        return {"Range": f"bytes={self.received}-", "If-Range": version.validator or ""}

    async def begin(self, response: aiohttp.ClientResponse, asked: Target) -> None:
        """Look at the head of an answer with a body: it may be the rest, or all of it again."""
        self.content_type = response.content_type
        is_packed = not is_plain(encoding_of(response))
        if response.status == 206:
            await self._begin_rest(response, asked, is_packed=is_packed)
            return
        if self.received and self.body is not None:
            await self.body.restart()
        self.received = 0
        self.whole = None if is_packed else response.content_length
        self.version = None if is_packed else _version(response, asked)
        self.check_size(self.whole or 0)

    async def _begin_rest(
        self, response: aiohttp.ClientResponse, asked: Target, *, is_packed: bool
    ) -> None:
        header = response.headers.get("Content-Range", "")
        found = _RANGE.fullmatch(header.strip())
        whole = int(found[3]) if found and found[3] != "*" else None
        is_same = self.version is None or self.version.may_be(_said_version(response, asked))
        fits = (
            found is not None
            and not is_packed
            and int(found[1]) == self.received
            and (self.wants_rest or whole == int(found[2]) + 1)
            and (self.whole is None or whole in (None, self.whole))
            and is_same
        )
        if not fits:
            detail = (
                f"asked for bytes {self.received}-, the server sent {header[:60] or 'others'!r}"
            )
            await self.drop()
            raise ItemError(Cause.TRUNCATED, detail)
        self.whole = self.whole or whole
        self.check_size(self.whole or 0)

    async def write(self, piece: bytes) -> None:
        """Add what came. Raises NoRoomError where it is more than was expected."""
        assert self.body is not None
        size = self.received + len(piece)
        self.check_size(size)
        if not self.body.grows_to(size):
            raise NoRoomError(2 * size)
        self.received += len(piece)  # the body has it even where this is cancelled while it waits
        await self.body.write(piece)

    def check_size(self, size: int) -> None:
        """Refuse a body beyond the limit."""
        if self.max_bytes is not None and size > self.max_bytes:
            detail = f"the body is larger than max_bytes ({self.max_bytes})"
            raise ItemError(Cause.TOO_LARGE, detail)

    def check_end(self) -> None:
        """Refuse a body that goes on behind the end that was said."""
        if self.whole is not None and self.received > self.whole:
            raise ItemError(Cause.TRUNCATED, f"more came than {self.whole} bytes")

    async def finish(self) -> Blob:
        """The whole body."""
        assert self.body is not None
        if not (self.received or self.whole):
            raise ItemError(Cause.EMPTY, "the server sent an empty body")
        if self.whole is not None and self.received != self.whole:
            detail = f"{self.received} bytes came of {self.whole}"
            if self.received > self.whole:
                await self.drop()
            raise ItemError(Cause.TRUNCATED, detail)
        return await self.body.finish()


def _version(response: aiohttp.ClientResponse, asked: Target) -> Version | None:
    """The version of a whole body; None if the server sends no parts."""
    headers = response.headers
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    said = _said_version(response, asked)
    if said.etag is not None:
        # A weak one may be that of other bytes.
        return said if said.etag.startswith('"') else None
    # A file that was changed in the second in which it was sent may be changed again unnoticed.
    return said if said.modified and said.modified != headers.get("Date") else None


def _said_version(response: aiohttp.ClientResponse, asked: Target) -> Version:
    headers = response.headers
    return Version(asked.file, headers.get("ETag"), headers.get("Last-Modified"))
