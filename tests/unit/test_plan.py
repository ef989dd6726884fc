"""Tests of grouping subsamplers into passes."""

from __future__ import annotations

import pickle
from fractions import Fraction

import pytest

from asyncv2d.plan import Plan, WholeSpans, make_plan
from asyncv2d.registry import load_subsampler
from asyncv2d.types import UserError

FRAME = load_subsampler("FrameSubsampler").model_validate({"frame_rate": 5})
SIZE = load_subsampler("ResolutionSubsampler").model_validate(
    {"video_size": 64, "resize_mode": "scale"}
)
CUTS = load_subsampler("CutDetectionSubsampler").model_validate({"cuts_are_clips": True})
EXACT = load_subsampler("ClippingSubsampler").model_validate({"precision": "exact"})
SOUND = load_subsampler("AudioRateSubsampler").model_validate({"sample_rate": 16000})
STILLS = load_subsampler("FrameSubsampler").model_validate({"downsample_method": "keyframe"})
PROBE = load_subsampler("FFProbeSubsampler")()


def test_each_subsampler_finds_its_role() -> None:
    """Roles are recognised by what a subsampler can do."""
    plan = make_plan([PROBE, CUTS, EXACT, SIZE, FRAME])
    found: list[object] = [*plan.describers, plan.detector, plan.clipper, *plan.filters, plan.rate]
    assert found == [PROBE, CUTS, EXACT, SIZE, Fraction(5)]


def test_nothing_configured_is_a_plan_too() -> None:
    """A job without subsamplers decodes and encodes nothing."""
    plan = make_plan([])
    assert isinstance(plan.clipper, WholeSpans)
    assert plan.picture_work(clips=True) == "copied"
    assert plan.picture_work(clips=False) == "untouched"


@pytest.mark.parametrize(
    ("stage", "does"), [(FRAME, "frame rate"), (CUTS, "cuts"), (EXACT, "clips")]
)
def test_a_role_for_one_is_not_given_to_two(stage: object, does: str) -> None:
    """Two subsamplers that claim the same single role are a mistake that is named."""
    with pytest.raises(UserError, match=does):
        make_plan([stage, stage])


@pytest.mark.parametrize(
    ("stages", "clips", "work"),
    [
        ([SIZE], False, "encoded"),
        ([FRAME], False, "encoded"),
        ([EXACT], True, "encoded"),
        ([EXACT], False, "untouched"),
        ([CUTS], False, "untouched"),
        ([PROBE], True, "copied"),
        ([SOUND], False, "copied"),
        ([STILLS, SIZE], True, "stills"),
    ],
)
def test_video_is_encoded_only_where_it_must_be(
    stages: list[object], clips: bool, work: str
) -> None:
    """Encoding follows from a change of picture or rate, or from exact clips."""
    assert make_plan(stages).picture_work(clips=clips) == work


def test_the_full_job_decodes_once() -> None:
    """Cuts, size, rate and clips share one decode."""
    passes = make_plan([CUTS, EXACT, SIZE, FRAME]).passes(clips=False)
    assert sum("decode" in line for line in passes) == 1


def test_a_plan_can_be_sent_to_a_worker() -> None:
    """A plan is equal to itself after pickling."""
    plan = make_plan([PROBE, CUTS, EXACT, SIZE, FRAME])
    copy = pickle.loads(pickle.dumps(plan))
    assert isinstance(copy, Plan)
    assert copy == plan
