"""Measures what the work on a video costs, as ratios to a bare decode of the same video.

    python scripts/bench/stages.py [VIDEO …]      # without arguments: made videos

Each figure is the median over several rounds; in every round all variants run in turn, so the
ratios hold on a noisy machine. CPU seconds of this process, one thread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from asyncv2d.config import build
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.task import Task
from asyncv2d.types import ItemError, LocalFile
from asyncv2d.work import process

ROUNDS = 5
CUTS: Mapping[str, Any] = {"CutDetectionSubsampler": {"cuts_are_clips": True, "args": {}}}
CLIPS: Mapping[str, Any] = {"ClippingSubsampler": {"args": {"min_length": 4, "max_length": 20}}}
PICTURE: Mapping[str, Any] = {
    "ResolutionSubsampler": {"args": {"video_size": 224, "resize_mode": "scale,crop,pad"}},
    "FrameSubsampler": {"args": {"frame_rate": 5}},
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "headers only": {"FFProbeSubsampler": {}},
    "find cuts": {"CutDetectionSubsampler": {}},
    "resize and 5 fps": PICTURE,
    "cut by copying": {**CUTS, **CLIPS},
    "the main job": {**CUTS, **CLIPS, **PICTURE, "FFProbeSubsampler": {}},
}


def main() -> None:
    """Print a line for each variant."""
    with tempfile.TemporaryDirectory() as folder:
        videos = [Path(name) for name in sys.argv[1:]] or _made(Path(folder))
        jobs: dict[str, Callable[[Path], None]] = {"bare decode": _decode}
        for name, subsampling in VARIANTS.items():
            jobs[name] = _job(subsampling, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(ROUNDS):
            for name, job in jobs.items():
                seconds[name].append(_cpu_seconds(job, videos))
    ratios = {
        name: [a / b for a, b in zip(values, seconds["bare decode"], strict=True)]
        for name, values in seconds.items()
    }
    for name, values in seconds.items():
        print(
            f"{name:<18}{statistics.median(values) / len(videos):8.3f} CPU-s a video"
            f"{statistics.median(ratios[name]):8.2f} × bare decode"
        )


def _made(folder: Path) -> list[Path]:
    videos = {
        "720p.mp4": MadeVideo(scenes(6, 5, 7), (1280, 720), rate=Fraction(30)),
        "360p.mp4": MadeVideo(scenes(5, 9, 4.5), (640, 360), rate=Fraction(25)),
    }
    return [video.write(folder / name) for name, video in videos.items()]


def _job(subsampling: Mapping[str, Any], spool: Path) -> Callable[[Path], None]:
    plan = build({"subsampling": subsampling}).plan()

    def run(video: Path) -> None:
        try:
            process(Task("0", LocalFile(video), {}, plan, spool))
        except ItemError as error:
            print(f"{video.name}: {error}")

    return run


def _decode(video: Path) -> None:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        for _ in container.decode(stream):
            pass


def _cpu_seconds(job: Callable[[Path], None], videos: list[Path]) -> float:
    begin = time.process_time()
    for video in videos:
        job(video)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
