"""Reads what the published shards of a dataset say: their reports, and lines of their ledgers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncv2d.published import LEDGER, STATS
from asyncv2d.store import Store
from asyncv2d.types import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_LINES = 1 << 16
_NUMBERS = ("attempts", "http_status", "bytes_downloaded", "frames", "duration", "seconds")
_NEEDED = ("key", "status")
# What a sample's key has behind its row's key: the number of a clip, then that of an image in it.
_IN_ROW = r"(_\d{5})?(_\d{4})?$"


def shard_names(store: Store) -> list[str]:
    """The names of the published shards, in order; UserError where there are none."""
    found = (name.removesuffix(STATS) for name in store.names() if name.endswith(STATS))
    names = sorted(filter(str.isdecimal, found), key=int)
    if not names:
        raise UserError(f"{store.url}: no dataset: there is no report of a shard (*{STATS})")
    return names


def read_report(store: Store, shard: str) -> dict[str, Any]:
    """The report of a shard; empty where it cannot be read."""
    try:
        report = json.loads(store.read(f"{shard}{STATS}") or b"")
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


class Ledger:
    """The ledger of one shard, read in pieces, and only the columns that are asked for.

    The other columns may be the videos themselves.
    """

    def __init__(self, store: Store, shard: str) -> None:
        self._store = store
        self._name = f"{shard}{LEDGER}"

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, pa.Array]]]:
        """The lines, some at a time, with the number of lines in the whole ledger.

        A column that is not there is all nulls, but for ``key`` and ``status``. There are no
        batches where there is no ledger.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            source = self._store.open(self._name)
        except FileNotFoundError:
            return
        with source:
            try:
                with pq.ParquetFile(source) as file:
                    there = self._readable(file.schema_arrow, columns)
                    lines = file.metadata.num_rows
                    for batch in file.iter_batches(_BATCH_LINES, columns=there, use_threads=False):
                        missing = pa.nulls(len(batch))
                        yield (
                            lines,
                            {
                                name: batch.column(name) if name in there else missing
                                for name in columns
                            },
                        )
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise UserError(
                    f"{self._store.url}: {self._name} cannot be read: {error}"
                ) from error

    def _readable(self, schema: pa.Schema, columns: Sequence[str]) -> list[str]:
        """Those columns that are ours: a foreign ledger may call a column of its own the same."""
        import pyarrow as pa

        def is_ours(name: str) -> bool:
            if name not in schema.names:
                return False
            kind = schema.field(name).type
            if name in _NUMBERS:
                return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
            return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

        there = list(filter(is_ours, columns))
        if any(name in columns and name not in there for name in _NEEDED):
            raise UserError(
                f"{self._store.url}: {self._name} is no ledger: it has no columns"
                f" {' and '.join(_NEEDED)}"
            )
        return there


class Firsts:
    """Tells which lines of a ledger begin a row, and which a clip: lines are sorted by key."""

    def __init__(self, *, one_line_a_row: bool) -> None:
        # A row's own key may look like that of a clip, where the input was a dataset of clips.
        self._whole = one_line_a_row
        self._last: dict[str, Any] = {}

    def of_rows(self, keys: pa.Array) -> pa.Array:
        """True where a row begins."""
        return self._of(keys, _IN_ROW)

    def of_clips(self, keys: pa.Array) -> pa.Array:
        """True where a clip begins; its images follow it."""
        return self._of(keys, r"_\d{4}$")

    def _of(self, keys: pa.Array, behind: str) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._whole:
            keys = pc.replace_substring_regex(keys, behind, "", max_replacements=1)
        before = pa.concat_arrays([pa.array([self._last.get(behind)], keys.type), keys[:-1]])
        self._last[behind] = keys[-1].as_py()
        return pc.fill_null(pc.not_equal(keys, before), True)
