"""From the configured subsamplers to the passes over a video that serve them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from asyncv2d.media import (
    Clipper,
    CutDetector,
    Describer,
    Pacer,
    Precision,
    Span,
    VideoFilter,
)
from asyncv2d.types import UserError

R = TypeVar("R")


class WholeSpans:
    """The clipper of a job that configures none: every span becomes one clip as it is."""

    precision: Precision = "low"

    def pieces(self, start: float) -> Iterator[Span]:
        """One piece without end."""
        yield Span(start, float("inf"))

    def keeps(self, piece: Span) -> bool:
        """Always."""
        return piece.length > 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to every video of a job; sent to the workers."""

    describers: Sequence[Describer]
    detector: CutDetector | None
    clipper: Clipper
    filters: Sequence[VideoFilter]
    rate: Fraction | None

    @property
    def transforms(self) -> bool:
        """Whether the picture or its rate changes, so that video has to be encoded."""
        return bool(self.filters) or self.rate is not None

    @property
    def cuts_are_clips(self) -> bool:
        """Whether every scene becomes a clip."""
        return self.detector is not None and self.detector.cuts_are_clips

    def encodes(self, *, clips: bool) -> bool:
        """Whether a video is encoded anew; ``clips`` says if it is to be cut."""
        return self.transforms or (clips and self.clipper.precision == "exact")

    def needs_video(self, *, clips: bool) -> bool:
        """Whether a file without a video stream is of no use to this job."""
        return self.detector is not None or self.encodes(clips=clips)

    def passes(self, *, clips: bool) -> list[str]:
        """The passes over each video in words, in order."""
        lines = ["read the headers (no decoding)"]
        encodes = self.encodes(clips=clips or self.cuts_are_clips)
        work = ["find cuts"] if self.detector is not None else []
        if encodes:
            work.append("filter and encode")
        if work:
            lines.append(f"decode every video frame once: {', '.join(work)}")
        if encodes:
            lines.append("read the sound: copy it, or encode it where it cannot be copied")
        elif clips or self.cuts_are_clips:
            lines.append(f"copy the streams of each clip ({self.clipper.precision})")
        return lines


def make_plan(subsamplers: Iterable[object]) -> Plan:
    """Group subsamplers by role. Raises UserError where two claim a role that only one can have."""
    stages = tuple(subsamplers)
    pacer = _only([stage for stage in stages if isinstance(stage, Pacer)], "set the frame rate")
    detectors = [stage for stage in stages if isinstance(stage, CutDetector)]
    clippers = [stage for stage in stages if isinstance(stage, Clipper)]
    return Plan(
        describers=[stage for stage in stages if isinstance(stage, Describer)],
        detector=_only(detectors, "detect cuts"),
        clipper=_only(clippers, "cut clips") or WholeSpans(),
        filters=[stage for stage in stages if isinstance(stage, VideoFilter)],
        rate=pacer.frame_rate if pacer else None,
    )


def _only(found: Sequence[R], does: str) -> R | None:
    if len(found) > 1:
        names = " and ".join(type(stage).__name__ for stage in found)
        raise UserError(f"subsampling: {names} both {does}; keep one of them")
    return found[0] if found else None
