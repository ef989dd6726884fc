"""A first run without the internet: made videos, a server on this machine, the real job."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import typer
import yaml
from aiohttp import web

from asyncv2d.display import display
from asyncv2d.job import make_job
from asyncv2d.made_media import demo_videos
from asyncv2d.report import Summary
from asyncv2d.run import Watcher, run_job_async

_CONFIG = {
    "subsampling": {
        "ResolutionSubsampler": {"args": {"video_size": 224, "resize_mode": "scale,crop,pad"}},
        "FrameSubsampler": {"args": {"frame_rate": 5}},
        "CutDetectionSubsampler": {
            "cuts_are_clips": True,
            "args": {"cut_detection_mode": "all", "threshold": 27, "min_scene_len": 15},
        },
        "ClippingSubsampler": {"args": {"min_length": 4.0, "max_length": 20.0}},
        "FFProbeSubsampler": {"args": {"extract_keyframes": False}},
    },
    "storage": {"number_sample_per_shard": 4},
}
_LOAD = """\
Load it (pip install webdataset):

    import json, webdataset
    shards = [{shards}]
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        print(sample["__key__"], len(sample["mp4"]), json.loads(sample["json"])["clips"])

What became of every row is in the ledger:

    import pyarrow.parquet
    for line in pyarrow.parquet.read_table("{ledger}").to_pylist():
        print(line["url"], line["key"], line["status"], line["cause"])"""


def run_demo(folder: Path) -> int:
    """Make the videos in ``folder``, run the job on them, say what to do next; the exit code."""
    typer.echo(f"making videos in {folder / 'videos'}")
    _make_videos(folder / "videos")
    (folder / "config.yaml").write_text(yaml.safe_dump(_CONFIG, sort_keys=False))
    with display(sys.stdout) as watcher:
        summary = anyio.run(_run, folder, watcher)
    for line in summary.lines():
        typer.echo(line)
    typer.echo(_what_next(folder))
    return summary.exit_code


def _make_videos(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, video in demo_videos().items():
        if not (folder / name).exists():
            video.write(folder / name)
    (folder / "web-page.mp4").write_text("<!doctype html><title>This is no video</title>")


async def _run(folder: Path, watcher: Watcher) -> Summary:
    async with _served(folder / "videos") as address:
        table = folder / "urls.csv"
        _write_table(table, address, folder / "videos")
        arguments = {
            "url_list": str(table),
            "output_folder": str(folder / "dataset"),
            "output_format": "webdataset",
            "caption_col": "caption",
            "incremental_mode": "overwrite",
        }
        command = " ".join(f"--{name} {value}" for name, value in list(arguments.items())[1:])
        watcher.log(f"asyncv2d download {table} --config {folder / 'config.yaml'} {command}")
        return await run_job_async(make_job(arguments, folder / "config.yaml"), watcher)


def _write_table(table: Path, address: str, videos: Path) -> None:
    rows = [(f"{address}/{path.name}", path.stem) for path in sorted(videos.iterdir())]
    rows.append((f"{address}/not-there.mp4", "not there"))
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("url", "caption"), *rows])


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[str]:
    """Serve the files in ``folder`` on this machine; gives the address."""
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _what_next(folder: Path) -> str:
    dataset = folder / "dataset"
    shards = ", ".join(f'"{path}"' for path in sorted(dataset.glob("*.tar")))
    ledger = dataset / "00000.parquet"
    return f"\nThe dataset is in {dataset}\n\n{_LOAD.format(shards=shards, ledger=ledger)}"
