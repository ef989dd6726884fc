"""Stages that fit together; mypy accepts this file."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asyncv2d.pipeline import Pipeline, Stage
from asyncv2d.types import Ok, Outcome, Row


async def use(length: Stage[Row, int], half: Stage[int, float]) -> list[float]:
    """The types of the outcomes follow from the last stage."""
    pipeline: Pipeline[float] = Pipeline.of(length).then(half)
    found: list[float] = []
    async with pipeline.run(rows()) as outcomes:
        async for outcome in outcomes:
            checked: Outcome[float] = outcome
            if isinstance(checked, Ok):
                found.append(checked.value)
    return found


async def rows() -> AsyncIterator[Row]:
    """One row."""
    yield Row(0, "0", "u")
