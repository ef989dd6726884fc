"""Stages that do not fit together; mypy must refuse each marked line, and no other."""

from __future__ import annotations

from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.types import Row


def use(length: Stage[Row, int], half: Stage[int, float], name: Stage[str, str]) -> None:
    """Each of these joins is a mistake: a test takes the marks away and wants just these errors."""
    Pipeline.of(half)  # type: ignore[arg-type]
    Pipeline.of(length).then(name)  # type: ignore[arg-type]
    _: Pipeline[str] = Pipeline.of(length).then(half)  # type: ignore[arg-type]
