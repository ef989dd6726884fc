"""The doors of the engine: what a reader, a fetcher and a writer have to offer.

A stage is configuration first: a frozen, validated object that can be sent to another process and
is opened there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pydantic import BaseModel, ConfigDict

from asyncv2d.types import Blob, Fetched, Record, Row, Sample, ShardSpec

if TYPE_CHECKING:
    import pyarrow as pa


class Settings(BaseModel):
    """Base of everything that is configured: frozen, unknown keys forbidden, fields documented."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


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


class StreamReader(Protocol):
    """Reads records from a pipe."""

    def stream(self) -> Iterator[Record]:
        """All records, each as soon as it is there."""


class BodyWriter(Protocol):
    """Takes a body in chunks as it arrives."""

    def fits(self, size: int) -> bool:
        """Take room for ``size`` bytes if there is some now; else hang up, and ``reserve``."""

    async def reserve(self, size: int) -> None:
        """Wait for room for ``size`` bytes, then ask for the body again."""

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``."""

    async def finish(self) -> Blob:
        """The whole body, now owned by the caller."""


class Spool(Protocol):
    """Where bodies are kept until they are processed."""

    def body(self) -> AbstractAsyncContextManager[BodyWriter]:
        """Open a body, before asking for it; waits for room. It is dropped unless finished."""


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What a fetcher may use while it is open."""

    spool: Spool
    concurrency: int


Fetch = Callable[[Row], Awaitable[Fetched]]


class Fetcher(Protocol):
    """Brings the bodies of rows whose URL has one of its ``schemes``."""

    schemes: frozenset[str]

    def open(self, context: FetchContext) -> AbstractAsyncContextManager[Fetch]:
        """Open connections; the result fetches one row and raises ItemError where it cannot."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
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
