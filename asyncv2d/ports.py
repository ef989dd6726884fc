"""The doors of the engine: what a reader, a fetcher and a writer have to offer.

A stage is configuration first: a frozen, validated object that can be sent to another process and
is opened there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    ClassVar,
    Protocol,
    TypeVar,
    TypeVarTuple,
    Unpack,
    runtime_checkable,
)

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict

from asyncv2d.types import Blob, Fetched, Modality, Record, Row, Sample, ShardSpec

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Settings(BaseModel):
    """Base of everything that is configured: frozen, unknown keys forbidden, fields documented.

    ``needs`` are modules that a stage imports when it is opened. Those of fetchers are imported
    beforehand, in what the processes are forked from.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    # A process builds the validators of those kinds only that it validates: starting fast counts.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Reader(Protocol):
    """Cuts an input table into shards and reads the records of one of them."""

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """All shards in order, lazily: the first one is known before the input is read to its end.

        Raises UserError where the input cannot be read as it should.
        """

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The shard's lines. Shards that are read in order cost no reading twice."""

    def column_types(self) -> pa.Schema:
        """The types of the columns, the same for all shards."""


class BodyWriter(Protocol):
    """Takes a body in chunks as it arrives."""

    def fits(self, size: int) -> bool:
        """Take room for ``size`` bytes if there is some now; else hang up, and ``reserve``."""

    async def reserve(self, size: int) -> None:
        """Wait for room for ``size`` bytes, then ask for the body again."""

    def grows_to(self, size: int) -> bool:
        """Take room for ``size`` bytes of a body that is larger than expected, if there is some."""

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``; waits for room where it is beyond what was expected."""

    async def restart(self) -> None:
        """Forget what was written, and begin again."""

    async def finish(self) -> Blob:
        """The whole body, now owned by the caller."""


class Spool(Protocol):
    """Where bodies are kept until they are processed."""

    def body(self) -> AbstractAsyncContextManager[BodyWriter]:
        """Open a body, before asking for it; waits for room. It is dropped unless finished."""

    async def has_room(self, size: int | None, *, more_to_come: bool = False) -> None:
        """Wait until there is room for a body of ``size`` bytes (None: not known), and take none.

        For those who have to wait for something else as well: what holds room and waits stands in
        the way of those who wait for room. ``more_to_come``: the row needs a further one.
        """

    def body_if_room(
        self, size: int | None, *, more_to_come: bool = False
    ) -> AbstractContextManager[BodyWriter] | None:
        """Open a body of such a size if there is room for it now; as ``body``."""


class BodyFolder(Protocol):
    """An empty folder in the spool, for a body that another process writes as a file."""

    path: Path
    most: int
    """Bytes that there can ever be room for."""
    share: int
    """Bytes to begin with where nobody knows how many there will be."""

    async def reserve(self, size: int) -> None:
        """Wait for room for ``size`` bytes. Raises ItemError (too_large) if there never will be."""

    async def finish(self, file: Path) -> Blob:
        """``file`` in this folder as a body that is now owned by the caller, and the folder too."""


class Workers(Protocol):
    """Processes that run functions, and can be killed."""

    async def run(
        self, function: Callable[[Unpack[Ts]], T], *args: *Ts, timeout_s: float = ...
    ) -> T:
        """Call ``function`` in a process of its own; cancelling and a TimeoutError kill it.

        Raises ItemError and RunError as the function does, and ItemError (worker_died).
        """


OpenWorkers = Callable[[int, Callable[[], object]], AbstractAsyncContextManager[Workers]]


class Pauses:
    """The pauses that hosts ask for: whoever hears of one tells all others who ask that host.

    These are the other clients of this process, and by ``send`` the other loops of the run.
    """

    def __init__(self, send: Callable[[str, float], None] | None = None) -> None:
        self._send = send
        self._listeners: list[Callable[[str, float], None]] = []

    def listen(self, heard: Callable[[str, float], None]) -> None:
        """Call ``heard`` with the host and the seconds of each pause."""
        self._listeners.append(heard)

    def tell(self, host: str, seconds: float) -> None:
        """A host asked for a pause here."""
        self.heard(host, seconds)
        if self._send is not None:
            self._send(host, seconds)

    def heard(self, host: str, seconds: float) -> None:
        """A host asked for a pause, here or elsewhere."""
        for listener in self._listeners:
            listener(host, seconds)


class FetchContext(Struct, frozen=True):
    """What a fetcher may use while it is open.

    ``folder`` makes folders in the spool. ``workers`` starts so many processes, each of which calls
    a function first. ``wants`` is what the job can use of a row (nothing: its metadata alone), and
    ``share`` this process's part of what the job may do in a time. ``pauses`` are told to all.
    ``shared`` is what fetchers here keep together, under names of their own.
    """

    spool: Spool
    concurrency: int
    folder: Callable[[], AbstractAsyncContextManager[BodyFolder]] | None = None
    workers: OpenWorkers | None = None
    wants: frozenset[Modality] = frozenset({"video", "audio"})
    share: float = 1.0
    pauses: Pauses = field(default_factory=Pauses)
    shared: dict[str, Any] = field(default_factory=dict)


Fetch = Callable[[Row], Awaitable[Fetched]]


class Fetcher(Protocol):
    """Brings the bodies of rows whose URL has one of its ``schemes``."""

    schemes: frozenset[str]

    def open(self, context: FetchContext) -> AbstractAsyncContextManager[Fetch]:
        """Open connections; the result fetches one row and raises ItemError where it cannot."""


@runtime_checkable
class PageFetcher(Fetcher, Protocol):
    """Brings the videos of web pages. Its ``schemes`` belong to another fetcher too.

    It gets the rows whose URL it ``claims``, and those whose URL the other fetcher found to be a
    web page: an ItemError (not_media) with the fact ``is_page``.
    """

    def claims(self, url: str) -> bool:
        """Whether ``url`` is a page of a site that it knows. Called in a thread: may take time."""


class WrittenFile(Struct, frozen=True):
    """A finished file of a shard: where it lies now, and its name in the output folder."""

    path: Path
    name: str


class ShardWriter(Protocol):
    """Takes the samples of one shard, in any order. Called from one thread at a time."""

    def write(self, sample: Sample) -> int:
        """Append one sample, so that it outlives this process.

        Gives the position at which another process goes on, should this one be killed.
        """

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """Finish the files and say which they are.

        ``ledger`` is written beside them by the engine, unless one of them has its name
        (``{shard_name}.parquet``) and so holds it.
        """

    def abandon(self) -> None:
        """Let go of everything unfinished, without deleting it; called instead of ``close``."""


class StreamShard(Protocol):
    """Takes samples one after the other for a stream."""

    def write(self, sample: Sample) -> int:
        """Append one sample; what is written is on its way when this returns."""

    def finish(self) -> None:
        """Write what ends the stream."""


class StreamWriter(Protocol):
    """Writes samples into a stream, such as a pipe."""

    def stream(self, file: BinaryIO) -> StreamShard:
        """Begin the stream."""


class Writer(Protocol):
    """Writes samples in one output format."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> ShardWriter:
        """Begin a shard in ``folder``, a folder of its own on this machine.

        With a ``position`` that ``write`` gave before, go on after that sample; whatever was
        written behind it is dropped.
        """
