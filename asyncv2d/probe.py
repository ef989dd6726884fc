"""Opens media and reads what the headers say; nothing is decoded here."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from msgspec import Struct, field

from asyncv2d import gif
from asyncv2d.clock import Clock
from asyncv2d.continuity import FORMATS, Continuity, unwrapped
from asyncv2d.headers import headers, is_known
from asyncv2d.media import AudioInfo, Probe, Size, VideoInfo
from asyncv2d.origin import first_picture, origin_of
from asyncv2d.truncation import is_truncated, looks_like_media
from asyncv2d.types import Body, Cause, FileSlice, ItemError

WHAT_IS_TRUNCATED = "the file ends before its own headers say it does, or has holes"
# Playlists and other formats that name further files stay shut: URL lists come from strangers.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,mxf,gif,ivf,nut,"
    "rm,dv,h264,hevc,m4v,obu,mp3,wav,w64,aac,flac,ac3,eac3,aiff,amr,caf,au"
)
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1")
_BEFORE_ALL = -(1 << 40)  # in a stream's own units: some streams begin before time 0
_SNIFF_BYTES = 192
_UNKNOWN_RATE = Fraction(25)
_UNKNOWN_TIME_BASE = Fraction(1, av.time_base)


class Counter(Struct):
    """Counts the video frames that came out of a decoder, over all passes."""

    frames: int = 0


class Media(Struct, frozen=True):
    """An open file with its chosen streams. ``origin`` is the time at which its clock starts.

    The origin is taken off all times, so a recording whose first timestamp is far from zero starts
    at 0 here, as in a player. Where the clock starts anew later on, time goes on; ``restarts`` is
    not empty once such a place was read, and then places cannot be found by their time.
    ``first_picture`` is its time by the file's clock where no stamp tells it.
    """

    body: Body
    container: InputContainer
    probe: Probe
    video: VideoStream | None
    audio: AudioStream | None
    origin: Fraction
    truncated: bool
    first_picture: Fraction | None = None
    keeps_damaged: bool = False
    counter: Counter = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    restarts: set[int] = field(default_factory=set)

    @property
    def harm(self) -> Cause:
        """What to call it when this file cannot be read or decoded to its end."""
        return Cause.TRUNCATED if self.truncated else Cause.CORRUPT

    @property
    def stamps_decoding(self) -> bool:
        """Whether timestamps say when to decode a frame, and not when to show it."""
        return self.container.format.name == "avi"

    @property
    def lengths_are_of_decoding(self) -> bool:
        """Whether a packet is as long as the time to the next one to be decoded.

        That need not be the next one to be shown.
        """
        return self.container.format.name.startswith("mov,mp4")

    def clock(self, stream: Stream) -> Clock:
        """What a stream's timestamps mean."""
        return Clock(stream.time_base or _UNKNOWN_TIME_BASE, self.origin)

    def damaged(self, error: ItemError) -> None:
        """What comes after this place cannot be used: note it where the job keeps the rest.

        Raises the error where it does not.
        """
        if not self.keeps_damaged:
            raise error
        self.damage.append(str(error))


@contextmanager
def open_media(body: Body, *, keep_damaged: bool = False) -> Iterator[Media]:
    """Open a body and read its headers; ``keep_damaged``: use what comes before a damage.

    Raises ItemError with cause not_found (a local file that cannot be read), empty, not_media,
    truncated or corrupt where that is impossible.
    """
    try:
        if body.size == 0:
            raise ItemError(Cause.EMPTY, "the file has no bytes")
        with _file(body) as file:
            head = file.read(_SNIFF_BYTES)
            truncated = is_truncated(file)
            _refuse_pictures(file, head)
    except OSError as error:
        raise ItemError(Cause.NOT_FOUND, f"the file cannot be read: {error.strerror}") from error
    with _open(body, head, truncated) as container:
        yield _media(body, container, truncated, keep_damaged)


def _refuse_pictures(file: BinaryIO, head: bytes) -> None:
    """Raise ItemError (not_media) for a single picture that FFmpeg would read as a short video."""
    is_still = head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS
    if head.startswith(gif.MAGIC):
        is_still = gif.read_blocks(file, file.seek(0, io.SEEK_END)).pictures <= 1
    if is_still:
        raise ItemError(Cause.NOT_MEDIA, "the file is a single picture")


@contextmanager
def from_start(media: Media, stream: Stream | None) -> Iterator[InputContainer]:
    """The file's container, at the beginning of ``stream``, for one pass over it.

    Passes must not overlap. Where the format can be rewound exactly the one open container is,
    since opening costs as much as decoding some frames; others are opened again.
    """
    if media.first_picture is None and stream is not None and _rewind(media.container, stream):
        yield media.container
        return
    with _open(media.body, b"", media.truncated) as container:
        yield container


def _rewind(container: InputContainer, stream: Stream) -> bool:
    """Go back to the very first packet of ``stream``; False where that cannot be done."""
    name = container.format.name
    if isinstance(stream, VideoStream) and stream.pix_fmt == "pal8":
        return False  # MOV and Matroska give the palette once, with the first packet they ever read
    # Matroska's index lists the pictures only, and sound may begin before the first of them; nor
    # does it list pictures that come before time 0.
    is_listed = stream.type == "video" and (container.start_time or 0) >= 0
    exact = name.startswith("mov,mp4") or (name.startswith("matroska") and is_listed)
    if not exact:
        return False
    try:
        container.seek(_BEFORE_ALL, stream=stream)
    except av.FFmpegError:
        return False
    return True


