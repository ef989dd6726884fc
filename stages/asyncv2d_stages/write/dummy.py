"""Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asyncv2d.ports import Settings, WrittenFile
from asyncv2d.types import Sample


class DummyWriter(Settings):
    """Throws the samples away and keeps the ledger: to measure, or to check a list of URLs."""

    def open(self, folder: Path, shard_name: str) -> _NoShard:
        """Begin nothing."""
        return _NoShard()


class _NoShard:
    def write(self, sample: Sample) -> None:
        """Forget the sample."""

    def close(self) -> Sequence[WrittenFile]:
        """No files."""
        return []

    def abandon(self) -> None:
        """Nothing is open."""
