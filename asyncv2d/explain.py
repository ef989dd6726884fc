"""What a job would do, in words: the effective configuration, the passes and the bounds."""

from __future__ import annotations

from typing import Any

import yaml

from asyncv2d.job import Job
from asyncv2d.redact import redacted
from asyncv2d.types import UserError

_MIB = 1 << 20


def explain(job: Job) -> str:
    """The effective configuration as YAML, the shards, the passes over each video, the bounds."""
    sections = [
        ("configuration", _configuration(job)),
        ("shards", _shards(job)),
        ("passes over each video", _passes(job)),
        ("bounds", _bounds(job)),
    ]
    return "\n\n".join(f"# {title}\n{text}" for title, text in sections)


def _configuration(job: Job) -> str:
    config = job.built
    tree: dict[str, Any] = config.model_dump(mode="json", exclude={"subsampling"})
    reading = tree["reading"]
    reading["headers"] = dict.fromkeys(reading["headers"], "***")
    reading["proxy"] = reading["proxy"] and redacted(reading["proxy"])
    subsamplers = {
        name: {"args": stage.model_dump(mode="json")} for name, stage in config.subsampling.items()
    }
    text: str = yaml.safe_dump({"subsampling": subsamplers, **tree}, sort_keys=False)
    return text.rstrip()


def _shards(job: Job) -> str:
    size = job.built.storage.number_sample_per_shard
    if job.reads_stdin:
        return f"of rows as they arrive on stdin, up to {size} in each"
    try:
        first = next(job.reader().shards(size), None)
    except UserError as error:
        return f"unknown: {error}"
    if first is None:
        return "none: the input has no rows"
    keys = job.built.storage.key_format
    rows = first.stop - first.start
    if job.writes_stdout:
        return "none: samples go to stdout"
    return (
        f"{job.output_folder}/{keys.shard_name(first.id)}… with up to {size} rows each; the first"
        f" has {rows}, its first key is {keys.key(first.id, 0)}"
    )


def _passes(job: Job) -> str:
    lines = job.plan.passes(clips=job.clip_col is not None)
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _bounds(job: Job) -> str:
    settings = job.built.distribution
    lines = [
        f"loop processes: {settings.loop_count}",
        f"downloads in flight: {settings.loop_downloads} in each loop",
        f"worker processes: {settings.worker_count} in each loop",
        f"bodies in flight: {settings.loop_budget // _MIB} MiB in each loop",
    ]
    return "\n".join(lines)
