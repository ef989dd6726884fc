"""Tests of the pipeline that a configuration gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncv2d
from asyncv2d.config import build
from asyncv2d.engine import open_engine
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d.types import INLINE_BYTES, Row

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio
ONE_WORKER = {"distribution": {"workers": 1}}


@pytest.fixture
def video(tmp_path: Path) -> str:
    """A small file to work on."""
    return str(MadeVideo(scenes(1, 1)).write(tmp_path / "small.mp4"))


async def test_processing_has_a_deadline(video: str) -> None:
    """A video that takes longer than worker_timeout fails with the cause that says so."""
    config = {
        "subsampling": {"FFProbeSubsampler": {}},
        "distribution": {"workers": 1, "worker_timeout": 1e-6},
    }
    async with asyncv2d.open(config) as v2d, v2d.stream([video]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, asyncv2d.Failed)
    assert outcome.cause is asyncv2d.Cause.WORKER_TIMEOUT


async def test_every_kind_of_url_has_its_fetcher_or_a_cause(video: str) -> None:
    """Paths are taken where they lie; unknown schemes, empty and broken URLs are bad_url."""
    bad = ["gopher://host/a.mp4", "", "http://[broken/a.mp4", "data:video/mp4;base64,AA", "http:/a"]
    urls = [video, f"file://{video}", *bad]
    async with asyncv2d.open(ONE_WORKER) as v2d, v2d.stream(urls) as outcomes:
        by_index = {outcome.row.index: outcome async for outcome in outcomes}
    assert isinstance(by_index[0], asyncv2d.Ok)
    assert isinstance(by_index[1], asyncv2d.Ok)
    for index in range(2, len(urls)):
        failed = by_index[index]
        assert isinstance(failed, asyncv2d.Failed)
        assert failed.cause is asyncv2d.Cause.BAD_URL
        assert failed.status == "failed_to_download"


async def test_files_that_are_stored_as_they_came_take_no_worker(
    tmp_path: Path, video: str
) -> None:
    """Where nothing is made of videos, a good one costs no call to another process."""
    config, rows = build({}), _rows([video, str(tmp_path / "gone.mp4")])
    folders = SpoolFolders(tmp_path, tmp_path, 1 << 30)
    async with (
        open_engine(config, config.plan(), folders, save_caption=False) as engine,
        engine.pipeline.run(_one_by_one(rows)) as outcomes,
    ):
        by_key = {outcome.row.key: outcome async for outcome in outcomes}
        assert engine.pool.running == 0
    assert isinstance(by_key["0"], asyncv2d.Ok)
    assert isinstance(by_key["1"], asyncv2d.Failed)


@pytest.mark.parametrize("size", [20_000, 2 * INLINE_BYTES])
async def test_what_is_no_plain_video_is_looked_at_by_a_worker(
    server: Server, tmp_path: Path, size: int
) -> None:
    """A good file in another container is stored too, small or large; a bad one fails."""
    film = MadeVideo(scenes(0.4), container="matroska").data()
    void = b"\xec\x08" + (size - len(film)).to_bytes(8, "big") + bytes(size - len(film))
    server.videos = {"good.mkv": film + void, "cut.mkv": film[:-1000], "text.mkv": b"no video"}
    urls = [server.url(f"ok/{name}") for name in server.videos]
    config = build(ONE_WORKER)
    folders = SpoolFolders(tmp_path, tmp_path, 1 << 30)
    async with (
        open_engine(config, config.plan(), folders, save_caption=False) as engine,
        engine.pipeline.run(_one_by_one(_rows(urls))) as outcomes,
    ):
        found = {outcome.row.index: outcome async for outcome in outcomes}
        kept = found[0]
        assert isinstance(kept, asyncv2d.Ok)
        assert kept.value.samples[0].parts["mp4"].read() == film + void
        kept.value.close()
        assert engine.budget.used == 0
    causes = [outcome.cause for outcome in found.values() if isinstance(outcome, asyncv2d.Failed)]
    assert sorted(causes) == ["not_media", "truncated"]
    assert _files(tmp_path) == []


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _rows(urls: Sequence[str]) -> Sequence[Row]:
    return [Row(index, str(index), url) for index, url in enumerate(urls)]


async def _one_by_one(rows: Sequence[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


async def test_a_file_that_needs_no_work_is_handed_on_as_it_lies(video: str) -> None:
    """Without a transform the sample's part is the source itself, not a copy in memory."""
    async with asyncv2d.open(ONE_WORKER) as v2d, v2d.stream([video]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, asyncv2d.Ok)
    assert outcome.value.samples[0].parts["mp4"].path == Path(video)
    assert outcome.value.facts["bytes_downloaded"] > 0
