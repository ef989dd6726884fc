"""How a run is getting on: what a loop tells, and what is made of it over all loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncv2d.engine import Engine


def snapshot(engine: Engine) -> dict[str, Any]:
    """The state of one engine, as JSON."""
    stages = [
        {
            "name": meter.name,
            "busy": meter.busy,
            "concurrency": meter.concurrency,
            "done": meter.done,
            "busy_s": meter.busy_s,
            "blocked_on_input_s": meter.blocked_on_input_s,
            "blocked_on_output_s": meter.blocked_on_output_s,
        }
        for meter in engine.pipeline.meters
    ]
    return {
        "stages": stages,
        "bytes_in_flight": engine.budget.used,
        "byte_budget": engine.budget.limit,
        "bodies_waiting": engine.budget.waiting,
    }


def merged(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum over several engines."""
    everything = list(snapshots)
    per_stage = zip(*(one["stages"] for one in everything), strict=True)
    return {
        "stages": [reduce(_added, stages) for stages in per_stage],
        "bytes_in_flight": sum(one["bytes_in_flight"] for one in everything),
        "byte_budget": sum(one["byte_budget"] for one in everything),
        "bodies_waiting": sum(one["bodies_waiting"] for one in everything),
    }


def _added(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if key == "name" else value + new[key] for key, value in old.items()}


def limiting_stage(state: Mapping[str, Any]) -> str | None:
    """What holds the run up: the stage whose places are most nearly all taken, or the byte budget.

    A full stage fills the ones before it too, so of equally full ones the last counts.
    """
    stages = [stage for stage in state["stages"] if stage["concurrency"]]
    if not any(stage["busy"] for stage in stages):
        return None
    fullest = max(reversed(stages), key=lambda stage: stage["busy"] / stage["concurrency"])
    if fullest is stages[0] and state["bodies_waiting"]:
        return "the byte budget"
    return str(fullest["name"])
