"""Tests of the pipeline that a configuration gives."""

from __future__ import annotations

from pathlib import Path

import pytest

import asyncv2d
from asyncv2d.made_media import MadeVideo, scenes

pytestmark = pytest.mark.anyio
ONE_WORKER = {"distribution": {"workers": 1}}


@pytest.fixture
def video(tmp_path: Path) -> str:
    """A small file to work on."""
    return str(MadeVideo(scenes(1, 1)).write(tmp_path / "small.mp4"))


async def test_processing_has_a_deadline(video: str) -> None:
    """A video that takes longer than worker_timeout fails with the cause that says so."""
    config = {"distribution": {"workers": 1, "worker_timeout": 1e-6}}
    async with asyncv2d.open(config) as v2d, v2d.stream([video]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, asyncv2d.Failed)
    assert outcome.cause is asyncv2d.Cause.WORKER_TIMEOUT


async def test_every_kind_of_url_has_its_fetcher_or_a_cause(video: str) -> None:
    """Paths are taken where they lie; unknown schemes, empty and broken URLs are bad_url."""
    urls = [video, f"file://{video}", "gopher://host/a.mp4", "", "http://[broken/a.mp4"]
    async with asyncv2d.open(ONE_WORKER) as v2d, v2d.stream(urls) as outcomes:
        by_index = {outcome.row.index: outcome async for outcome in outcomes}
    assert isinstance(by_index[0], asyncv2d.Ok)
    assert isinstance(by_index[1], asyncv2d.Ok)
    for index in (2, 3, 4):
        failed = by_index[index]
        assert isinstance(failed, asyncv2d.Failed)
        assert failed.cause is asyncv2d.Cause.BAD_URL
        assert failed.status == "failed_to_download"


async def test_a_file_that_needs_no_work_is_handed_on_as_it_lies(video: str) -> None:
    """Without a transform the sample's part is the source itself, not a copy in memory."""
    async with asyncv2d.open(ONE_WORKER) as v2d, v2d.stream([video]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, asyncv2d.Ok)
    assert outcome.value.samples[0].parts["mp4"].path == Path(video)
    assert outcome.value.facts["bytes_downloaded"] > 0
