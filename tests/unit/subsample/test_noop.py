"""Tests of NoOpSubsampler."""

from __future__ import annotations

from collections.abc import Callable

from asyncv2d.types import Processed

Run = Callable[..., Processed]


def test_it_changes_nothing(two_scenes_file: bytes, run: Run) -> None:
    """The file is handed on byte for byte, without facts, and nothing is decoded."""
    done = run(two_scenes_file, {"NoOp": {}})
    (sample,) = done.samples
    assert {name: body.read() for name, body in sample.parts.items()} == {"mp4": two_scenes_file}
    assert sample.meta == {}
    assert done.facts == {"frames_decoded": 0}


def test_it_is_no_reason_to_do_less(two_scenes_file: bytes, run: Run) -> None:
    """Beside others it leaves the work to them."""
    jobs = {"Frame": {"frame_rate": 5}, "FFProbe": {}}
    (alone,) = run(two_scenes_file, jobs).samples
    (beside,) = run(two_scenes_file, {"NoOp": {}, **jobs}).samples
    assert beside.parts["mp4"].read() == alone.parts["mp4"].read()
    assert beside.meta == alone.meta
