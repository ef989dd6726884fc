"""Gives clips their sound, in one pass over the audio stream once all spans are known.

Packets are copied where their codec fits the file and can be joined at any packet; else the sound
is decoded, cut at the exact sample and encoded. Either way its times are those of the picture, so
they stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from msgspec import Struct, field
from numpy.typing import NDArray

from asyncv2d.audio_packets import close_up, copy_base, in_order, moved
from asyncv2d.codecs import MP3_RATES_IN_MP4
from asyncv2d.media import AudioInfo, Span
from asyncv2d.mux import ClipFile
from asyncv2d.probe import Media, from_start, packets
from asyncv2d.sound import CHANNEL_LAYOUTS, SoundShape

# Seconds of sound before the clip that a decoder needs to start cleanly; the MP4 file's edit list
# hides them.
_PREROLL = {"aac": 0.05, "ac3": 0.035, "eac3": 0.035, "opus": 0.08, "mp3": 0.25}
_NEEDS_EXTRADATA = {"aac", "flac", "alac", "opus"}
_ROUNDING = 1e-4
_GAP = 0.02
# Channels beside each other: PyAV reads past the end of the list of eight that lie apart.
_FORMAT = "flt"
# What FFmpeg takes so many channels for where a file does not say what they are.
_GUESSED = {**CHANNEL_LAYOUTS, 3: "2.1", 7: "6.1"}
_FRAME_SIZE = 4096  # samples at a time, for encoders that take any number

AudioMethod = Literal["copied", "encoded"]


class Track(Struct, frozen=True):
    """A file that wants the sound of a span. ``whole``: the span is all there is."""

    span: Span
    shape: SoundShape
    file: ClipFile
    whole: bool = False


def add_sound(media: Media, tracks: Sequence[Track]) -> list[AudioMethod | None]:
    """Give every track its sound; says how, or None where the source is silent there."""
    methods: list[AudioMethod | None] = [None] * len(tracks)
    if media.audio is None or media.probe.audio is None or not tracks:
        return methods
    order = sorted(range(len(tracks)), key=lambda number: tracks[number].span)
    copied = [number for number in order if can_copy(media.probe.audio, tracks[number])]
    encoded = [number for number in order if number not in set(copied)]
    with from_start(media, media.audio) as container:
        stream = container.streams[media.audio.index]
        assert isinstance(stream, AudioStream)
        copies = _Copies(media, stream, [tracks[number] for number in copied])
        codings = _Codings(media, stream, [tracks[number] for number in encoded])
        for packet in packets(media, container, stream):
            copies.take(packet)
            codings.take(packet)
        for number, heard in zip(copied, copies.finish(), strict=True):
            methods[number] = "copied" if heard else None
        for number, heard in zip(encoded, codings.finish(), strict=True):
            methods[number] = "encoded" if heard else None
    return methods


def can_copy(audio: AudioInfo, track: Track) -> bool:
    """Whether packets of this stream can be put into the track's file as they are."""
    shape = track.shape
    if audio.sample_rate <= 0 or audio.channels <= 0 or shape.bit_rate is not None:
        return False
    asked = (
        shape.sample_rate or audio.sample_rate,
        shape.channels or audio.channels,
        shape.codec or audio.codec,
    )
    if asked != (audio.sample_rate, audio.channels, audio.codec):
        return False
    if audio.codec in _NEEDS_EXTRADATA and not audio.has_extradata:
        return False
    if audio.codec == "mp3" and shape.format.container == "mp4":
        return audio.sample_rate in MP3_RATES_IN_MP4
    return audio.codec in shape.format.copied or (
        track.whole and audio.codec in shape.format.copied_whole
    )


class _Copies:
    """The tracks whose packets are copied."""

    def __init__(self, media: Media, stream: AudioStream, tracks: Sequence[Track]) -> None:
        assert media.probe.audio is not None
        assert stream.time_base is not None
        self._stream = stream
        self._times = media.clock(stream)
        self._base = copy_base(stream.time_base)
        self._tracks = tracks
        self._preroll = _PREROLL.get(media.probe.audio.codec, 0.0)
        self._chosen: list[list[Packet[Any]]] = [[] for _ in tracks]
        self._heard = [False] * len(tracks)
        self._window = _Window([track.span for track in tracks])
        self._clock = 0.0

    def take(self, packet: Packet[Any]) -> None:
        """Hand a packet to the tracks that it belongs to; one may belong to several."""
        if packet.size == 0 or not self._tracks:
            return
        if packet.pts is not None:
            self._clock = self._times.time(packet.pts)
        start, end = self._clock, self._clock + self._times.length(packet.duration)
        self._clock = end
        for number in self._window.touching(start, end + self._preroll):
            span = self._tracks[number].span
            if start < span.end - _ROUNDING:
                length = min(end, span.end) - start
                self._chosen[number].append(moved(packet, self._base, start - span.start, length))
                self._heard[number] |= end > span.start

    def finish(self) -> list[bool]:
        """Put the packets into the files; for each track, whether it has sound."""
        for track, chosen, heard in zip(self._tracks, self._chosen, self._heard, strict=True):
            if heard:
                if self._preroll:
                    close_up(chosen)
                track.file.copy_audio(self._stream, in_order(chosen))
        return self._heard


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


