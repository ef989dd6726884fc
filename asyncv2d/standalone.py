"""The work on one video as a plain call, for notebooks and tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncv2d.calls import process as process_task
from asyncv2d.codecs import check_formats
from asyncv2d.config import build
from asyncv2d.task import Task
from asyncv2d.types import Blob, Body, LocalFile, Processed, UserError


def process(
    source: str | Path | bytes,
    subsampling: Mapping[str, Any] | None = None,
    *,
    clips: Any = None,
    metadata: Mapping[str, Any] | None = None,
    encode_formats: Mapping[str, str] | None = None,
    storage: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    key: str = "000000000",
) -> Processed:
    """Run subsamplers over one file, given by its path or its bytes, in this very process.

    ``subsampling``, ``storage`` and ``reading`` are the sections of the configuration, and
    ``encode_formats`` is the argument of the command. ``clips`` is what the clips column of a table
    would hold: ``[[start, end], …]`` in seconds or ``"HH:MM:SS.mmm"``; ``metadata`` may hold the
    ``cuts`` that were found before, and subtitles in ``yt_meta_dict``.

    The samples' parts are bodies in memory (``part.read()`` gives the bytes), and ``meta`` holds
    the facts of each sample. Raises ItemError, with its cause, where the file cannot be processed,
    and UserError where the configuration is wrong::

        size = {"video_size": 224, "resize_mode": "scale,crop,pad"}
        done = asyncv2d.process("fox.mp4", {"ResolutionSubsampler": size}, clips=[[1, 4.5]])
        video = done.samples[0].parts["mp4"].read()
    """
    sections = {"subsampling": subsampling, "storage": storage, "reading": reading}
    config = build({name: dict(given) for name, given in sections.items() if given is not None})
    try:
        check_formats(encode_formats or {})
    except ValueError as error:
        raise UserError(f"encode_formats: {error}") from None
    known = {**(metadata or {}), **({} if clips is None else {"clips": clips})}
    return process_task(Task(key, _body(source), known, config.plan(encode_formats)))


def _body(source: str | Path | bytes) -> Body:
    if isinstance(source, bytes | bytearray | memoryview):
        return Blob.of(bytes(source))
    if "://" in str(source):
        raise UserError(f"{source}: process takes a path or bytes; download fetches URLs")
    return LocalFile(Path(source))
