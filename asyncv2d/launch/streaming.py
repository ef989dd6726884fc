"""Runs in which rows come from stdin or samples go to stdout: all in this process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, BinaryIO

from asyncv2d.inputs import STDIN
from asyncv2d.job import Job
from asyncv2d.launch.inline import run_inline
from asyncv2d.launch.launcher import Control, Mission
from asyncv2d.publish import open_site
from asyncv2d.published import published
from asyncv2d.shard import RowSource, table_rows
from asyncv2d.sites import Site
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.store import open_store
from asyncv2d.stream import ArrivingRows, Limits, arriving
from asyncv2d.tar_out import StreamSite
from asyncv2d.types import RunError, ShardSpec


async def run_to_stdout(
    job: Job, shards: Iterator[ShardSpec], spool: SpoolFolders, control: Control
) -> None:
    """Write the samples of all rows to stdout, each as soon as it is done.

    Raises ReaderGoneError where nobody reads them any more.
    """
    out = _stdout()
    try:
        writer = job.stream_writer().stream(out)
        await _run(StreamSite(job, writer), shards, 0, spool, control)
        writer.finish()
    except OSError as error:
        raise RunError(f"stdout: cannot write: {error.strerror}") from error
    finally:
        with suppress(OSError):
            out.close()


def _stdout() -> BinaryIO:
    try:
        return os.fdopen(os.dup(1), "wb")
    except OSError as error:
        raise RunError(f"stdout: cannot write: {error.strerror}") from error


async def run_from_stdin(mission: Mission, control: Control) -> None:
    """Make shards of the rows that arrive on stdin, behind those that are there already.

    What a killed run began cannot be gone on with: its rows do not come again.
    """
    job = mission.job
    for left_behind in mission.folder.iterdir():
        shutil.rmtree(left_behind)
    keys = job.built.storage.key_format
    first = max(published(open_store(job.output_folder), keys), default=-1) + 1
    site = open_site(job, job.reader().column_types(), mission.folder, mission.identity)
    await _run(site, iter(()), first, mission.spool, control)


async def _run(
    site: Site, shards: Iterator[ShardSpec], first: int, spool: SpoolFolders, control: Control
) -> None:
    async def report(line: Mapping[str, Any]) -> None:
        control.report(line)

    async with _rows(site.job, shards, first) as source:
        await run_inline(site, spool, source, control, report)


@asynccontextmanager
async def _rows(job: Job, shards: Iterator[ShardSpec], first: int) -> AsyncIterator[RowSource]:
    if not job.reads_stdin:
        yield partial(table_rows, reader=job.reader(), specs=_each(shards))
        return
    storage = job.built.storage
    limits = Limits(storage.number_sample_per_shard, storage.max_shard_bytes, storage.max_shard_age)
    everything = ShardSpec(0, STDIN, 0, sys.maxsize)
    async with arriving(job.reader().records(everything)) as records:
        yield ArrivingRows(records, first, limits).rows


async def _each(shards: Iterator[ShardSpec]) -> AsyncIterator[ShardSpec]:
    for spec in shards:
        yield spec
