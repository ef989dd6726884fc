"""The words of the program as types: rows, bodies, samples, outcomes and causes.

Nothing here imports another module of the project, so every part of it can speak this language.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from io import BufferedReader, BytesIO, RawIOBase
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TypeVar

from msgspec import Struct, field

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

INLINE_BYTES = 128 << 10
"""Up to this size a pipe brings a body to another process sooner than a file does."""

Json = Mapping[str, Any]
Modality = Literal["video", "audio"]
Status = Literal["success", "failed_to_download", "failed_to_subsample"]


class Cause(StrEnum):
    """Why a row failed: a closed list, each with a fixed meaning and whether a retry may help."""

    meaning: str
    worth_retrying: bool

    def __new__(cls, value: str, worth_retrying: bool, meaning: str) -> Cause:
        """Make a member that is its own value and carries its documentation."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.worth_retrying = worth_retrying
        member.meaning = meaning
        return member

    BAD_URL = "bad_url", False, "the URL is empty, malformed, or of a scheme nothing here fetches"
    NOT_FOUND = (
        "not_found",
        False,
        "the row names a file, here or in a store, that does not exist or cannot be read",
    )
    HTTP_403 = "http_403", False, "the server refused access (403)"
    HTTP_404 = "http_404", False, "the server has no such page (404 or 410)"
    HTTP_429 = "http_429", True, "the server asked for fewer requests (429)"
    HTTP_4XX = "http_4xx", False, "the server refused the request with another 4xx status"
    HTTP_5XX = "http_5xx", True, "the server failed (5xx)"
    REDIRECTS = "redirects", False, "too many redirects, or one that leads nowhere"
    DNS = "dns", True, "the host name could not be resolved"
    CONNECT = "connect", True, "no connection to the host, or it broke before an answer came"
    TLS = "tls", False, "the host's certificate or TLS handshake was not acceptable"
    TIMEOUT = "timeout", True, "the answer did not begin in time, or took too long in total"
    STALLED = "stalled", True, "the body began, then no bytes, or too few, came in the allowed time"
    TRUNCATED = (
        "truncated",
        True,
        "the file ends before its own headers or the server say it does, or has holes",
    )
    TOO_LARGE = "too_large", False, "the body is larger than is allowed, or than there is room for"
    NOT_MEDIA = "not_media", False, "what came is no audio or video file (a web page, text, JSON …)"
    EMPTY = "empty", False, "the body has no bytes"
    CORRUPT = "corrupt", False, "the file is media, but parts of it cannot be decoded"
    NO_VIDEO_STREAM = "no_video_stream", False, "the file holds no video, and the job needs it"
    NO_AUDIO_STREAM = "no_audio_stream", False, "the file holds no sound, and the job makes sound"
    NO_CLIPS = "no_clips", False, "no span of the video fits the lengths that were asked for"
    OPTED_OUT = "opted_out", False, "the server asks to leave the file out of such datasets"
    FORBIDDEN_ADDRESS = (
        "forbidden_address",
        False,
        "the URL, or where it leads, is an address of this network that rows may not reach",
    )
    BAD_ROW = "bad_row", False, "the line of the table cannot be read"
    BAD_CLIPS = (
        "bad_clips",
        False,
        "the row's clips, cuts or subtitles cannot be read as spans of time",
    )
    UNAVAILABLE = "unavailable", False, "the site says that the video is gone, or never was there"
    PRIVATE = "private", False, "the site shows the video only to those whom its owner chose"
    GEO_BLOCKED = "geo_blocked", False, "the site does not show the video in this country"
    LOGIN_REQUIRED = (
        "login_required",
        False,
        "the site wants a login, or proof that no robot asks: give it cookies",
    )
    AGE_RESTRICTED = "age_restricted", False, "the site shows the video only to proven adults"
    RATE_LIMITED = "rate_limited", True, "the site asked for fewer requests"
    LIVE = "live", False, "the broadcast goes on or has yet to begin, so it has no end"
    NO_FORMAT = "no_format", False, "the site offers no form of the video that can be downloaded"
    EXTRACTOR_FAILED = (
        "extractor_failed",
        False,
        "yt-dlp does not understand what the site sent; a newer release of it may",
    )
    NOT_INSTALLED = (
        "not_installed",
        False,
        "a package that such URLs need is not installed; the message says which",
    )
    CANNOT_ENCODE = (
        "cannot_encode",
        False,
        "the encoder takes no picture of this size or rate; choose another codec, size or rate",
    )
    WORKER_DIED = "worker_died", True, "the worker process died on this video, also when retried"
    WORKER_TIMEOUT = "worker_timeout", False, "processing this video took longer than allowed"
    BUG = "bug", False, "an error that the program did not foresee; please report it"


