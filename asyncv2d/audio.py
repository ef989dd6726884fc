"""Gives clips their sound, in one pass over the audio stream once all spans are known.

Packets are copied where their codec may live in MP4 and can be joined at any packet; else the sound
is decoded, cut at the exact sample and encoded as AAC. Either way its times are those of the
picture, so they stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, Protocol

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from asyncv2d.encode import ClipEncoder
from asyncv2d.media import AudioInfo, Span
from asyncv2d.probe import Media, packets, reopen

# Seconds of sound before the clip that a decoder needs to start cleanly; the MP4 file's edit list
# hides them. MP3 and Vorbis are not here: their packets lean on earlier ones without limit.
_PREROLL = {"aac": 0.05, "ac3": 0.035, "eac3": 0.035, "opus": 0.08, "flac": 0.0, "alac": 0.0}
_NEEDS_EXTRADATA = {"aac", "flac", "alac", "opus"}
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
_AAC_LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.0(side)", "5.1", "5.1(side)", "7.1"}
_OTHER_RATE = 48000
_ROUNDING = 1e-4
_GAP = 0.02

AudioMethod = Literal["copied", "encoded"]


class HasSound(Protocol):
    """A clip that wants sound."""

    span: Span
    encoder: ClipEncoder | None


def add_sound(media: Media, clips: Sequence[HasSound]) -> list[AudioMethod | None]:
    """Give every clip its sound; says how, or None where the source is silent there.

    ``clips`` are sorted by the start of their spans.
    """
    if media.audio is None or media.probe.audio is None or not clips:
        return [None] * len(clips)
    with reopen(media) as container:
        stream = container.streams[media.audio.index]
        assert isinstance(stream, AudioStream)
        if can_copy(media.probe.audio):
            return _copy(container, stream, media, clips)
        return _encode(container, stream, media, clips)


def can_copy(audio: AudioInfo) -> bool:
    """Whether packets of this stream can be put into MP4 from any packet on."""
    known = audio.codec in _PREROLL and audio.sample_rate > 0 and audio.channels > 0
    return known and (audio.has_extradata or audio.codec not in _NEEDS_EXTRADATA)


def _copy(
    container: InputContainer, stream: AudioStream, media: Media, clips: Sequence[HasSound]
) -> list[AudioMethod | None]:
    assert media.probe.audio is not None
    preroll = _PREROLL[media.probe.audio.codec]
    chosen: list[list[Packet[Any]]] = [[] for _ in clips]
    heard = [False] * len(clips)
    window = _Window([clip.span for clip in clips])
    for packet, start, end in _timed_packets(media, container, stream):
        for number in window.touching(start, end + preroll):
            span = clips[number].span
            if end <= span.end + _ROUNDING:
                chosen[number].append(_moved(packet, start - span.start, stream))
                heard[number] |= end > span.start
    for number, clip in enumerate(clips):
        if heard[number] and clip.encoder is not None:
            clip.encoder.copy_audio(stream, chosen[number])
    return ["copied" if is_heard else None for is_heard in heard]


def _moved(packet: Packet[Any], start: float, stream: AudioStream) -> Packet[Any]:
    """A copy of ``packet`` that begins at ``start``; one packet may belong to several clips."""
    assert stream.time_base is not None
    moved = Packet(bytes(packet))
    moved.time_base = stream.time_base
    moved.pts = moved.dts = round(start / stream.time_base)
    moved.duration = packet.duration
    return moved


def _timed_packets(
    media: Media, container: InputContainer, stream: AudioStream
) -> Iterator[tuple[Packet[Any], float, float]]:
    """The stream's packets with the times they start and end; missing times are filled in."""
    assert stream.time_base is not None
    clock = 0.0
    for packet in packets(media, container, stream):
        if packet.size == 0:
            continue
        if packet.pts is not None:
            clock = float(packet.pts * stream.time_base - media.origin)
        length = float((packet.duration or 0) * stream.time_base)
        yield packet, clock, clock + length
        clock += length


