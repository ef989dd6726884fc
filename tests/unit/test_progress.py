"""How a run is getting on, over all its loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncv2d.config import build
from asyncv2d.engine import open_engine
from asyncv2d.progress import limiting_stage, merged, snapshot
from asyncv2d.spool_folders import SpoolFolders


def state(fetch: tuple[int, int], subsample: tuple[int, int], waiting: int = 0) -> dict[str, Any]:
    """The state of an engine: (busy, concurrency) of each stage."""
    stages = [
        {"name": name, "busy": busy, "concurrency": of, "done": 3, "busy_s": 0.5}
        for name, (busy, of) in (("fetch", fetch), ("subsample", subsample))
    ]
    return {
        "stages": stages,
        "bytes_in_flight": 5,
        "byte_budget": 10,
        "bodies_waiting": waiting,
    }


def test_the_sum() -> None:
    """Figures of several loops are added, names are kept."""
    total = merged([state((1, 4), (0, 2)), state((2, 4), (2, 2))])
    assert total["stages"][0] == {
        "name": "fetch",
        "busy": 3,
        "concurrency": 8,
        "done": 6,
        "busy_s": 1.0,
    }
    assert (total["bytes_in_flight"], total["byte_budget"]) == (10, 20)
    assert merged([])["stages"] == []


@pytest.mark.parametrize(
    ("fetch", "subsample", "waiting", "name"),
    [
        ((3, 4), (2, 2), 0, "subsample"),
        ((4, 4), (2, 2), 3, "subsample"),
        ((4, 4), (1, 2), 0, "fetch"),
        ((4, 4), (1, 2), 3, "the byte budget"),
        ((0, 4), (0, 2), 0, None),
        ((0, 0), (0, 0), 0, None),
    ],
)
def test_what_limits_the_run(
    fetch: tuple[int, int], subsample: tuple[int, int], waiting: int, name: str | None
) -> None:
    """The last of the fullest stages, or the byte budget where only downloads wait for room."""
    assert limiting_stage(state(fetch, subsample, waiting)) == name


@pytest.mark.anyio
async def test_of_an_engine(tmp_path: Path) -> None:
    """A real engine's state has all that is added up and shown."""
    config = build({"distribution": {"workers": 1, "downloads": 6}})
    async with open_engine(
        config, config.plan(), SpoolFolders(tmp_path, tmp_path, 1 << 30), save_caption=False
    ) as engine:
        found = snapshot(engine)
    assert [stage["name"] for stage in found["stages"]] == ["fetch", "subsample"]
    assert found["stages"][0]["concurrency"] == 6
    assert merged([found]) == found
