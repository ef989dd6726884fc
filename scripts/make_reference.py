"""Writes configs/REFERENCE.md from the code: every key of the configuration, and every cause.

With ``--check`` nothing is written, and the exit code says whether the file is current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from asyncv2d.config import Distribution, Reading, Storage
from asyncv2d.field_docs import field_docs
from asyncv2d.job import Job
from asyncv2d.registry import load_subsampler, subsampler_names
from asyncv2d.types import Cause

TARGET = Path(__file__).parent.parent / "configs" / "REFERENCE.md"
INTRODUCTION = """\
# Reference

Made by `scripts/make_reference.py` from the code; do not edit.
"""


def main() -> int:
    """Write the file, or check it."""
    text = "\n".join(_document())
    if "--check" not in sys.argv:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    print(f"{TARGET.name} is out of date; run: python scripts/make_reference.py")
    return 1


def _document() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Arguments of `asyncv2d download` and `asyncv2d.download(...)`\n"
    yield from _fields(Job)
    yield "## Subsamplers: `subsampling: {Name: {args: {…}}}`\n"
    for name in subsampler_names():
        yield f"### `{name}`\n"
        yield from _described(load_subsampler(name))
    for section, model in (
        ("reading", Reading),
        ("storage", Storage),
        ("distribution", Distribution),
    ):
        yield f"## `{section}`\n"
        yield from _described(model)
    yield "## Causes\n"
    yield "| cause | worth retrying | meaning |\n| --- | --- | --- |"
    for cause in Cause:
        yield f"| `{cause}` | {'yes' if cause.worth_retrying else 'no'} | {cause.meaning} |"
    yield ""


def _described(model: type[BaseModel]) -> Iterator[str]:
    yield _plain(model.__doc__ or "") + "\n"
    yield from _fields(model)


def _fields(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | default | meaning |\n| --- | --- | --- |"
    yield from _rows(model, "")
    yield ""


def _rows(model: type[BaseModel], under: str) -> Iterator[str]:
    meanings = field_docs(model)
    for name, field in model.model_fields.items():
        required = field.default is PydanticUndefined and field.default_factory is None
        default = "(needed)" if required else f"`{field.get_default(call_default_factory=True)!r}`"
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        default = "see below" if inner and not required else default
        yield f"| `{under}{name}` | {default} | {_plain(meanings[name])} |"
        for kind in inner:
            yield from _rows(kind, f"{under}{name}.")


def _kinds(annotation: object) -> list[type]:
    """The classes that a field's type names."""
    parts = get_args(annotation) or (annotation,)
    return [part for part in parts if isinstance(part, type)]


def _plain(text: str) -> str:
    one_line = re.sub(r"\s+", " ", text).strip()
    return one_line.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
