"""All the work on one video, as one call that runs in a worker process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from asyncv2d.audio import AudioMethod, add_sound
from asyncv2d.clips import read_spans
from asyncv2d.copying import can_copy, copy_clips
from asyncv2d.decode import Decoded, decode, keyframe_times
from asyncv2d.encode import Receipt
from asyncv2d.media import Size, Span, VideoInfo
from asyncv2d.plan import Plan
from asyncv2d.probe import Media, open_media
from asyncv2d.take import Take
from asyncv2d.types import Blob, Body, Cause, ItemError, Processed, RunError, Sample

CLIP_DIGITS = 5
_ANY_VIDEO = VideoInfo(0, "", Size(0, 0), Fraction(1), Fraction(25))
INLINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """One video and what to do with it. ``spool`` is a folder to make for parts that are large."""

    key: str
    body: Body
    clips: Any
    plan: Plan
    spool: Path


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished clip."""

    data: bytes
    receipt: Receipt


def prepare(plan: Plan) -> None:
    """Import what the first video will need, in a new worker and while downloads begin."""
    if plan.detector is not None:
        plan.detector.watch(_ANY_VIDEO)


def process(task: Task) -> Processed:
    """Probe, decode, cut, encode: the samples of one video.

    Each sample has its ``mp4`` part and its own facts; captions and the row's columns are added by
    the caller. Raises ItemError where the video cannot be processed.
    """
    with open_media(task.body) as media:
        try:
            return _Work(task, media).run()
        except ItemError as error:
            error.facts["frames_decoded"] = media.counter.frames
            raise


class _Work:
    def __init__(self, task: Task, media: Media) -> None:
        self._task = task
        self._plan = task.plan
        self._media = media
        self._decoded = Decoded(times=[], end=media.probe.duration or 0.0)

    def run(self) -> Processed:
        spans = self._given_spans()
        clipping = spans is not None or self._plan.cuts_are_clips
        if self._media.video is None and self._plan.needs_video(clips=clipping):
            raise ItemError(Cause.NO_VIDEO_STREAM, _what_it_is(self._media))
        facts = self._describe()
        encode = self._plan.encodes(clips=clipping) or (clipping and not can_copy(self._media))
        if encode or self._plan.detector is not None:
            self._decoded = decode(self._media, self._plan, spans, encode=encode)
        elif self._media.truncated:
            raise ItemError(Cause.TRUNCATED, "the file ends before its own headers say it does")
        facts |= self._decoded.facts
        if not (encode or clipping):
            if self._media.video is None:
                raise ItemError(Cause.NO_VIDEO_STREAM, _what_it_is(self._media))
            samples = [Sample(self._task.key, {"mp4": self._task.body}, facts)]
        else:
            clips = self._encoded() if encode else self._copied(spans)
            samples = self._samples(clips, facts, clipping=clipping)
        return Processed(samples, {"frames_decoded": self._media.counter.frames})

    def _given_spans(self) -> Sequence[Span] | None:
        if self._plan.cuts_are_clips or self._task.clips is None:
            return None
        return read_spans(self._task.clips)

    def _describe(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        keyframes: Sequence[float] = ()
        if any(describer.needs_keyframes for describer in self._plan.describers):
            keyframes = keyframe_times(self._media)
        for describer in self._plan.describers:
            facts |= describer.describe(self._media.probe, keyframes)
        return facts

    def _encoded(self) -> list[Clip]:
        takes = self._decoded.takes
        audio = add_sound(self._media, takes)
        return [_finished(take, method) for take, method in zip(takes, audio, strict=True)]

    def _copied(self, spans: Sequence[Span] | None) -> list[Clip]:
        if spans is None:
            spans = [Span(a, b) for a, b in self._decoded.facts["cuts_seconds"]]
        return [
            Clip(data, receipt)
            for data, receipt in copy_clips(self._media, spans, self._plan.clipper)
        ]

    def _samples(
        self, clips: Sequence[Clip], facts: Mapping[str, Any], *, clipping: bool
    ) -> list[Sample]:
        if not clips:
            raise ItemError(Cause.NO_CLIPS, self._why_no_clips(facts))
        samples = []
        for number, clip in enumerate(clips):
            key = f"{self._task.key}_{number:0{CLIP_DIGITS}d}" if clipping else self._task.key
            own = {"clips": [list(clip.receipt.asked)]} if clipping else {}
            meta = {**facts, **own, "receipt": asdict(clip.receipt)}
            samples.append(Sample(key, {"mp4": self._part(clip.data)}, meta))
        return samples

    def _why_no_clips(self, facts: Mapping[str, Any]) -> str:
        found = len(facts.get("cuts_seconds", ())) or "the given"
        return f"none of {found} spans of this {self._decoded.end:.2f} s long video can be a clip"

    def _part(self, data: bytes) -> Blob:
        """Small parts travel inside the answer, large ones by a path in the spool."""
        if len(data) <= INLINE_BYTES:
            return Blob.of(data)
        spool = self._task.spool
        try:
            spool.mkdir(exist_ok=True)
            handle, path = tempfile.mkstemp(dir=spool, prefix="part-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        except OSError as error:  # not the row's fault, and no row would fare better
            raise RunError(f"{spool.parent}: cannot keep clips: {error.strerror}") from error
        return Blob(size=len(data), path=Path(path))


def _finished(take: Take, audio: AudioMethod | None) -> Clip:
    assert take.encoder is not None
    receipt = Receipt(take.span, take.real, take.frames, take.duration, "exact", audio)
    try:
        return Clip(take.encoder.finish(), receipt)
    except av.FFmpegError as error:  # sound that was copied from a damaged header
        raise ItemError(Cause.CORRUPT, f"a clip cannot be written: {error.strerror}") from error


def _what_it_is(media: Media) -> str:
    kinds = ", ".join(sorted({stream.type for stream in media.container.streams})) or "no"
    return f"the file has {kinds} streams only, and this job makes video"


def sendable(body: Body) -> Body:
    """The body as it can be sent to a worker: the owner's duties stay with the owner."""
    return replace(body, on_close=None) if isinstance(body, Blob) else body
