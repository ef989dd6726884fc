"""The videos that the jobs are done on, and the table that names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq

from asyncv2d.made_media import MadeVideo, scenes

# video2dataset downloads a URL itself only if it ends in one of these.
SUFFIXES = (".mp4", ".webm", ".mov", ".avi", ".mkv")
# Parts of a video's length, for the job whose spans are given.
_SPANS = ((0.1, 0.45), (0.55, 0.9))


@dataclass(frozen=True, slots=True)
class Video:
    """A file, and what a command that works on it has to know."""

    path: Path
    seconds: float
    width: int
    height: int
    sound: str | None

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The clips to cut where spans are given."""
        return [
            (round(start * self.seconds, 2), round(end * self.seconds, 2)) for start, end in _SPANS
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a video under one of its URLs."""

    url: str
    video: Video


def make_videos(folder: Path) -> list[Path]:
    """Make a few videos of several scenes, for those who have none at hand."""
    made = {
        "720p.mp4": MadeVideo(
            scenes(6, 5, 7), (1280, 720), rate=Fraction(30), keyframe_interval=60, b_frames=2
        ),
        "480p.mp4": MadeVideo(
            scenes(8, 4.5, 6), (854, 480), rate=Fraction(24), keyframe_interval=48
        ),
        "360p.mp4": MadeVideo(
            scenes(5, 9, 4.5), (640, 360), rate=Fraction(25), keyframe_interval=50
        ),
    }
    return [video.write(folder / name) for name, video in made.items()]


def find_videos(folder: Path) -> list[Path]:
    """The files in ``folder`` whose names are those of videos."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def look_at(path: Path) -> Video | None:
    """Read the headers of a file; None where they are not those of a video of known length."""
    try:
        container = av.open(str(path))
    except av.FFmpegError:
        return None
    with container:
        if not container.streams.video or not container.duration:
            return None
        picture, sound = container.streams.video[0], container.streams.audio
        return Video(
            path,
            seconds=container.duration / av.time_base,
            width=picture.width,
            height=picture.height,
            sound=sound[0].codec_context.codec.canonical_name if sound else None,
        )


def rows(videos: Sequence[Video], address: str, copies: int) -> list[Row]:
    """Every video ``copies`` times, each time under another URL."""
    return [
        Row(f"{address}/{number}?i={copy}&f={video.path.suffix}", video)
        for copy in range(copies)
        for number, video in enumerate(videos)
    ]


def write_table(table: Path, lines: Sequence[Row]) -> None:
    """Write the input of the jobs; Parquet, for video2dataset reads no spans from CSV."""
    columns = {
        "url": [row.url for row in lines],
        "clips": [[list(span) for span in row.video.spans] for row in lines],
    }
    pq.write_table(pa.table(columns), table)
