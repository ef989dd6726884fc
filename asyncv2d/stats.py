"""What a dataset says of itself: counts over all its shards, from their reports and ledgers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, field

from asyncv2d.histogram import Histogram
from asyncv2d.ledgers import Firsts, Ledger, read_report, shard_names
from asyncv2d.store import Store, open_store
from asyncv2d.types import Cause, RunError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_AT_ONCE = 4
_UNKNOWN = "unknown"
_COLUMNS = (
    *("key", "status", "cause", "stage", "attempts"),
    *("http_status", "bytes_downloaded", "frames", "duration", "seconds", "retry_of"),
)
_COUNTERS = ("causes", "stages", "attempts", "http_statuses")
_FROM_REPORT = {
    "rows": "count",
    "ok": "successes",
    "samples": "samples",
    "bytes_downloaded": "bytes_downloaded",
    "bytes_written": "bytes_written",
    "frames_decoded": "frames_decoded",
}


class DatasetStats(Struct):
    """Counts over rows, of one shard or of all.

    A row is counted once, however many samples it gave, and by its last try.
    """

    dataset: str
    shards: int = 0
    rows: int = 0
    ok: int = 0
    tried_again: set[str] = field(default_factory=set)
    """The keys of the rows that failed and were tried again as others."""
    samples: int = 0
    bytes_downloaded: int = 0
    bytes_written: int = 0
    frames_decoded: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    http_statuses: Counter[int] = field(default_factory=Counter)
    clip_frames: int = 0
    clip_seconds: Histogram = field(default_factory=Histogram)
    """The lengths of the clips that have one: a video that was kept whole has none."""
    row_seconds: Histogram = field(default_factory=Histogram)
    """How long each row took."""
    shard_seconds: float = 0.0
    """The time from a shard's first row to its last, over all shards; they overlap."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When each shard was begun and finished."""

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return self.rows - self.ok

    @property
    def running_seconds(self) -> float:
        """How long at least one shard was in the making, pauses between runs left out."""
        total, until = 0.0, float("-inf")
        for start, stop in sorted(self.spans):
            total += max(0.0, stop - max(start, until))
            until = max(until, stop)
        return total

    def add(self, other: DatasetStats) -> None:
        """Add the counts of another shard."""
        for name in ("shards", *_FROM_REPORT, "clip_frames", "shard_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.tried_again |= other.tried_again
        self.clip_seconds.add(other.clip_seconds)
        self.row_seconds.add(other.row_seconds)
        self.spans += other.spans

    def take_away(self, superseded: DatasetStats) -> None:
        """Count rows no more that were tried again; what they cost stays."""
        self.rows -= superseded.rows
        for name in _COUNTERS:
            setattr(self, name, getattr(self, name) - getattr(superseded, name))

    def to_json(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        return {
            "dataset": self.dataset,
            "shards": self.shards,
            "rows": self.rows,
            "ok": self.ok,
            "failed": self.failed,
            "tried_again": len(self.tried_again),
            "samples": self.samples,
            "causes": {word: _described(word, rows) for word, rows in self.causes.most_common()},
            "stages": dict(self.stages.most_common()),
            "attempts": {str(times): self.attempts[times] for times in sorted(self.attempts)},
            "http_statuses": {
                str(status): rows for status, rows in self.http_statuses.most_common()
            },
            "bytes_downloaded": self.bytes_downloaded,
            "bytes_written": self.bytes_written,
            "frames_decoded": self.frames_decoded,
            "clips": {**self.clip_seconds.to_json(), "frames": self.clip_frames},
            "row_times": self.row_seconds.to_json(),
            "time": self._time(),
        }

    def _time(self) -> dict[str, Any]:
        running = self.running_seconds
        return {
            "first_start": min((start for start, _ in self.spans), default=None),
            "last_end": max((stop for _, stop in self.spans), default=None),
            "running_seconds": running,
            "shard_seconds": self.shard_seconds,
            "rows_per_second": self.rows / running if running else None,
            "bytes_per_second": self.bytes_downloaded / running if running else None,
        }

    def lines(self) -> list[str]:
        """A table for people."""
        from asyncv2d.stats_table import table

        return table(self.to_json())


def _described(word: str, rows: int) -> dict[str, Any]:
    """A cause with its number of rows; nothing is known of one that is not ours."""
    cause = _cause(word)
    return {
        "rows": rows,
        "meaning": cause.meaning if cause else None,
        "worth_retrying": cause.worth_retrying if cause else None,
    }


def _cause(word: str) -> Cause | None:
    return Cause.__members__.get(word.upper())


def dataset_stats(store: Store) -> DatasetStats:
    """Count over all published shards; UserError where the folder is no dataset."""
    total = DatasetStats(store.url)
    names = shard_names(store)
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stats")
    try:
        for shard in pool.map(lambda name: _shard_stats(store, name), names):
            total.add(shard)
    finally:
        pool.shutdown(cancel_futures=True)
    if total.tried_again:
        total.take_away(_superseded(store, names, total.tried_again))
    return total


def _superseded(store: Store, names: Sequence[str], keys: Collection[str]) -> DatasetStats:
    """The counts of the rows that were tried again."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stats, wanted = DatasetStats(store.url), pa.array(keys, pa.string())
    for name in names:
        for _, batch in Ledger(store, name).batches(_COLUMNS):
            found = pc.is_in(batch["key"], wanted)
            if pc.any(found).as_py():
                lines = {column: batch[column].filter(found) for column in batch}
                _count(stats, lines, Firsts(one_line_a_row=True))
    return stats


class FailedRow(NamedTuple):
    """A row that failed: its shard's id, its key, and why."""

    shard: int
    key: str
    cause: Cause


def failed_rows(store: Store, causes: Collection[Cause]) -> Iterator[FailedRow]:
    """The rows of published shards that failed by one of ``causes``, in order.

    Rows that were tried again are left out.
    """
    wanted, names = {cause.value: cause for cause in causes}, shard_names(store)
    tried = {
        key
        for name in names
        for _, batch in Ledger(store, name).batches(["retry_of"])
        for key in batch["retry_of"].drop_null().to_pylist()
    }
    for name in names:
        for _, batch in Ledger(store, name).batches(["key", "cause"]):
            for key, cause in zip(*(batch[name].to_pylist() for name in batch), strict=True):
                if cause in wanted and key not in tried:
                    yield FailedRow(int(name), key, wanted[cause])


def main(dataset: str, *, as_json: bool) -> str:
    """The text that ``asyncv2d stats`` prints."""
    try:
        stats = dataset_stats(open_store(dataset))
    except OSError as error:
        raise RunError(f"{dataset}: cannot be read: {error}") from error
    if as_json:
        return json.dumps(stats.to_json(), indent=4)
    return "\n".join(stats.lines())


def _shard_stats(store: Store, name: str) -> DatasetStats:
    stats = DatasetStats(store.url, shards=1)
    report = read_report(store, name)
    firsts: Firsts | None = None
    for lines, batch in Ledger(store, name).batches(_COLUMNS):
        firsts = firsts or Firsts(one_line_a_row=report.get("count") == lines)
        _count(stats, batch, firsts)
    if firsts is None:  # no ledger, or one without lines
        words = report.get("status_dict", {})
        stats.causes.update({cause: rows for cause, rows in words.items() if cause != "success"})
    _correct(stats, report)
    return stats


def _correct(stats: DatasetStats, report: Mapping[str, Any]) -> None:
    """Take from the report what it knows: it counted the rows themselves."""
    for ours, name in _FROM_REPORT.items():
        if isinstance(report.get(name), int):
            setattr(stats, ours, report[name])
    start, stop = report.get("start_time"), report.get("end_time")
    if isinstance(start, int | float) and isinstance(stop, int | float):
        stats.spans.append((start, stop))
        stats.shard_seconds = max(0.0, stop - start)


def _count(stats: DatasetStats, batch: Mapping[str, pa.Array], firsts: Firsts) -> None:
    """Add some lines of a ledger."""
    import pyarrow.compute as pc

    is_ok = pc.fill_null(pc.equal(batch["status"], "success"), False)
    is_row, is_clip = firsts.of_rows(batch["key"]), firsts.of_clips(batch["key"])
    is_failed = pc.invert(is_ok)
    stats.rows += _sum(is_row)
    stats.ok += _sum(pc.and_(is_row, is_ok))
    stats.samples += _sum(is_ok)
    stats.bytes_downloaded += _sum(batch["bytes_downloaded"].filter(is_row))
    stats.attempts.update(_counts(batch["attempts"].filter(is_row)))
    stats.http_statuses.update(_counts(batch["http_status"].filter(is_row)))
    stats.causes.update(_counts(batch["cause"].filter(is_failed), _UNKNOWN))
    stats.stages.update(_counts(batch["stage"].filter(is_failed), _UNKNOWN))
    stats.clip_frames += _sum(batch["frames"].filter(is_clip))
    stats.clip_seconds.count(_numbers(batch["duration"].filter(is_clip)))
    stats.row_seconds.count(_numbers(batch["seconds"].filter(is_row)))
    stats.tried_again.update(batch["retry_of"].drop_null().to_pylist())


def _numbers(values: pa.Array) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = values.drop_null().to_numpy(zero_copy_only=False)
    return numbers


def _sum(values: pa.Array) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    return 0 if pa.types.is_null(values.type) else pc.sum(values).as_py() or 0


def _counts(values: pa.Array, if_null: str | None = None) -> dict[Any, int]:
    """How often each value occurs; nulls under another name, or not at all."""
    found: Iterable[Mapping[str, Any]] = values.value_counts().to_pylist()
    counts = {item["values"]: item["counts"] for item in found}
    nulls = counts.pop(None, 0)
    return counts | {if_null: nulls} if if_null and nulls else counts
