"""What a dataset is made of, to notice that a run would go on with something else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from asyncv2d.job import Job
from asyncv2d.ports import Settings
from asyncv2d.yt_args import YtArgs

_ARGUMENTS = (
    *("output_format", "input_format", "encode_formats", "url_col", "caption_col", "clip_col"),
    "save_additional_columns",
)
# How fast and how stubbornly rows are fetched does not change what they become.
_READING = ("max_bytes", "on_corrupt", "on_bad_row")
_YT_ARGS = ("download_size", "download_audio_rate", "yt_metadata_args", "ydl_opts")
_EDGE = 1 << 16
_MOST_REMOTE = 32


def made_of(job: Job) -> dict[str, Any]:
    """All that decides what the rows of a job become, as JSON.

    Settings that have their default are left out, so that new ones change nothing.
    """
    config = job.built
    found = {
        "arguments": _settings(job, include=set(_ARGUMENTS)),
        "subsampling": {name: _settings(stage) for name, stage in config.subsampling.items()},
        "reading": _settings(config.reading, include=set(_READING)),
        "yt_args": _settings(config.reading.yt_args or YtArgs(), include=set(_YT_ARGS)),
        "storage": _settings(config.storage),
        "input": _input([] if job.reads_stdin else job.inputs[1]),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _settings(of: Settings, include: set[str] | None = None) -> dict[str, Any]:
    return of.model_dump(mode="json", exclude_defaults=True, include=include)


def digest(made: Mapping[str, Any]) -> str:
    """A short name for what ``made_of`` gives."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]


def _input(paths: Sequence[str]) -> dict[str, Any]:
    """How many input files there are, their size, and a digest of their sizes and edges."""
    edges, total = hashlib.sha256(), 0
    for number, path in enumerate(paths):
        if "://" in path and number >= _MOST_REMOTE:  # each costs some round trips
            edges.update(f"{path}\n".encode())
            continue
        with _opened(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            edges.update(f"{size}\n".encode() + file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            edges.update(file.read(_EDGE))
        total += size
    return {"files": len(paths), "bytes": total, "sha256": edges.hexdigest()[:16]}


def _opened(path: str) -> AbstractContextManager[BinaryIO]:
    if "://" not in path:
        return Path(path).open("rb")
    import fsspec

    remote: AbstractContextManager[BinaryIO] = fsspec.open(path, "rb")
    return remote


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing that is not as it was: ``storage.oom_shard_count: 5, now 6``."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{name}: {_shown(old.get(name))}, now {_shown(new.get(name))}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
