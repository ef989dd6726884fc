"""Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample

if TYPE_CHECKING:
    import pyarrow as pa


class DummyWriter(Settings):
    """Throws the samples away and keeps the ledger: to measure, or to check a list of URLs."""

    def open(self, folder: Path, shard_name: str, position: int = 0) -> _NoShard:
        """Begin nothing."""
        return _NoShard()


class _NoShard:
    def write(self, sample: Sample) -> int:
        """Forget the sample."""
        return 0

    def close(self, ledger: pa.Table) -> Sequence[WrittenFile]:
        """No files."""
        return []

    def abandon(self) -> None:
        """Nothing is open."""
