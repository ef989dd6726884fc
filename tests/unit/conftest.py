"""Made media and short ways to configure a job, for the tests of the media engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.plan import Output, make_plan
from asyncv2d.registry import load_subsampler
from asyncv2d.task import Task
from asyncv2d.types import Blob, Processed
from asyncv2d.work import process

Run = Callable[..., Processed]


@pytest.fixture(scope="session")
def two_scenes() -> MadeVideo:
    """Two scenes of two seconds each, with sound."""
    return MadeVideo(scenes(2, 2))


@pytest.fixture(scope="session")
def two_scenes_file(two_scenes: MadeVideo) -> bytes:
    """The file of ``two_scenes``."""
    return two_scenes.data()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run one video through subsamplers given as in YAML: ``run(data, {"Frame": {…}}, clips)``.

    Further arguments are those of ``Output``.
    """

    def run_one(
        data: bytes,
        subsamplers: dict[str, dict[str, Any]],
        clips: Sequence[Any] | None = None,
        encode_formats: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Processed:
        stages = [
            load_subsampler(f"{name}Subsampler")(**args) for name, args in subsamplers.items()
        ]
        output = Output(encode_formats, **settings)
        metadata = {} if clips is None else {"clips": clips}
        return process(Task("00007", Blob.of(data), metadata, make_plan(stages, output), tmp_path))

    return run_one


class Clock:
    """Makes event loops whose clock stands still until a test puts it forward."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def put_forward(self, seconds: float) -> None:
        """Let so much time have passed."""
        self.now_s += seconds

    def loop(self) -> asyncio.AbstractEventLoop:
        """A new loop."""
        clock = self

        class Loop(asyncio.SelectorEventLoop):
            def time(self) -> float:
                return clock.now_s

        return Loop()


@pytest.fixture
def clock() -> Clock:
    """The clock of the event loop, for tests whose ``anyio_backend`` takes its loop."""
    return Clock()
