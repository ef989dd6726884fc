"""Decodes one video stream: its frames in order, with the times at which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from asyncv2d.build_note import may_need_note
from asyncv2d.clock import LONGEST_STILL
from asyncv2d.index import Effort, GapError, PacketIndex
from asyncv2d.probe import Media, from_start, packets
from asyncv2d.types import Cause, ItemError


class Shown(NamedTuple):
    """A frame with the times (seconds) it is shown from and, as far as known, to."""

    frame: VideoFrame
    time: float
    end: float


def shown_frames(
    media: Media, container: InputContainer, efforts: Iterable[int] | None = None
) -> Iterator[Shown]:
    """The video's frames in order; ``efforts`` says for each of its packets what to do with it.

    Some files have frames without a time, or with one that does not advance; those follow the frame
    before by one frame's length at the stream's rate. Raises ItemError (truncated or corrupt) where
    the video cannot be decoded to its end, or where the clock jumps so far that the still picture
    in between could only be damage; a job that keeps damaged files gets the frames before. Raises
    GapError where ``efforts`` begins in the middle of frames that refer to each other.
    """
    assert media.video is not None
    stream = container.streams[media.video.index]
    assert isinstance(stream, VideoStream)
    coded = packets(media, container, stream)
    try:
        if media.stamps_decoding:
            in_turn = _all_frames(media, stream, coded, _Turns(stream).frames_of)
            yield from _timed(media, stream, in_turn, jumps=False)
        elif efforts is None:
            every = _all_frames(media, stream, coded, _frames_of)
            yield from _timed(media, stream, every, jumps=False)
        else:
            some = _some_frames(media, stream, coded, efforts)
            yield from _timed(media, stream, some, jumps=True)
    except ItemError as error:
        media.damaged(error)


def index_by_decoding(media: Media) -> PacketIndex:
    """The frames of a video whose packets do not say when they are shown, in their order.

    Raises ItemError (truncated or corrupt) where the video cannot be decoded to its end.
    """
    with from_start(media, media.video) as container:
        found = [
            (time, frame.key_frame, end) for frame, time, end in shown_frames(media, container)
        ]
    times, keyframes, ends = zip(*found, strict=True) if found else ((), (), (0.0,))
    return PacketIndex(
        times=np.array(times, np.float64),
        keyframes=np.array(keyframes, np.bool_),
        sizes=np.zeros(len(times), np.int64),
        end=ends[-1],
        is_timed=False,
    )


def _timed(
    media: Media, stream: VideoStream, frames: Iterator[VideoFrame], *, jumps: bool
) -> Iterator[Shown]:
    assert media.probe.video is not None
    clock = media.clock(stream)
    usual = float(1 / media.probe.video.rate)
    first = 0.0 if media.first_picture is None else float(media.first_picture - media.origin)
    time = first - usual
    for frame in frames:
        following = time + usual
        if frame.pts is None:
            time = following
        else:
            stamped = clock.time(frame.pts)
            if stamped > time + LONGEST_STILL and not jumps:
                raise ItemError(
                    Cause.CORRUPT, f"the clock jumps from {time:.2f} to {stamped:.2f} s"
                )
            time = stamped if stamped > time else following
        length = clock.length(frame.duration) or usual
        yield Shown(frame, time, time + (length if length < LONGEST_STILL else usual))


def _all_frames(
    media: Media,
    stream: VideoStream,
    coded: Iterator[Packet[Any]],
    frames_of: Callable[[Media, Packet[Any]], Iterator[VideoFrame]],
) -> Iterator[VideoFrame]:
    _one_thread(stream)
    read = 0
    try:
        for packet in coded:
            read += bool(packet.size)
            yield from frames_of(media, packet)
    except av.FFmpegError as error:
        raise _undecodable(media, error) from error
    # Only MP4's index is exact; AVI's also lists the places where a frame repeats.
    promised = len(stream.index_entries) if "mp4" in media.container.format.name else 0
    if read < promised:
        raise ItemError(Cause.TRUNCATED, f"the file ends after {read} of {promised} frames")


class _Turns:
    """Says of a stream whose packets have no time but their turn when its frames are shown.

    A frame leaves the decoder with a later packet, as many later as frames may have to wait for
    others, and then come in order; what FFmpeg says of showing is late by as much. A packet that
    gives no picture keeps those that wait back by one more, and not those that follow.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        self._waiting: list[int] = []  # by how many packets each frame in the decoder is kept back
        self._turn = -1
        self._has_begun = False

    def frames_of(self, media: Media, packet: Packet[Any]) -> Iterator[VideoFrame]:
        """The frames that come out with ``packet``, stamped with their turns."""
        if packet.size:
            self._waiting.append(0)
            self._turn = self._turn + 1 if packet.dts is None else packet.dts
        for frame in _frames_of(media, packet):
            self._turn += not packet.size  # the end, where nothing drives them out
            kept_back = self._waiting.pop(0) if self._waiting else 0
            frame.pts = self._turn - self._context.reorder_depth - kept_back
            self._has_begun = True
            yield frame
        most = self._context.reorder_depth
        if len(self._waiting) > most:
            self._waiting = [kept_back + self._has_begun for kept_back in self._waiting[:most]]


def _some_frames(
    media: Media, stream: VideoStream, coded: Iterator[Packet[Any]], efforts: Iterable[int]
) -> Iterator[VideoFrame]:
    _one_thread(stream)
    context, coming = stream.codec_context, _with_note(stream, iter(efforts))
    beginning: int | None = None
    try:
        for packet in coded:
            effort = next(coming, Effort.DECODE) if packet.size else Effort.DECODE
            if effort == Effort.SKIP:
                continue
            if effort == Effort.RESTART:
                for frame in context.decode(None):
                    media.counter.frames += 1
                    frame.time_base = stream.time_base
                    yield frame
                context.flush_buffers()
                beginning = packet.pts
            context.skip_frame = "NONREF" if effort == Effort.IF_REFERRED_TO else "DEFAULT"
            for frame in _frames_of(media, packet):
                if beginning is not None and (frame.pts or 0) >= beginning:
                    _check_beginning(frame, beginning)
                    beginning = None
                yield frame
    except av.FFmpegError as error:
        raise _undecodable(media, error) from error


def _with_note(stream: VideoStream, efforts: Iterator[int]) -> Iterator[int]:
    """The efforts, but that the first packet is decoded where its note may be needed later on."""
    if not may_need_note(stream):
        return efforts
    next(efforts, None)
    return chain([Effort.DECODE], efforts)


def _check_beginning(frame: VideoFrame, beginning: int) -> None:
    """Whether ``frame`` is the keyframe at which decoding began, and one that can be decoded alone.

    With intra refresh the places to begin at need the frames before them for a while.
    """
    if frame.pts != beginning or frame.pict_type != PictureType.I:
        raise GapError("a keyframe refers to frames before it")


def _one_thread(stream: VideoStream) -> None:
    """Parallelism is across videos."""
    if not stream.codec_context.is_open:
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    stream.codec_context.skip_frame = "DEFAULT"


def _undecodable(media: Media, error: av.FFmpegError) -> ItemError:
    return ItemError(
        media.harm, f"decoding stopped after {media.counter.frames} frames: {error.strerror}"
    )


def _frames_of(media: Media, packet: Packet[Any]) -> Iterator[VideoFrame]:
    for frame in packet.decode():
        assert isinstance(frame, VideoFrame)
        media.counter.frames += 1
        yield frame