class ItemError(Exception):
    """The expected way for a stage to say that one row cannot be processed.

    ``facts`` go into the ledger: ``http_status``, ``bytes_downloaded``, ``frames_decoded``.
    """

    def __init__(self, cause: Cause, detail: str, **facts: Any) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail
        self.attempts = 1
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"attempts": self.attempts, "facts": self.facts}
        return type(self), (self.cause, self.detail), state

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}"


class RunError(Exception):
    """The run cannot go on: one clear line for each problem, and the exit code of the command."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    @classmethod
    def found_in(cls, error: BaseException) -> RunError | None:
        """The first such error inside ``error``, which may be a task group's group of errors."""
        if isinstance(error, BaseExceptionGroup):
            return next(filter(None, map(cls.found_in, error.exceptions)), None)
        return error if isinstance(error, RunError) else None


class WorkerError(Exception):
    """An error nobody foresaw, in a worker process; its text is the traceback."""


class UserError(RunError):
    """A mistake in the arguments, the configuration or the input."""

    exit_code = 2


class ShardSpec(Struct, frozen=True):
    """A fixed, contiguous slice of one input file: rows ``start`` to ``stop`` (exclusive).

    ``offset`` is the byte (of the text, decompressed) at which row ``start`` begins, for formats
    that have no other way to find a row; ``line`` counts the lines before it, for messages.
    """

    id: int
    source: str
    start: int
    stop: int
    offset: int = 0
    line: int = 0


class Part(Struct, frozen=True):
    """Where a part of an earlier dataset's sample lies: bytes of a file, local or fsspec's."""

    source: str
    start: int
    size: int


class Record(Struct, frozen=True):
    """One line of the input as a reader gives it.

    ``key`` and ``parts`` (by extension) are those of an earlier dataset's sample. ``problem`` says
    why the line cannot be read; its row then fails with cause ``bad_row``.
    """

    columns: Mapping[str, Any]
    key: str | None = None
    parts: Mapping[str, Part] | None = None
    problem: str | None = None


class Row(Struct, frozen=True):
    """One line of the input; ``index`` is its place in its shard, ``shard`` the shard's id.

    ``retry_of`` is the key of the row of which this one is another try.
    """

    index: int
    key: str
    url: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    shard: int = 0
    parts: Mapping[str, Part] | None = None
    problem: str | None = None
    retry_of: str | None = None

    @property
    def caption(self) -> str | None:
        """The caption as text; None where the table has no caption column or an empty cell."""
        value = self.columns.get("caption")
        return None if value is None else str(value)


class Blob(Struct, frozen=True):
    """A body with an owner: either ``pieces`` in memory that follow each other, or a spool file.

    Whoever receives a Blob closes it; that deletes its spool file and gives its share of the byte
    budget back. Closing twice does nothing.
    """

    size: int
    pieces: Sequence[bytes] | None = None
    path: Path | None = None
    on_close: Callable[[], None] | None = None

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """A Blob that holds its bytes itself and owes nothing to a budget."""
        return cls(size=len(data), pieces=(data,))

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        if self.pieces is not None:
            is_one = len(self.pieces) == 1
            return BytesIO(self.pieces[0]) if is_one else BufferedReader(_Pieces(self.pieces))
        assert self.path is not None
        return self.path.open("rb")

    def read(self) -> bytes:
        """All bytes of the body."""
        if self.pieces is not None:
            return b"".join(self.pieces)
        assert self.path is not None
        return self.path.read_bytes()

    def close(self) -> None:
        """Give the body up."""
        if self.on_close is not None:
            self.on_close()


class LocalFile(Struct, frozen=True):
    """A body that lies on this machine already and is not ours to delete."""

    path: Path

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        return self.path.open("rb")

    def read(self) -> bytes:
        """All bytes of the file."""
        return self.path.read_bytes()

    def close(self) -> None:
        """Nothing to give back."""


