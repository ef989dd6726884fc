"""From clips whose parts are there to samples: their keys, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from asyncv2d.encode import Receipt
from asyncv2d.media import Span
from asyncv2d.picture import Picture
from asyncv2d.spans import clock_time, says_clock_times
from asyncv2d.subtitles import Subtitle, clip_subtitles
from asyncv2d.task import Task, write_part
from asyncv2d.types import Blob, Body, Sample

CLIP_DIGITS = 5
IMAGE_DIGITS = 4
PART_INLINE_BYTES = 1 << 20


class Clip(Struct):
    """A clip while its parts come together."""

    span: Span
    receipt: Receipt | None = None
    picture: Picture | None = None
    parts: dict[str, Body] = field(default_factory=dict)
    images: Sequence[tuple[float, bytes]] = ()

    @property
    def asked(self) -> Span:
        """The span that was asked for."""
        return self.span if self.receipt is None else self.receipt.asked


class SampleMaker:
    """Makes the samples of one video. Its ``subtitles`` are read only where something asks."""

    def __init__(self, task: Task, subtitles: Callable[[], Sequence[Subtitle]]) -> None:
        self._task = task
        self._plan = task.plan
        self._subtitles = subtitles

    def samples(self, clip: Clip, facts: Mapping[str, Any], number: int | None) -> Iterator[Sample]:
        """The clip as a sample; each of its images as one of its own."""
        key, meta, caption = self._task.key, dict(facts), None
        if clip.receipt is not None:
            meta["receipt"] = asdict(clip.receipt)
        if number is not None:
            key = f"{key}_{number:0{CLIP_DIGITS}d}"
            meta |= self._clip_facts(clip)
            caption = self._caption(clip)
        if clip.parts or not (self._plan.wants_picture or self._plan.audio_format):
            parts = {name: self._part(body) for name, body in clip.parts.items()}
            yield Sample(key, parts, meta, caption)
        for count, (time, image) in enumerate(clip.images):
            assert self._plan.image_format is not None
            part = self._part(Blob.of(image))
            own = {"frame_time": time, **self._frame_subtitle(time)}
            alone = len(clip.images) == 1 and not clip.parts
            image_key = key if alone else f"{key}_{count:0{IMAGE_DIGITS}d}"
            yield Sample(image_key, {self._plan.image_format: part}, {**meta, **own}, caption)

    def _caption(self, clip: Clip) -> str | None:
        """The text of the subtitle that the clip was made of; pieces of a long one all have it."""
        if not self._plan.output.subtitles_are_clips:
            return None
        subtitles = clip_subtitles(self._subtitles(), clip.asked)
        begun = [subtitle for subtitle in subtitles if subtitle.span.start <= clip.asked.start]
        return begun[-1].text if begun else None

    def _clip_facts(self, clip: Clip) -> dict[str, Any]:
        asked = clip.asked
        times: list[Any] = list(asked)
        if self._writes_clock_times:
            times = [clock_time(time) for time in asked]
        facts: dict[str, Any] = {"clips": [times]}
        if self._task.metadata.get("yt_meta_dict") or self._plan.output.subtitles_are_clips:
            subtitles = clip_subtitles(self._subtitles(), asked)
            facts["clip_subtitles"] = [subtitle.record for subtitle in subtitles]
        return facts

    def _frame_subtitle(self, time: float) -> dict[str, Any]:
        stills = self._plan.stills
        for subtitle in self._subtitles() if stills and stills.needs_subtitles else ():
            if subtitle.span.start == time:
                return {"frame_time": subtitle.start, "frame_subtitle": subtitle.record["lines"]}
        return {}

    @cached_property
    def _writes_clock_times(self) -> bool:
        return says_clock_times(self._task.metadata.get("clips"))

    def _part(self, body: Body) -> Body:
        """Small parts travel inside the answer, large ones by a path in the spool."""
        spool = self._task.spool
        if not isinstance(body, Blob) or body.pieces is None or spool is None:
            return body
        if body in (self._task.body, self._task.sound) or body.size <= PART_INLINE_BYTES:
            return body
        return Blob(size=body.size, path=write_part(spool, body.pieces))