class _Codings:
    """The tracks whose sound is decoded and encoded: each resampling is done once for all."""

    def __init__(self, media: Media, stream: AudioStream, tracks: Sequence[Track]) -> None:
        self._stream = stream
        self._codings = [
            _Coding(track, _rate(track.shape, stream), _layout(track.shape, stream))
            for track in tracks
        ]
        groups: dict[tuple[int, str], list[_Coding]] = {}
        for coding in self._codings:
            groups.setdefault((coding.rate, coding.layout), []).append(coding)
        self._resamplers = [
            _Resampling(media.origin, rate, layout, codings)
            for (rate, layout), codings in groups.items()
        ]

    def take(self, packet: Packet[Any]) -> None:
        """Decode a packet; one that cannot be is a gap in the sound, not the end of it."""
        if not self._codings:
            return
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            return
        for frame in frames:
            for resampling in self._resamplers:
                resampling.take(frame)

    def finish(self) -> list[bool]:
        """Encode what is left; for each track, whether it has sound."""
        return [coding.finish() for coding in self._codings]


def _rate(shape: SoundShape, stream: AudioStream) -> int:
    """The sample rate to encode: as asked, else the source's if the encoder takes it."""
    source = shape.sample_rate or stream.codec_context.sample_rate
    known = shape.format.rates
    return source if source > 0 and (known is None or source in known) else shape.format.other_rate


def _layout(shape: SoundShape, stream: AudioStream) -> str:
    """The channel layout to encode: as asked, else the source's if the encoder takes it."""
    if shape.layout is not None:
        return shape.layout
    layout, known = stream.codec_context.layout, shape.format.layouts
    is_unknown = layout.name.endswith("channels")
    usual = _GUESSED.get(layout.nb_channels, "stereo") if is_unknown else layout.name
    if known is None or usual in known:
        return usual
    return "mono" if layout.nb_channels == 1 else "stereo"


class _Resampling:
    """Brings decoded sound to one rate and layout, for all the tracks that want it so."""

    def __init__(
        self, origin: Fraction, rate: int, layout: str, codings: Sequence[_Coding]
    ) -> None:
        self._origin, self._rate, self._layout = origin, rate, layout
        self._codings = codings
        self._window = _Window([coding.track.span for coding in codings])
        self._shape = ""
        self._clock = 0.0
        self._resampler: AudioResampler | None = None

    def take(self, frame: AudioFrame) -> None:
        """Hand the frame's samples, as an array (channels, n), to the tracks they belong to."""
        shape = f"{frame.format.name} {frame.layout.name} {frame.sample_rate}"
        if self._resampler is None or shape != self._shape:  # broadcasts change it in the middle
            self._shape = shape
            self._resampler = AudioResampler(format=_FORMAT, layout=self._layout, rate=self._rate)
        for part in self._resampler.resample(frame):
            if part.pts is not None and part.time_base is not None:
                self._clock = float(part.pts * part.time_base - self._origin)
            together: NDArray[Any] = part.to_ndarray()
            samples = together.reshape(-1, part.layout.nb_channels).T
            end = self._clock + samples.shape[1] / self._rate
            for number in self._window.touching(self._clock, end):
                self._codings[number].add(samples, self._clock)
            self._clock = end


class _Coding(Struct):
    """The sound of one track on its way through the encoder."""

    track: Track
    rate: int
    layout: str
    written: int = 0
    fifo: AudioFifo = field(default_factory=AudioFifo)
    stream: AudioStream | None = None

    def add(self, samples: NDArray[np.float32], start: float) -> None:
        """Take what belongs to the track, with silence where sound is missing before it."""
        span = self.track.span
        position = round((start - span.start) * self.rate)
        gap = position - self.written
        if gap > _GAP * self.rate:
            self._push(np.zeros((samples.shape[0], gap), np.float32))
        begin = max(0, -position, -gap if gap < -_GAP * self.rate else 0)
        if span.end == float("inf"):
            taken = samples[:, begin:]
        else:
            wanted = round(span.length * self.rate) - self.written
            taken = samples[:, begin : begin + max(0, wanted)]
        if taken.size:
            self._push(taken)

    def finish(self) -> bool:
        """Encode what is left; False if there was no sound."""
        if self.stream is None:
            return False
        rest = self.fifo.read(partial=True)
        if rest is not None:
            self._encode(rest)
        self.track.file.add_packets(self.stream.encode(None))
        return True

    def _push(self, samples: NDArray[np.float32]) -> None:
        if self.stream is None:
            self.stream = self._open()
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = AudioFrame.from_ndarray(packed, _FORMAT, self.layout)
        frame.sample_rate, frame.pts = self.rate, self.written
        frame.time_base = Fraction(1, self.rate)
        self.written += samples.shape[1]
        self.fifo.write(frame)
        for full in self.fifo.read_many(self.stream.codec_context.frame_size or _FRAME_SIZE):
            self._encode(full)

    def _open(self) -> AudioStream:
        shape = self.track.shape
        stream = self.track.file.audio_encoder(shape.format.encoder, self.rate, self.layout)
        if shape.bit_rate is not None and not shape.format.lossless:
            stream.codec_context.bit_rate = shape.bit_rate
        stream.codec_context.open()
        return stream

    def _encode(self, frame: AudioFrame) -> None:
        assert self.stream is not None
        self.track.file.add_packets(self.stream.encode(frame))
