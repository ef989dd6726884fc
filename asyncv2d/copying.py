"""Cuts clips by copying packets: no decoding, no loss, and only at keyframes."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from asyncv2d.build_note import build_note, with_note
from asyncv2d.clips import SOON
from asyncv2d.encode import Receipt
from asyncv2d.index import PacketIndex
from asyncv2d.media import SAME_MOMENT, Clipper, Span
from asyncv2d.picture import Picture, PictureFile, add_copied, restamp
from asyncv2d.picture_types import keyframe_test, padding_test, trusts_marks
from asyncv2d.probe import Media, from_start, packets
from asyncv2d.types import Cause, ItemError

_MOST_BEYOND = 0.05  # seconds that the end of a span may lack to that of the video, and mean it
Copied = tuple[Picture, Receipt]


def can_copy(media: Media, index: PacketIndex) -> bool:
    """Whether MP4 takes the picture as it is; else a clip has to be encoded anew."""
    if media.video is None or media.probe.video is None:
        return False
    if media.video.codec_context.has_b_frames and media.stamps_decoding:
        return False  # it has no presentation times, which B-frames need
    if index.keyframes.all() and not trusts_marks(media.video):
        return False  # files mark all packets where they know no better
    return index.can_be_copied and media.probe.video.codec in _mp4_codecs()


@cache
def _mp4_codecs() -> set[str]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return set(container.supported_codecs)


class Copies(NamedTuple):
    """The clips that were copied, and the spans of which copying would leave most out."""

    made: Sequence[Copied]
    missed: Sequence[Span]


def copy_clips(
    media: Media, index: PacketIndex, pieces: Sequence[Span], clipper: Clipper
) -> Copies:
    """The pictures of ``pieces``, by their start, with their receipts.

    With precision ``keyframe_adjusted`` a clip begins and ends at keyframes inside its span; with
    ``low`` it begins at the keyframe before. One that an edit list hides is hidden in the clip too.
    What needs a frame from after the span cannot be copied; before a still that is most of it.
    Raises ItemError (corrupt) where the file cannot be read to the end, or holds a codec that MP4
    does not allow.
    """
    assert media.probe.video is not None
    keyframes, end = index.keyframe_times, index.end
    if index.lead_in is not None:
        keyframes = [float(index.shown[0]), *keyframes]
    frame = min(_MOST_BEYOND, float(1 / media.probe.video.rate))
    note = build_note(media)
    made: list[Copied] = []
    missed: list[Span] = []
    for piece in pieces:
        wanted = Span(piece.start, end) if end - piece.end < frame else piece
        real = _at_keyframes(wanted, keyframes, end, clipper)
        copied = None if real is None else _copy(media, index, piece, real, clipper, note)
        if clipper.precision == "low" and _misses_most(index, piece, copied):
            missed.append(piece)
        elif copied is not None:
            made.append(copied)
    return Copies(made, missed)


def _misses_most(index: PacketIndex, piece: Span, copied: Copied | None) -> bool:
    """Whether a copy shows less than half of what the video shows in ``piece``."""
    start = max(piece.start, float(index.shown[0]))
    kept = 0.0
    if copied is not None:
        real = copied[1].real
        kept = max(0.0, min(real.end, piece.end) - max(real.start, start))
    # A span may be too short for a frame to come in it.
    return piece.end - start - kept > max(SOON, (piece.end - start) / 2)


def _at_keyframes(
    piece: Span, keyframes: Sequence[float], end: float, clipper: Clipper
) -> Span | None:
    """Where a copied clip for ``piece`` begins and ends; None if it would not be worth keeping."""
    if clipper.precision == "low":
        before = bisect_right(keyframes, piece.start + SAME_MOMENT)
        start = keyframes[max(0, before - 1)] if keyframes else piece.start
        return Span(start, piece.end) if start < piece.end else None
    borders = [*keyframes, end]
    first = bisect_left(borders, piece.start - SAME_MOMENT)
    last = bisect_right(borders, piece.end + SAME_MOMENT) - 1
    if first >= last:
        return None
    real = Span(borders[first], borders[last])
    return real if clipper.keeps(real) else None


def _copy(
    media: Media, index: PacketIndex, asked: Span, span: Span, clipper: Clipper, note: bytes
) -> Copied:
    try:
        copied = None if media.restarts else _attempt(media, index, span, note, seek=True)
        if copied is None or copied[1].start > span.start + SAME_MOMENT:
            # Some formats can only be read from the beginning.
            copied = _attempt(media, index, span, note, seek=False)
    except (av.FFmpegError, ValueError) as error:
        raise ItemError(Cause.CORRUPT, f"a clip cannot be copied into MP4: {error}") from error
    # Copying alone checks nothing.
    if copied is None or not copied[0].plays():
        raise ItemError(Cause.CORRUPT, f"what is copied from {span} cannot be played")
    picture, real = copied
    frames = sum((stamp.pts or 0) >= 0 for stamp in picture.stamps)  # others are hidden
    return picture, Receipt(asked, real, frames, real.length, clipper.precision)


def _attempt(
    media: Media, index: PacketIndex, span: Span, note: bytes, *, seek: bool
) -> tuple[Picture, Span] | None:
    """The picture of ``span``, and where in the source it really begins and ends; None if nowhere.

    The decoding times of the source are not kept: they count frames that are not copied.
    """
    assert media.video is not None
    with from_start(media, media.video) as source:
        stream = source.streams[media.video.index]
        assert isinstance(stream, VideoStream)
        assert stream.time_base is not None
        shift = round((span.start + float(media.origin)) / stream.time_base)
        begin = _first_keyframe(index, span)
        if seek:
            source.seek(round((begin + float(media.origin)) / stream.time_base), stream=stream)
        chosen = list(_packets_of(media, source, stream, Span(begin, span.end)))
        if not chosen:
            return None
        chosen[0] = with_note(chosen[0], note)
        clock = media.clock(stream)
        times = [clock.time(packet.pts or 0) for packet in chosen]
        shown = [time for time in times if time >= span.start - SAME_MOMENT]
        end = _end(media, index, max(shown), span.end)
        end_stamp = round((end + float(media.origin)) / stream.time_base)  # clocks may be coarse
        real = Span(min(shown), clock.time(end_stamp))
        for packet in chosen:
            assert packet.pts is not None
            packet.pts -= shift
        restamp(chosen, end_stamp - shift)
        file = PictureFile()
        output = add_copied(file.container, stream)
        if stream.codec_context.name == "hevc":
            output.codec_tag = "hvc1"  # hev1 is the muxer's choice, and not played everywhere
        return file.finish(output, chosen), real


def _end(media: Media, index: PacketIndex, last: float, wanted: float) -> float:
    """When a copy ends whose last frame comes at ``last``, and may stay on the screen for long."""
    assert media.probe.video is not None
    frame = float(1 / media.probe.video.rate)
    return min(index.end_of(last), max(wanted, last + frame))


def _first_keyframe(index: PacketIndex, span: Span) -> float:
    """Where a copy begins whose first frame to be shown is that at the start of ``span``."""
    is_first = index.lead_in is not None and span.start <= index.shown[0] + SAME_MOMENT
    return index.lead_in if is_first and index.lead_in is not None else span.start


def _packets_of(
    media: Media, source: InputContainer, stream: VideoStream, span: Span
) -> Iterator[Packet[Any]]:
    """What is shown in ``span``, from its first keyframe on.

    A packet that is nothing but padding is a damage, as it is to a decoder; MP4 cannot hold it.
    """
    clock, begun = media.clock(stream), False
    is_keyframe, is_padding = keyframe_test(stream), padding_test(stream)
    stamps_decoding = media.stamps_decoding
    for packet in packets(media, source, stream):
        if stamps_decoding:
            packet.pts = packet.dts  # what has no B-frames is shown at once
        if packet.size == 0 or packet.pts is None:
            continue
        start = clock.time(packet.pts)
        if start >= span.end - SAME_MOMENT:
            return  # what is decoded after it but shown before it needs it
        packet.is_keyframe = is_keyframe(packet)  # the copy is to say it right
        if start >= span.start - SAME_MOMENT and (begun or packet.is_keyframe):
            begun = True
            if is_padding(packet):
                media.damaged(ItemError(media.harm, "a packet of the video holds no picture"))
                return
            yield packet
