"""The tools that are measured: for each, the command that does a job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import av

from scripts.bench.jobs import FRAME_RATE, SIDE, Job
from scripts.bench.peer import peer_version
from scripts.bench.videos import Row

_HERE = Path(__file__).parent
_DOWNLOADS = 16


@dataclass(frozen=True, slots=True)
class Task:
    """A job to do once: on these rows, which ``table`` holds too, in a fresh ``folder``."""

    job: Job
    rows: Sequence[Row]
    table: Path
    folder: Path
    processes: int

    @property
    def output(self) -> Path:
        """Where the tool is to write."""
        return self.folder / "output"


class Tool(Protocol):
    """A program that can do some of the jobs."""

    @property
    def name(self) -> str:
        """How it is called in the table."""

    def version(self) -> str:
        """Which one it is."""

    def command(self, task: Task) -> list[str] | None:
        """The command that does the task; None if there is none."""


class Asyncv2d:
    """The program of this project, as installed for the Python that runs this."""

    name = "asyncv2d"

    def version(self) -> str:
        """Its version, and those of what it stands on."""
        ffmpeg = av.ffmpeg_version_info
        python = sys.version.partition(" ")[0]
        return f"{version('asyncv2d')} on Python {python}, av {av.__version__} (FFmpeg {ffmpeg})"

    def command(self, task: Task) -> list[str]:
        """The command line of a user."""
        config = task.folder / "config.yaml"
        config.write_text(json.dumps(_config(task)))  # JSON is YAML
        options = {
            "config": str(config),
            "output_folder": str(task.output),
            "output_format": "webdataset",
            "encode_formats": json.dumps(task.job.encode_formats),
            **({"clip_col": "clips"} if task.job.given_spans else {}),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        # -P: the installed program, not what happens to lie in the current folder.
        return [sys.executable, "-P", "-m", "asyncv2d", "download", str(task.table), *words]


@dataclass(frozen=True, slots=True)
class Video2dataset:
    """video2dataset, in the virtual environment of ``python``."""

    python: Path
    name = "video2dataset"

    def version(self) -> str:
        """Its version."""
        return peer_version(self.python)

    def command(self, task: Task) -> list[str]:
        """A call of its Python API, with the same configuration as asyncv2d's."""
        arguments = task.folder / "arguments.json"
        arguments.write_text(
            json.dumps(
                {
                    "url_list": str(task.table),
                    "input_format": "parquet",
                    "output_folder": str(task.output),
                    "output_format": "webdataset",
                    "encode_formats": dict(task.job.encode_formats),
                    "clip_col": "clips" if task.job.given_spans else None,
                    "tmp_dir": str(task.folder),
                    "config": _config(task),
                }
            )
        )
        return [str(self.python), "-P", str(_HERE / "peer_run.py"), str(arguments)]


class Ffmpeg:
    """The ffmpeg on the PATH: one command a video, as many at a time as there are processes."""

    name = "ffmpeg"

    def version(self) -> str:
        """Its version."""
        printed = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True)
        return printed.stdout.split()[2]

    def command(self, task: Task) -> list[str] | None:
        """The commands of all videos, where one command does the job on one video."""
        make = _FFMPEG.get(task.job.name)
        if make is None:
            return None
        task.output.mkdir()
        commands = task.folder / "commands.json"
        common = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error"]
        lines = [
            [*common, *make(row, f"{task.output}/{number:06}")]
            for number, row in enumerate(task.rows)
        ]
        commands.write_text(json.dumps(lines))
        # -I -S: as little of Python as there can be, for it is counted as ffmpeg's.
        runner = [sys.executable, "-I", "-S", str(_HERE / "ffmpeg_run.py")]
        return [*runner, str(commands), str(task.processes)]


def _config(task: Task) -> Mapping[str, Any]:
    """What both programs read: a shard for every process, for one of video2dataset's is serial."""
    return {
        "subsampling": task.job.subsampling,
        "reading": {
            "yt_args": {"download_size": 360, "download_audio_rate": 44100},
            "timeout": 60,
            "sampler": None,
        },
        "storage": {
            "number_sample_per_shard": -(-len(task.rows) // task.processes),
            "oom_shard_count": 5,
            "captions_are_subtitles": False,
        },
        "distribution": {
            "processes_count": task.processes,
            "thread_count": max(1, _DOWNLOADS // task.processes),
            "subjob_size": 1000,
            "distributor": "multiprocessing",
        },
    }


# Codecs of sound that asyncv2d copies into MP4; it encodes others as AAC.
_COPIED = frozenset({"aac", "ac3", "eac3", "opus", "flac", "alac"})
_ONE_THREAD = ("-threads", "1")
# The same picture as asyncv2d's: dropped to the rate first, for that is the cheaper order, then
# with square pixels at the asked height, then cropped or padded to the width.
_FILTERS = ",".join(
    (
        f"fps={FRAME_RATE}",
        f"scale=2*round({SIDE}*dar/2):{SIDE}:flags=bicubic",
        "setsar=1",
        rf"crop=min(iw\,{SIDE}):{SIDE}",
        f"pad={SIDE}:{SIDE}:(ow-iw)/2:(oh-ih)/2",
        "format=yuv420p",
    )
)


def _spans(row: Row, stem: str) -> Iterable[str]:
    for start, end in row.video.spans:
        yield from ("-ss", str(start), "-t", f"{end - start:.3f}", "-i", row.url)
    for number in range(len(row.video.spans)):
        yield from ("-map", f"{number}:v:0", "-map", f"{number}:a:0?", "-c", "copy")
        # Or the file would hide the frames from its first keyframe to the span's beginning.
        yield from ("-avoid_negative_ts", "make_zero", f"{stem}_{number:05}.mp4")


def _picture(row: Row, stem: str) -> Iterable[str]:
    yield from (*_ONE_THREAD, "-i", row.url, "-sn", "-dn", "-filter_threads", "1")
    yield from ("-vf", _FILTERS)
    yield from ("-c:v", "libx264", "-preset", "medium", "-crf", "23", *_ONE_THREAD)
    yield from ("-c:a", "copy" if row.video.sound in _COPIED else "aac", f"{stem}.mp4")


def _sound(row: Row, stem: str) -> Iterable[str]:
    codec = "copy" if row.video.sound == "mp3" else "libmp3lame"
    yield from (*_ONE_THREAD, "-i", row.url, "-vn", "-sn", "-dn", "-c:a", codec, f"{stem}.mp3")


_FFMPEG: Mapping[str, Callable[[Row, str], Iterable[str]]] = {
    "J2": _spans,
    "J3": _picture,
    "J7": _sound,
}