def packets(media: Media, container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """The packets of these streams to the end of the file; flushing ones, of size 0, come last.

    Raises ItemError (truncated or corrupt) where the file cannot be read on and the job does not
    keep damaged files.
    """
    partial: Packet[Any] | None = None
    try:
        for packet in _whole_packets(media, _in_time(media, container, streams)):
            if partial is not None and packet.size:
                yield partial  # only in the middle of a file it is the decoder's to judge
                partial = None
            if packet.is_corrupt:
                partial = packet
                continue
            if partial is not None:
                media.damaged(ItemError(Cause.TRUNCATED, "the file ends within a packet"))
                partial = None
            yield packet
    except av.FFmpegError as error:
        media.damaged(ItemError(media.harm, f"reading stopped: {error.strerror}"))


def _in_time(
    media: Media, container: InputContainer, streams: Sequence[Stream]
) -> Iterator[Packet[Any]]:
    """The packets of these streams, in the file's order, with times that go on to its end."""
    if container.format.name == "flv":
        return unwrapped(_demuxed(container, streams), round(media.origin * 1000), media.restarts)
    if container.format.name not in FORMATS:
        return _demuxed(container, streams)
    leading = [stream.index for stream in (media.video, media.audio) if stream is not None]
    wanted = {stream.index for stream in streams}
    every = [container.streams[number] for number in wanted.union(leading)]
    followed = Continuity(leading, media.restarts).follow(_demuxed(container, every))
    return (packet for packet in followed if packet.stream_index in wanted)


def _demuxed(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:  # PyAV, when a new stream begins in the middle; it can simply go on
            continue
        return


def _whole_packets(media: Media, demuxed: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Without the last one of each stream of a program stream that was cut off.

    It may be torn, and its demuxer, unlike others, does not say so.
    """
    if not media.truncated or media.container.format.name != "mpeg":
        yield from demuxed
        return
    last: dict[int, Packet[Any]] = {}
    for packet in demuxed:
        if not packet.size:
            yield packet
            continue
        if packet.stream_index in last:
            yield last[packet.stream_index]
        last[packet.stream_index] = packet


def _file(body: Body) -> BinaryIO:
    path = _path(body)
    return io.BytesIO(body.read()) if path is None else Path(path).open("rb")


def _path(body: Body) -> str | None:
    if isinstance(body, FileSlice):
        return None
    return None if body.path is None else str(body.path)


@contextmanager
def _open(body: Body, head: bytes, truncated: bool) -> Iterator[InputContainer]:
    path = _path(body)
    source = io.BytesIO(body.read()) if path is None else f"file:{path}"
    try:
        container = av.open(
            source,
            mode="r",
            metadata_errors="replace",
            options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        )
    except (FileNotFoundError, PermissionError) as error:  # it went since it was looked at
        raise ItemError(Cause.NOT_FOUND, f"the file cannot be read: {error.strerror}") from error
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(head, truncated, error) from error
    with container:
        yield container


def _unreadable(head: bytes, truncated: bool, error: Exception) -> ItemError:
    if not looks_like_media(head):
        return ItemError(Cause.NOT_MEDIA, "no audio or video container is recognised in the file")
    if truncated:
        return ItemError(Cause.TRUNCATED, WHAT_IS_TRUNCATED)
    return ItemError(
        Cause.CORRUPT, f"the container cannot be read: {getattr(error, 'strerror', error)}"
    )


def _media(body: Body, container: InputContainer, truncated: bool, keep: bool) -> Media:
    video, audio = _main_video(container), _best_audio(container)
    duration = container.duration
    probe = Probe(
        duration=None if duration is None else duration / av.time_base,
        video=None if video is None else _video_info(video),
        audio=None if audio is None else _audio_info(audio),
        document=headers(container, body.size),
    )
    first = _untold_picture(container, video, probe)
    origin = origin_of(container, video, first)
    return Media(body, container, probe, video, audio, origin, truncated, first, keep)


def _untold_picture(
    container: InputContainer, video: VideoStream | None, probe: Probe
) -> Fraction | None:
    if video is None or probe.video is None or not container.format.name.startswith("matroska"):
        return None
    try:
        return first_picture(_demuxed(container, [video]), probe.video.rate)
    except av.FFmpegError:
        return None  # the damage is met again where the packets are read


def _main_video(container: InputContainer) -> VideoStream | None:
    """The first video stream that is a moving picture and no cover art, as PySceneDetect takes."""
    for stream in container.streams.video:
        if is_known(stream) and not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _best_audio(container: InputContainer) -> AudioStream | None:
    best = container.streams.best("audio")
    streams = [*([best] if isinstance(best, AudioStream) else []), *container.streams.audio]
    return next((stream for stream in streams if is_known(stream)), None)


def _video_info(stream: VideoStream) -> VideoInfo:
    return VideoInfo(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name,
        size=Size(stream.width, stream.height),
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        rate=stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE,
    )


def _audio_info(stream: AudioStream) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        sample_rate=context.sample_rate,
        channels=context.layout.nb_channels,
        has_extradata=bool(context.extradata),
    )
