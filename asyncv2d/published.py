"""What is there of a dataset already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from asyncv2d.types import KeyFormat

WORK_FOLDER = "_tmp"
STATS = "_stats.json"
LEDGER = ".parquet"


def published(output: Path, keys: KeyFormat) -> set[int]:
    """The ids of the shards that are part of the dataset in ``output``."""
    return {
        int(stem)
        for path in output.glob(f"*{STATS}")
        if (stem := path.name.removesuffix(STATS)).isdigit() and stem == keys.shard_name(int(stem))
    }


def published_rows(output: Path, keys: KeyFormat, shard: int) -> int | None:
    """How many rows a published shard has; None where its report does not say."""
    try:
        stats = json.loads((output / f"{keys.shard_name(shard)}{STATS}").read_text())
        return int(stats["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_dataset(output: Path) -> None:
    """Delete the shards in ``output`` that have a ledger or a report, and nothing else."""
    reports = [path.name.removesuffix(STATS) for path in output.glob(f"*{STATS}")]
    ledgers = [path.name.removesuffix(LEDGER) for path in output.glob(f"*{LEDGER}")]
    for name in filter(str.isdigit, {*reports, *ledgers}):
        # The report first: a shard without it does not count, should this be interrupted.
        for suffix in (STATS, LEDGER, ".tar"):
            (output / f"{name}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(output / name, ignore_errors=True)
