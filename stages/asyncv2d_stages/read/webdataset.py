"""Reads the tars of an earlier dataset: its samples become rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from asyncv2d.ports import Settings
from asyncv2d.types import Part, Record, ShardSpec, UserError
from asyncv2d_stages.read._kinds import LOOK_AT, infer
from asyncv2d_stages.read._table import check_columns
from asyncv2d_stages.read._tar import BadSample, Sample, samples

if TYPE_CHECKING:
    import pyarrow as pa

_ALL = ("*",)
_IS_METADATA = ("json", "txt")


class WebdatasetReader(Settings):
    """Tars in which the files of a sample follow each other and share a name up to its first dot.

    A tar is a shard, whatever the shard's size should be; its number is that in the tar's name,
    where all tars have one. The sample's ``.json`` gives the columns, its ``.txt`` the caption if
    the ``.json`` has none; all other files are its parts.
    """

    paths: tuple[str, ...]
    """The tars, in order."""
    columns: tuple[str, ...]
    """Columns to take from each ``.json``; ``*`` alone: all. The last one, the URL, may be
    absent."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    """What to do with a sample that cannot be read: stop, or go on and say so in its place."""

    def shards(self, samples_per_shard: int) -> Iterator[ShardSpec]:
        """Every tar that holds a sample."""
        numbers = _numbers(self.paths)
        _ = self.inferred  # raises where columns are missing
        for path, number in zip(self.paths, numbers, strict=True):
            if count := sum(1 for sample in samples(path) if self._is_counted(path, sample)):
                yield ShardSpec(number, path, 0, count)

    def records(self, shard: ShardSpec) -> Iterator[Record]:
        """The samples of one tar. Only their ``.json`` and ``.txt`` are read."""
        chosen = islice(samples(shard.source, _IS_METADATA), shard.start, shard.stop)
        yield from (self._record(shard.source, sample) for sample in chosen)

    def column_types(self) -> pa.Schema:
        """The types in the first samples; text where these have no common one, or none at all.

        A later value of another type is no mistake: what a job finds differs from video to video.
        """
        return self.inferred

    @cached_property
    def inferred(self) -> pa.Schema:
        """The types in the samples of the first tar that has any."""
        found = next(filter(None, map(self._first, self.paths)), [])
        names = list(dict.fromkeys(name for columns in found for name in columns))
        if self.columns == _ALL:
            return infer(found, names)
        if names:
            check_columns(self.paths[0], names, self.columns[:-1])
        return infer(found, self.columns)

    def _first(self, path: str) -> list[dict[str, Any]]:
        first = islice(samples(path, _IS_METADATA), LOOK_AT)
        found = [_columns(sample) for sample in first if isinstance(sample, Sample)]
        return [columns for columns in found if isinstance(columns, dict)]

    def _is_counted(self, path: str, sample: Sample | BadSample) -> bool:
        if isinstance(sample, BadSample):
            self._check(path, sample.why)
        return True

    def _record(self, path: str, sample: Sample | BadSample) -> Record:
        if isinstance(sample, BadSample):
            self._check(path, sample.why)
            return Record({}, problem=sample.why)
        columns = _columns(sample)
        if isinstance(columns, str):
            self._check(path, columns)
            return Record({}, problem=columns)
        if self.columns != _ALL:
            columns = {name: columns.get(name) for name in self.columns}
        parts = {
            extension: Part(path, start, size)
            for extension, (start, size) in sample.files.items()
            if extension not in _IS_METADATA
        }
        return Record(columns, sample.key, parts)

    def _check(self, path: str, why: str) -> None:
        if self.on_bad_row == "fail":
            raise UserError(f"{path}: {why} (reading.on_bad_row: skip goes on without it)")


def _columns(sample: Sample) -> dict[str, Any] | str:
    """What the sample's metadata say, or why that cannot be read."""
    try:
        columns = json.loads(sample.texts.get("json", b"{}"))
        caption = sample.texts.get("txt", b"").decode()
    except (ValueError, RecursionError) as error:
        return f"sample {sample.key!r}: its .json or .txt cannot be read: {error}"
    if not isinstance(columns, dict):
        return f"sample {sample.key!r}: its .json is no object"
    if "txt" in sample.texts:
        columns.setdefault("caption", caption)
    return columns


def _numbers(paths: tuple[str, ...]) -> list[int]:
    """The numbers in the tars' names, if each has its own; else their places."""
    stems = [re.split(r"[/\\]", path)[-1].partition(".")[0] for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(len(paths)))
