"""What a file's headers say, in the words of ffprobe."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

# Of FFmpeg's numbers for colours (those of ITU-T H.273), the ones that are met.
_RANGES = {1: "tv", 2: "pc"}
_MATRICES = {0: "gbr", 1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc"}
_TRANSFERS = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    8: "linear",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    18: "arib-std-b67",
}
_PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    9: "bt2020",
    11: "smpte431",
    12: "smpte432",
}


def headers(container: InputContainer, size: int) -> dict[str, Any]:
    """The headers in the words of ``ffprobe -show_format -show_streams -print_format json``."""
    start, duration = container.start_time, container.duration
    known = {
        "nb_streams": len(container.streams),
        "format_name": container.format.name,
        "format_long_name": container.format.long_name,
        "start_time": None if start is None else _seconds(start / av.time_base),
        "duration": None if duration is None else _seconds(duration / av.time_base),
        "size": str(size),
        "bit_rate": str(container.bit_rate) if container.bit_rate else None,
        "tags": dict(container.metadata) or None,
    }
    streams = [_stream_document(stream) for stream in container.streams]
    return {"streams": streams, "format": _without_none(known)}


def _stream_document(stream: Stream) -> dict[str, Any]:
    known: dict[str, Any] = {"index": stream.index, "codec_type": stream.type}
    if isinstance(stream, VideoStream | AudioStream) and not is_known(stream):
        return known
    if (context := getattr(stream, "codec_context", None)) is not None:  # data has none
        known |= {
            "codec_name": context.codec.canonical_name,
            "codec_long_name": context.codec.long_name,
            "profile": context.profile,
            "codec_tag_string": _codec_tag(stream),
            "bit_rate": str(context.bit_rate) if context.bit_rate else None,
        }
    if isinstance(stream, VideoStream):
        known |= _video_document(stream)
    if isinstance(stream, AudioStream):
        known |= _audio_document(stream)
    return _without_none(known | _timing_document(stream))


def _codec_tag(stream: Stream) -> str | None:
    try:
        tag: str = stream.codec_tag
        return tag
    except UnicodeDecodeError:  # a number, as in AVI and ASF; PyAV gives only those that are text
        return None


def _video_document(stream: VideoStream) -> dict[str, Any]:
    context = stream.codec_context
    return {
        "width": stream.width,
        "height": stream.height,
        "sample_aspect_ratio": _ratio(stream.sample_aspect_ratio, ":"),
        "display_aspect_ratio": _ratio(stream.display_aspect_ratio, ":"),
        "coded_width": context.coded_width or None,
        "coded_height": context.coded_height or None,
        "has_b_frames": context.reorder_depth,
        "pix_fmt": stream.pix_fmt,
        "level": context.level,
        **_colour_document(context),
        "r_frame_rate": _ratio(stream.base_rate, "/") or "0/0",
        "avg_frame_rate": _ratio(stream.average_rate, "/") or "0/0",
    }


def _colour_document(context: VideoCodecContext) -> dict[str, str | None]:
    """How its numbers mean colours, where the file says so, in FFmpeg's words."""
    return {
        "color_range": _RANGES.get(context.color_range),
        "color_space": _MATRICES.get(context.colorspace),
        "color_transfer": _TRANSFERS.get(context.color_trc),
        "color_primaries": _PRIMARIES.get(context.color_primaries),
    }


def _audio_document(stream: AudioStream) -> dict[str, Any]:
    context = stream.codec_context
    return {
        "sample_fmt": context.format.name if context.format else None,
        "sample_rate": str(context.sample_rate),
        "channels": context.layout.nb_channels,
        "channel_layout": context.layout.name,
        "r_frame_rate": "0/0",
        "avg_frame_rate": "0/0",
    }


def _timing_document(stream: Stream) -> dict[str, Any]:
    base = stream.time_base
    seconds = {
        name: _seconds(float(value * base))
        for name, value in (("start_time", stream.start_time), ("duration", stream.duration))
        if value is not None and base is not None
    }
    return {
        "time_base": _ratio(base, "/"),
        "start_pts": stream.start_time,
        "duration_ts": stream.duration,
        **seconds,
        "nb_frames": str(stream.frames) if stream.frames else None,
        "disposition": {str(flag.name): int(flag in stream.disposition) for flag in Disposition},
        "tags": dict(stream.metadata) or None,
    }


def _seconds(value: float) -> str:
    return f"{value:.6f}"


def _ratio(value: Fraction | None, sign: str) -> str | None:
    return None if value is None else f"{value.numerator}{sign}{value.denominator}"


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def is_known(stream: VideoStream | AudioStream) -> bool:
    """Whether there is a decoder for it, without which PyAV gives no codec context."""
    return getattr(stream, "codec_context", None) is not None
