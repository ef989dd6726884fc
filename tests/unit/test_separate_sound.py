"""Videos whose picture and sound are two files, as sites and earlier datasets have them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.plan import Output, make_plan
from asyncv2d.registry import load_subsampler
from asyncv2d.task import Task
from asyncv2d.types import Blob, Body, Cause, ItemError, Sample
from asyncv2d.work import process


@cache
def picture() -> bytes:
    """Two scenes without sound."""
    return MadeVideo(scenes(1, 1), (64, 48), audio=None).data()


@cache
def sound() -> bytes:
    """Their sound alone."""
    return MadeVideo(scenes(1, 1), codec=None).data()


def made(
    subsamplers: dict[str, dict[str, Any]],
    clips: Any = None,
    formats: dict[str, str] | None = None,
    separate: bytes | None = None,
) -> Sequence[Sample]:
    """What becomes of the two."""
    stages = [load_subsampler(f"{name}Subsampler")(**args) for name, args in subsamplers.items()]
    metadata = {} if clips is None else {"clips": clips}
    beside: Body = Blob.of(sound() if separate is None else separate)
    plan = make_plan(stages, Output(formats))
    return process(Task("0", Blob.of(picture()), metadata, plan, sound=beside)).samples


def lengths(body: Body) -> dict[str, float]:
    """How long each stream of a file lasts."""
    with av.open(io.BytesIO(body.read()), "r") as file:
        return {
            stream.type: float((stream.duration or 0) * (stream.time_base or 1))
            for stream in file.streams
        }


SMALL = {"Resolution": {"video_size": 32, "resize_mode": "scale,crop,pad"}}
EXACT = {"Clipping": {"precision": "exact"}}


@pytest.mark.parametrize(
    ("subsamplers", "clips", "seconds"),
    [({}, None, 2.0), (SMALL, None, 2.0), (EXACT, [[0.5, 1.5]], 1.0)],
    ids=["as they are", "resized", "cut"],
)
def test_they_become_one_file(
    subsamplers: dict[str, dict[str, Any]], clips: Any, seconds: float
) -> None:
    """The sound stands beside its picture, at its place."""
    (sample,) = made(subsamplers, clips)
    assert lengths(sample.parts["mp4"]) == pytest.approx(
        {"video": seconds, "audio": seconds}, abs=0.05
    )


def test_a_picture_that_is_not_changed_is_copied() -> None:
    """Putting both into one file changes neither."""
    (sample,) = made({})

    def packets(data: bytes, kind: str) -> list[bytes]:
        with av.open(io.BytesIO(data), "r") as file:
            stream = next(stream for stream in file.streams if stream.type == kind)
            return [bytes(packet) for packet in file.demux(stream) if packet.size]

    both = sample.parts["mp4"].read()
    assert packets(both, "video") == packets(picture(), "video")
    assert packets(both, "audio") == packets(sound(), "audio")


def test_sound_as_a_part_of_its_own(tmp_path: Path) -> None:
    """Is taken from its own file; the picture stays as it is."""
    (sample,) = made({}, formats={"video": "mp4", "audio": "wav"})
    assert sample.parts["mp4"].read() == picture()
    assert lengths(sample.parts["wav"])["audio"] == pytest.approx(2, abs=0.05)


def test_sound_that_is_cut_off() -> None:
    """Fails as a video that is cut off does."""
    with pytest.raises(ItemError) as caught:
        made(SMALL, separate=sound()[: len(sound()) // 2])
    assert caught.value.cause is Cause.TRUNCATED
