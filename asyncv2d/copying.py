"""Cuts clips by copying packets: no decoding, no loss, and only at keyframes."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from asyncv2d.decode import keyframe_times
from asyncv2d.encode import Receipt
from asyncv2d.media import Clipper, Span, split
from asyncv2d.probe import Media, packets, reopen
from asyncv2d.types import Cause, ItemError

_ROUNDING = 1e-4


def can_copy(media: Media) -> bool:
    """Whether MP4 takes the streams as they are; else a clip has to be encoded anew."""
    streams = [stream for stream in (media.probe.video, media.probe.audio) if stream is not None]
    if media.video is not None and media.video.has_b_frames and _is_avi(media):
        return False  # AVI has no presentation times, which B-frames need
    return all(stream.codec in _mp4_codecs() for stream in streams)


def _is_avi(media: Media) -> bool:
    return media.container.format.name == "avi"


@cache
def _mp4_codecs() -> set[str]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return set(container.supported_codecs)


def copy_clips(
    media: Media, spans: Sequence[Span], clipper: Clipper
) -> Iterator[tuple[bytes, Receipt]]:
    """The clips of ``spans`` as MP4 files, by their start, with their receipts.

    With precision ``keyframe_adjusted`` a clip begins and ends at keyframes inside its span; with
    ``low`` it begins at the keyframe before. Raises ItemError (corrupt) where the file cannot be
    read to the end, or holds a codec that MP4 does not allow.
    """
    keyframes = keyframe_times(media) if media.video else []
    end = _end(media)
    frame = float(1 / media.probe.video.rate) if media.probe.video else 0.0
    pieces = (split(clipper, Span(span.start, min(span.end, end))) for span in spans)
    for piece in sorted(chain.from_iterable(pieces)):
        wanted = Span(piece.start, end) if end - piece.end < frame else piece
        real = _at_keyframes(wanted, keyframes, end, clipper) if media.video else wanted
        if real is not None:
            yield _copy(media, piece, real, clipper)


def _end(media: Media) -> float:
    """When the last packet of the picture ends; of the sound, where there is no picture."""
    with reopen(media) as container:
        timed = _timed(container, _streams(media, container)[:1], media)
        return max((stop for _, _, stop in timed), default=0.0)


def _at_keyframes(
    piece: Span, keyframes: Sequence[float], end: float, clipper: Clipper
) -> Span | None:
    """Where a copied clip for ``piece`` begins and ends; None if it would not be worth keeping."""
    if clipper.precision == "low":
        before = bisect_right(keyframes, piece.start + _ROUNDING)
        return Span(keyframes[max(0, before - 1)] if keyframes else piece.start, piece.end)
    borders = [*keyframes, end]
    first = bisect_left(borders, piece.start - _ROUNDING)
    last = bisect_right(borders, piece.end + _ROUNDING) - 1
    if first >= last:
        return None
    real = Span(borders[first], borders[last])
    return real if clipper.keeps(real) else None


def _copy(media: Media, asked: Span, span: Span, clipper: Clipper) -> tuple[bytes, Receipt]:
    try:
        data, copy = _attempt(media, span, seek=True)
        if copy.start > span.start + _ROUNDING:  # some formats can only be read from the beginning
            data, copy = _attempt(media, span, seek=False)
    except (av.FFmpegError, ValueError) as error:
        raise ItemError(Cause.CORRUPT, f"a clip cannot be copied into MP4: {error}") from error
    if copy.stop <= copy.start or not _plays(data):
        raise ItemError(Cause.CORRUPT, f"what is copied from {span} cannot be played")
    real = Span(copy.start, copy.stop)
    receipt = Receipt(
        asked=asked,
        real=real,
        frames=copy.frames,
        duration=real.length,
        precision=clipper.precision,
        audio="copied" if copy.has_audio else None,
    )
    return data, receipt


def _plays(data: bytes) -> bool:
    """Whether the clip can be opened and its first frame decoded: copying alone checks nothing."""
    try:
        with av.open(io.BytesIO(data), "r") as clip:
            return next(clip.decode(clip.streams[0]), None) is not None
    except av.FFmpegError:
        return False


def _attempt(media: Media, span: Span, *, seek: bool) -> tuple[bytes, _Copy]:
    buffer = io.BytesIO()
    with reopen(media) as source, av.open(buffer, "w", format="mp4") as target:
        copy = _Copy(media, source, target, span)
        copy.run(seek=seek)
    return buffer.getvalue(), copy


@dataclass(slots=True)
class _Copy:
    """The packets of one clip on their way into a file."""

    media: Media
    source: InputContainer
    target: av.container.OutputContainer
    span: Span
    start: float = float("inf")
    stop: float = 0.0
    frames: int = 0
    has_audio: bool = False
    outputs: dict[int, Stream] = field(default_factory=dict)

    def run(self, *, seek: bool) -> None:
        streams = _streams(self.media, self.source)
        for stream in streams:
            self.outputs[stream.index] = self.target.add_stream_from_template(stream)
        if seek:
            base = streams[0].time_base
            assert base is not None
            self.source.seek(
                round((self.span.start + float(self.media.origin)) / base), stream=streams[0]
            )
        done: set[int] = set()
        for packet, start, stop in _timed(self.source, streams, self.media):
            if self._is_past(packet, start):
                done.add(packet.stream.index)
                if len(done) == len(streams):
                    break
            elif packet.stream.index not in done and start >= self.span.start - _ROUNDING:
                self._take(packet, start, stop)

    def _is_past(self, packet: Packet[Any], start: float) -> bool:
        """Whether this packet and all after it in its stream lie behind the clip.

        At a keyframe border the next group of pictures begins with its keyframe, though frames of
        that group may be shown before it; in the middle of a group, decoding order decides.
        """
        if start < self.span.end - _ROUNDING:
            return False
        if packet.stream.type != "video" or packet.is_keyframe:
            return True
        base = packet.stream.time_base
        if packet.dts is None or base is None:
            return False
        return float(packet.dts * base - self.media.origin) >= self.span.end

    def _take(self, packet: Packet[Any], start: float, stop: float) -> None:
        base = packet.stream.time_base
        assert base is not None
        shift = round((self.span.start + float(self.media.origin)) / base)
        if packet.stream.type == "video":
            if not (self.frames or packet.is_keyframe):
                return
            self.frames += 1
            self.start, self.stop = min(self.start, start), max(self.stop, stop)
        else:
            self.has_audio = True
            if self.media.video is None:
                self.start, self.stop = min(self.start, start), max(self.stop, stop)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self.outputs[packet.stream.index]
        self.target.mux(packet)


def _streams(media: Media, container: InputContainer) -> list[Stream]:
    chosen = [stream for stream in (media.video, media.audio) if stream is not None]
    return [container.streams[stream.index] for stream in chosen]


def _timed(
    container: InputContainer, streams: Sequence[Stream], media: Media
) -> Iterator[tuple[Packet[Any], float, float]]:
    """Packets with the times they are shown from and to."""
    for packet in packets(media, container, *streams):
        base = packet.stream.time_base
        if packet.size == 0 or packet.pts is None or base is None:
            continue
        start = float(packet.pts * base - media.origin)
        yield packet, start, start + float((packet.duration or 0) * base)
