"""Cuts clips by copying packets: no decoding, no loss, and only at keyframes."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import av
from av.container import InputContainer, OutputContainer

from asyncv2d.encode import Receipt
from asyncv2d.index import PacketIndex
from asyncv2d.media import Clipper, Span
from asyncv2d.probe import Media, from_start, packets
from asyncv2d.types import Blob, Body, Cause, ItemError

_ROUNDING = 1e-4


def can_copy(media: Media) -> bool:
    """Whether MP4 takes the picture as it is; else a clip has to be encoded anew."""
    if media.video is None or media.probe.video is None:
        return False
    if media.video.codec_context.has_b_frames and media.stamps_decoding:
        return False  # it has no presentation times, which B-frames need
    return media.probe.video.codec in _mp4_codecs()


@cache
def _mp4_codecs() -> set[str]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return set(container.supported_codecs)


def copy_clips(
    media: Media, index: PacketIndex, pieces: Sequence[Span], clipper: Clipper
) -> Iterator[tuple[bytes, Receipt]]:
    """The pictures of ``pieces`` (by their start) as silent MP4 files, with their receipts.

    With precision ``keyframe_adjusted`` a clip begins and ends at keyframes inside its span; with
    ``low`` it begins at the keyframe before. Raises ItemError (corrupt) where the file cannot be
    read to the end, or holds a codec that MP4 does not allow.
    """
    assert media.probe.video is not None
    keyframes, end = index.keyframe_times, index.end
    frame = float(1 / media.probe.video.rate)
    for piece in pieces:
        wanted = Span(piece.start, end) if end - piece.end < frame else piece
        real = _at_keyframes(wanted, keyframes, end, clipper)
        if real is not None:
            yield _copy(media, piece, real, clipper)


def _at_keyframes(
    piece: Span, keyframes: Sequence[float], end: float, clipper: Clipper
) -> Span | None:
    """Where a copied clip for ``piece`` begins and ends; None if it would not be worth keeping."""
    if clipper.precision == "low":
        before = bisect_right(keyframes, piece.start + _ROUNDING)
        start = keyframes[max(0, before - 1)] if keyframes else piece.start
        return Span(start, piece.end) if start < piece.end else None
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
    if copy.stop <= copy.start or not plays(Blob.of(data)):
        raise ItemError(Cause.CORRUPT, f"what is copied from {span} cannot be played")
    real = Span(copy.start, copy.stop)
    return data, Receipt(asked, real, copy.frames, real.length, clipper.precision)


def plays(body: Body) -> bool:
    """Whether a file can be opened and its first frame decoded: copying alone checks nothing."""
    try:
        with body.open() as file, av.open(file, "r") as clip:
            return next(clip.decode(clip.streams.video[0]), None) is not None
    except av.FFmpegError:
        return False


def _attempt(media: Media, span: Span, *, seek: bool) -> tuple[bytes, _Copy]:
    buffer = io.BytesIO()
    with from_start(media, media.video) as source, av.open(buffer, "w", format="mp4") as target:
        copy = _Copy(media, source, target, span)
        copy.run(seek=seek)
    return buffer.getvalue(), copy


@dataclass(slots=True)
class _Copy:
    """The packets of one clip's picture on their way into a file."""

    media: Media
    source: InputContainer
    target: OutputContainer
    span: Span
    start: float = float("inf")
    stop: float = 0.0
    frames: int = 0

    def run(self, *, seek: bool) -> None:
        assert self.media.video is not None
        stream = self.source.streams[self.media.video.index]
        # Opaque: nothing is encoded, so no encoder for its codec is needed.
        output = self.target.add_stream_from_template(stream, opaque=True)
        base = stream.time_base
        assert base is not None
        clock = self.media.clock(stream)
        shift = round((self.span.start + float(self.media.origin)) / base)
        if seek:
            self.source.seek(shift, stream=stream)
        for packet in packets(self.media, self.source, stream):
            if packet.size == 0 or packet.pts is None:
                continue
            start = clock.time(packet.pts)
            if start >= self.span.end - _ROUNDING:
                return  # what is decoded after it but shown before it needs it
            if start >= self.span.start - _ROUNDING and (self.frames or packet.is_keyframe):
                self.frames += 1
                stop = start + clock.length(packet.duration)
                self.start, self.stop = min(self.start, start), max(self.stop, stop)
                packet.pts -= shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                packet.stream = output
                self.target.mux(packet)
