"""What is there of a dataset already."""

from __future__ import annotations

import json
from collections.abc import Iterable

from asyncv2d.store import Store
from asyncv2d.types import KeyFormat

WORK_FOLDER = "_tmp"
STATS = "_stats.json"
LEDGER = ".parquet"
_RETRIED = "_retried.json"
_SUFFIXES = (LEDGER, ".tar", ".tfrecord", "")  # a folder has none


def published(store: Store, keys: KeyFormat) -> set[int]:
    """The ids of the shards that are part of the dataset in ``store``."""
    stems = [name.removesuffix(STATS) for name in store.names() if name.endswith(STATS)]
    return {int(stem) for stem in stems if stem.isdigit() and stem == keys.shard_name(int(stem))}


def published_rows(store: Store, keys: KeyFormat, shard: int) -> int | None:
    """How many rows a published shard has; None where its report does not say."""
    try:
        return int(json.loads(store.read(f"{keys.shard_name(shard)}{STATS}") or b"")["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def retried(store: Store) -> set[int]:
    """The numbers of shards that hold rows which were tried again."""
    return set(json.loads(store.read(_RETRIED) or b"[]"))


def note_retried(store: Store, shards: Iterable[int]) -> None:
    """Keep these numbers from rows of the input, before any of the shards appears."""
    store.write(_RETRIED, json.dumps(sorted({*retried(store), *shards})).encode())


def remove_dataset(store: Store) -> None:
    """Delete the shards in ``store`` that have a ledger or a report, and nothing else."""
    there = store.names()
    stems = {
        name.removesuffix(end) for name in there for end in (STATS, LEDGER) if name.endswith(end)
    }
    shards = sorted(filter(str.isdigit, stems))
    # The reports first: a shard without one does not count, should this be interrupted.
    store.remove([f"{name}{STATS}" for name in shards])
    store.remove([_RETRIED, *(f"{name}{suffix}" for name in shards for suffix in _SUFFIXES)])
