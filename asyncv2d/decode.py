"""The one place that decodes video: every frame once, handed to everything that needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asyncv2d.clips import KnownSpans, SceneSpans, Schedule
from asyncv2d.encode import Timing
from asyncv2d.filter_chain import FilterChain
from asyncv2d.media import Span
from asyncv2d.plan import Plan, WholeSpans
from asyncv2d.probe import Media, packets, reopen
from asyncv2d.small_view import SmallView
from asyncv2d.take import Take
from asyncv2d.types import Cause, ItemError

_LONGEST_STILL = 600.0


@dataclass(slots=True)
class Decoded:
    """What one decode of a video gave."""

    times: list[float]
    end: float
    takes: Sequence[Take] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class _NoClips:
    """The schedule of a decode that only looks."""

    def show(self, frame: VideoFrame, time: float, *, new_scene: bool) -> None:
        """Nothing to do."""

    def finish(self, end: float) -> list[Take]:
        """No clips."""
        return []


def decode(media: Media, plan: Plan, spans: Sequence[Span] | None, *, encode: bool) -> Decoded:
    """Decode the video once: watch for cuts and, where ``encode``, make the clips.

    ``spans`` are the clips to make; None means every scene where cuts are clips, else the whole
    video. Raises ItemError (truncated or corrupt) where the video cannot be decoded to its end.
    """
    assert media.video is not None
    assert media.probe.video is not None
    watch = plan.detector.watch(media.probe.video) if plan.detector else None
    small = SmallView(plan.detector.view_width if plan.detector else 0)
    schedule = _schedule(media, plan, spans) if encode else _NoClips()
    decoded = Decoded(times=[], end=0.0)
    for frame, time, end in _frames(media, media.video):
        new_scene = watch is not None and watch.push(small(frame), len(decoded.times))
        schedule.show(frame, time, new_scene=new_scene)
        decoded.times.append(time)
        decoded.end = end
    if not decoded.times:
        raise ItemError(media.damage, "no frame of the video could be decoded")
    decoded.takes = schedule.finish(decoded.end)
    decoded.facts = watch.finish(decoded.times, decoded.end) if watch else {}
    return decoded


def _schedule(media: Media, plan: Plan, spans: Sequence[Span] | None) -> Schedule:
    assert media.probe.video is not None
    video = media.probe.video
    chain = _LastView(FilterChain(plan.filters, video.sample_aspect_ratio))
    timing = Timing(rate=plan.rate, source_rate=video.rate)

    def open_take(span: Span) -> Take:
        return Take(span, timing, chain)

    if spans is not None:
        return KnownSpans(spans, plan.clipper, open_take)
    if plan.detector is not None and plan.cuts_are_clips:
        longest = plan.detector.scenes == "longest"
        return SceneSpans(plan.clipper, open_take, longest_only=longest)
    return KnownSpans([Span(0.0, float("inf"))], WholeSpans(), open_take)


class _LastView:
    """Remembers the last filtered frame, so clips that overlap share the work."""

    def __init__(self, chain: FilterChain) -> None:
        self._chain = chain
        self._last: tuple[VideoFrame, VideoFrame] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._chain(frame)
        return self._last[1]


def _frames(media: Media, stream: VideoStream) -> Iterator[tuple[VideoFrame, float, float]]:
    """Frames in order with the times they are shown from and, as far as known, to.

    Some files have frames without a time, or with one that does not advance; those follow the frame
    before by one frame's length at the stream's rate. Raises ItemError (corrupt) where the clock
    jumps so far that the still picture in between could only be damage.
    """
    assert media.probe.video is not None
    assert stream.time_base is not None
    usual = float(1 / media.probe.video.rate)
    time = -usual
    for frame in _decoded(media, stream):
        following = time + usual
        if frame.pts is None:
            time = following
        else:
            stamped = float(frame.pts * stream.time_base - media.origin)
            if stamped > time + _LONGEST_STILL:
                raise ItemError(
                    Cause.CORRUPT, f"the clock jumps from {time:.2f} to {stamped:.2f} s"
                )
            time = stamped if stamped > time else following
        length = float(frame.duration * stream.time_base) if frame.duration else usual
        yield frame, time, time + (length if length < _LONGEST_STILL else usual)


def _decoded(media: Media, stream: VideoStream) -> Iterator[VideoFrame]:
    context = stream.codec_context
    context.thread_type, context.thread_count = "NONE", 1  # parallelism is across videos
    read = 0
    try:
        for packet in packets(media, media.container, stream):
            read += bool(packet.size)
            for frame in _of(packet):
                media.counter.frames += 1
                yield frame
    except av.FFmpegError as error:
        raise ItemError(
            media.damage, f"decoding stopped after {media.counter.frames} frames: {error.strerror}"
        ) from error
    # Only MP4's index is exact; AVI's also lists the places where a frame repeats.
    promised = len(stream.index_entries) if "mp4" in media.container.format.name else 0
    if media.truncated or read < promised:
        raise ItemError(
            Cause.TRUNCATED, f"the file ends after {read} of {promised or 'more'} frames"
        )


def _of(packet: Packet[Any]) -> Iterator[VideoFrame]:
    for frame in packet.decode():
        assert isinstance(frame, VideoFrame)
        yield frame


def keyframe_times(media: Media) -> list[float]:
    """Presentation times of all keyframes, without decoding."""
    if media.video is None or media.video.time_base is None:
        return []
    base = media.video.time_base
    with reopen(media) as container:
        return sorted(
            float(packet.pts * base - media.origin)
            for packet in packets(media, container, container.streams[media.video.index])
            if packet.is_keyframe and packet.pts is not None
        )
