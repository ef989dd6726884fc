"""What every subsampler promises; it runs by itself on each one that is installed."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asyncv2d import media
from asyncv2d.field_docs import field_docs
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.plan import make_plan
from asyncv2d.ports import Settings
from asyncv2d.registry import load_subsampler, subsampler_names
from asyncv2d.task import Task
from asyncv2d.types import Blob, Cause, ItemError
from asyncv2d.work import process

ROLES = (
    *(media.Describer, media.CutDetector, media.Clipper, media.VideoFilter),
    *(media.Pacer, media.StillPicker, media.SoundShaper),
)
# Values for fields that have no default; a new subsampler with such a field adds its own here.
NEEDED: dict[str, Any] = {"frame_rate": 5, "resize_mode": "scale,crop,pad", "video_size": 64}
VIDEOS = {
    "plain": MadeVideo(scenes(1, 1)),
    "uneven": MadeVideo(scenes(1, 1), uneven=True, b_frames=2, container="matroska"),
    "silent": MadeVideo(scenes(1, 1), audio=None, pixel_format="yuv444p"),
    "wide pixels": MadeVideo(scenes(1, 1), (90, 96), pixel_aspect=Fraction(16, 15)),
    "rotated": MadeVideo(scenes(1, 1), (120, 160), rotation=90),
    "one-frame": MadeVideo(scenes(0.04), audio=None),
}


@pytest.fixture(params=subsampler_names())
def kind(request: pytest.FixtureRequest) -> type[Settings]:
    """Each subsampler class that is installed."""
    return load_subsampler(request.param)


@pytest.fixture
def stage(kind: type[Settings]) -> Settings:
    """A subsampler of that class with its defaults."""
    known = {name: NEEDED[name] for name in kind.model_fields if name in NEEDED}
    return kind.model_validate(known)


@pytest.fixture(params=VIDEOS, scope="session")
def video(request: pytest.FixtureRequest) -> bytes:
    """A file of each reference video."""
    return VIDEOS[request.param].data()


def run(stage: Settings, data: bytes, spool: Path, clips: Any = None) -> None:
    """Run one subsampler alone over one video."""
    metadata = {} if clips is None else {"clips": clips}
    samples = process(Task("00007", Blob.of(data), metadata, make_plan([stage]), spool)).samples
    assert samples
    assert all(sample.parts["mp4"].read() for sample in samples)


def test_it_says_what_it_does(kind: type[Settings]) -> None:
    """The class has a docstring, and every field a description."""
    assert (kind.__doc__ or "").strip()
    assert field_docs(kind).keys() == kind.model_fields.keys()


def test_it_has_a_role(stage: Settings) -> None:
    """It does something that the planner asks for."""
    assert any(isinstance(stage, role) for role in ROLES)


def test_it_can_be_sent_to_a_worker(stage: Settings) -> None:
    """Pickling gives an equal object, and so does its own dictionary."""
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert type(stage).model_validate(stage.model_dump(exclude_unset=True)) == stage


def test_an_unknown_key_is_refused(kind: type[Settings], stage: Settings) -> None:
    """A misspelt argument is an error."""
    with pytest.raises(ValidationError, match="no_such_key"):
        kind.model_validate({**stage.model_dump(exclude_unset=True), "no_such_key": 1})


def test_it_cannot_be_changed(stage: Settings) -> None:
    """A configured stage is frozen."""
    for name in type(stage).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(stage, name, 1)


@pytest.mark.parametrize("clips", [None, [[0, 1]]], ids=["whole", "clips"])
def test_it_runs_on_every_video(stage: Settings, video: bytes, clips: Any, tmp_path: Path) -> None:
    """It makes a sample of every reference video, whole or cut."""
    run(stage, video, tmp_path, clips)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.4, 0.9])
def test_what_is_cut_off_is_an_item_error(
    stage: Settings, video: bytes, share: float, tmp_path: Path
) -> None:
    """A file that lost its end never counts as a success, nor as a bug."""
    with pytest.raises(ItemError) as caught:
        run(stage, video[: int(len(video) * share)], tmp_path)
    assert caught.value.cause in (Cause.EMPTY, Cause.NOT_MEDIA, Cause.TRUNCATED, Cause.CORRUPT)


def test_noise_is_an_item_error(stage: Settings, tmp_path: Path) -> None:
    """Bytes that are no media are named so."""
    with pytest.raises(ItemError) as caught:
        run(stage, bytes(range(256)) * 16, tmp_path)
    assert caught.value.cause is Cause.NOT_MEDIA
