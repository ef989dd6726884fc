"""One video and what to do with it, as it is sent to a worker process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from asyncv2d.plan import Plan
from asyncv2d.types import Blob, Body, RunError

METADATA = ("clips", "cuts", "yt_meta_dict")


class Task(Struct, frozen=True):
    """One video and what to do with it.

    ``metadata`` is what is known of it beforehand, by the names in METADATA. ``spool``
    is a folder to make for parts that are large; None keeps all parts in memory. ``sound`` is where
    the sound is taken from, if that is another file. ``assembled``: the file was put together from
    the pieces of a stream, and has no form of its own worth keeping.
    """

    key: str
    body: Body
    metadata: Mapping[str, Any]
    plan: Plan
    spool: Path | None = None
    sound: Body | None = None
    assembled: bool = False


def sendable(body: Body) -> Body:
    """The body as it can be sent to a worker: the owner's duties stay with the owner."""
    return replace(body, on_close=None) if isinstance(body, Blob) else body


def write_part(folder: Path, pieces: Iterable[bytes]) -> Path:
    """Write ``pieces`` into a new file in ``folder``, which is made if need be."""
    try:
        folder.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix="part-")
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
    except OSError as error:  # not the row's fault, and no row would fare better
        raise RunError(f"{folder.parent}: cannot keep files: {error.strerror}") from error
    return Path(name)