class FileSlice(Struct, frozen=True):
    """A body that is a stretch of a file on this machine, such as a part in a tar."""

    path: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """A file to read the body from."""
        return BufferedReader(_Stretch(self))

    def read(self) -> bytes:
        """All bytes of the stretch."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def close(self) -> None:
        """Nothing to give back."""


Body = Blob | LocalFile | FileSlice


class _Window(RawIOBase):
    """A file of ``size`` bytes that reads what lies elsewhere."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        left = max(0, self._size - self._position)
        count = self._read_at(self._position, memoryview(buffer).cast("B")[:left])
        self._position += count
        return count

    def _read_at(self, position: int, room: memoryview) -> int:
        """Fill ``room``, or a part of it, from ``position`` on; how many bytes that are."""
        raise NotImplementedError


class _Pieces(_Window):
    """Pieces in memory, read where they lie: to join them takes as long as to write them."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._ends = list(accumulate(map(len, pieces)))
        super().__init__(self._ends[-1] if pieces else 0)

    def _read_at(self, position: int, room: memoryview) -> int:
        if not room:
            return 0
        number = bisect_right(self._ends, position)
        piece, left = self._pieces[number], self._ends[number] - position
        count = min(len(room), left)
        begin = len(piece) - left
        room[:count] = piece[begin : begin + count]
        return count


class _Stretch(_Window):
    """A stretch of a file."""

    def __init__(self, part: FileSlice) -> None:
        super().__init__(part.size)
        self._file = part.path.open("rb", buffering=0)
        self._start = part.start

    def _read_at(self, position: int, room: memoryview) -> int:
        self._file.seek(self._start + position)
        return self._file.readinto(room)

    def close(self) -> None:
        self._file.close()
        super().close()


class Fetched(Struct, frozen=True):
    """What a fetcher brings for one row: a body for each modality, and what it learnt."""

    row: Row
    media: Mapping[Modality, Body]
    info: Json = field(default_factory=dict)
    attempts: int = 1

    @property
    def size(self) -> int:
        """Bytes over all bodies."""
        return sum(body.size for body in self.media.values())

    def close(self) -> None:
        """Give all bodies up."""
        for body in self.media.values():
            body.close()


class Sample(Struct, frozen=True):
    """One output example: ``parts`` maps an extension (``mp4``, ``txt``, ``json``) to a body.

    ``caption`` is what is said in it, where that is to stand in for the row's caption.
    """

    key: str
    parts: Mapping[str, Body]
    meta: Json
    caption: str | None = None

    def close(self) -> None:
        """Give all parts up."""
        for body in self.parts.values():
            body.close()


class Processed(Struct, frozen=True):
    """All samples made from one row, and the figures of the work (``frames_decoded`` …)."""

    samples: Sequence[Sample]
    facts: Json = field(default_factory=dict)
    attempts: int = 1

    def close(self) -> None:
        """Give all samples up."""
        for sample in self.samples:
            sample.close()


class Ok(Struct, Generic[T_co], frozen=True):
    """A row that is well so far, with what the last stage made of it."""

    row: Row
    value: T_co


class Failed(Struct, frozen=True):
    """A row that failed: where, why, and after how many attempts."""

    row: Row
    stage: str
    cause: Cause
    detail: str
    attempts: int = 1
    facts: Json = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The word of video2dataset's ledger for this failure."""
        return "failed_to_download" if self.stage in ("read", "fetch") else "failed_to_subsample"


Outcome = Ok[T] | Failed


class KeyFormat(Struct, frozen=True):
    """How keys and shard names are written: ``00003`` and ``000030017`` for row 17 of shard 3."""

    samples_per_shard: int
    oom_shard_count: int

    @property
    def index_digits(self) -> int:
        """Digits of a row's index: ⌈log10(samples per shard)⌉."""
        return len(str(self.samples_per_shard - 1)) if self.samples_per_shard > 1 else 0

    def key(self, shard: int, index: int) -> str:
        """The key of row ``index`` of ``shard``."""
        number = shard * 10**self.index_digits + index
        return f"{number:0{self.index_digits + self.oom_shard_count}d}"

    def shard_name(self, shard: int) -> str:
        """The name that all files of ``shard`` begin with."""
        return f"{shard:0{self.oom_shard_count}d}"