class _Window:
    """Finds the spans (sorted by start) that a moving stretch of time touches."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._first = 0

    def touching(self, start: float, end: float) -> Iterator[int]:
        while self._first < len(self._spans) and self._spans[self._first].end <= start:
            self._first += 1
        for number in range(self._first, len(self._spans)):
            if self._spans[number].start >= end:
                return
            if self._spans[number].end > start:
                yield number


def _encode(
    container: InputContainer, stream: AudioStream, media: Media, clips: Sequence[HasSound]
) -> list[AudioMethod | None]:
    source_rate, layout = stream.codec_context.sample_rate, _aac_layout(stream)
    rate = source_rate if source_rate in _AAC_RATES else _OTHER_RATE
    tracks = [_Track(clip, rate, layout) for clip in clips]
    window = _Window([clip.span for clip in clips])
    for samples, start in _samples(media, container, stream, rate, layout):
        for number in window.touching(start, start + samples.shape[1] / rate):
            tracks[number].add(samples, start)
    return ["encoded" if track.finish() else None for track in tracks]


def _aac_layout(stream: AudioStream) -> str:
    """The channel layout to encode: the stream's if it is a usual one, else mixed to stereo."""
    layout = stream.codec_context.layout
    if layout.name in _AAC_LAYOUTS:
        return layout.name
    return "mono" if layout.nb_channels == 1 else "stereo"


def _samples(
    media: Media, container: InputContainer, stream: AudioStream, rate: int, layout: str
) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Decoded sound as arrays (channels, n) at ``rate``, each with the time it begins."""
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
    shape, clock = "", 0.0
    for frame in _decoded(media, container, stream):
        if shape != (now := f"{frame.format.name} {frame.layout.name} {frame.sample_rate}"):
            shape = now  # broadcasts change it in the middle
            resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
        for part in resampler.resample(frame):
            if part.pts is not None and part.time_base is not None:
                clock = float(part.pts * part.time_base - media.origin)
            samples = part.to_ndarray().astype(np.float32, copy=False)
            yield samples, clock
            clock += samples.shape[1] / rate


def _decoded(media: Media, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded frames; a packet that cannot be decoded is a gap in the sound, not the end of it."""
    for packet in packets(media, container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            continue
        yield from frames


@dataclass(slots=True)
class _Track:
    """The sound of one clip on its way through the encoder."""

    clip: HasSound
    rate: int
    layout: str
    written: int = 0
    fifo: AudioFifo = field(default_factory=AudioFifo)
    stream: AudioStream | None = None

    def add(self, samples: NDArray[np.float32], start: float) -> None:
        """Take what belongs to the clip, with silence where sound is missing before it."""
        span = self.clip.span
        position = round((start - span.start) * self.rate)
        gap = position - self.written
        if gap > _GAP * self.rate:
            self._push(np.zeros((samples.shape[0], gap), np.float32))
        begin = max(0, -position, -gap if gap < -_GAP * self.rate else 0)
        wanted = round(span.length * self.rate) - self.written
        taken = samples[:, begin : begin + max(0, wanted)]
        if taken.size:
            self._push(taken)

    def finish(self) -> bool:
        """Encode what is left; False if the clip has no sound."""
        if self.stream is None or self.clip.encoder is None:
            return False
        rest = self.fifo.read(partial=True)
        if rest is not None:
            self._encode(rest)
        self.clip.encoder.add_packets(self.stream.encode(None))
        return True

    def _push(self, samples: NDArray[np.float32]) -> None:
        assert self.clip.encoder is not None
        if self.stream is None:
            self.stream = self.clip.encoder.audio_encoder(self.rate, self.layout)
            self.stream.codec_context.open()
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self.layout)
        frame.sample_rate, frame.pts = self.rate, self.written
        frame.time_base = Fraction(1, self.rate)
        self.written += samples.shape[1]
        self.fifo.write(frame)
        for full in self.fifo.read_many(self.stream.codec_context.frame_size):
            self._encode(full)

    def _encode(self, frame: AudioFrame) -> None:
        assert self.stream is not None
        assert self.clip.encoder is not None
        self.clip.encoder.add_packets(self.stream.encode(frame))
