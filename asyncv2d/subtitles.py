"""Subtitles: those that came with a row, or those inside its file; and those of one clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from msgspec import Struct
from msgspec.structs import replace

from asyncv2d.media import Span
from asyncv2d.probe import Media, from_start, packets
from asyncv2d.spans import clock_time, listed, parsed, read_spans
from asyncv2d.types import Cause, ItemError

_UNKNOWN_LANGUAGE = "und"  # ISO 639: undetermined
_ASS_FIELDS_BEFORE_TEXT = 8
_MARKUP = re.compile(r"\{\\[^}]*\}|</?\w[^>]*>")


class Subtitle(Struct, frozen=True):
    """A subtitle and the lines of it in each language; ``start`` and ``end`` are as given."""

    span: Span
    start: Any
    end: Any
    lines: Mapping[str, Sequence[str]]

    @property
    def text(self) -> str:
        """Its lines in the first language."""
        return "\n".join(next(iter(self.lines.values()), ()))

    @property
    def record(self) -> dict[str, Any]:
        """As it stands in the sample's JSON."""
        lines = {language: list(lines) for language, lines in self.lines.items()}
        return {"start": self.start, "end": self.end, "lines": lines}


def read_subtitles(metadata: Mapping[str, Any], media: Media) -> list[Subtitle]:
    """The subtitles of ``yt_meta_dict``; without it those inside the file; by their start.

    Raises ItemError (bad_clips) where ``yt_meta_dict`` holds others than
    ``{language: [{start, end, lines}, …]}``.
    """
    of_site = metadata.get("yt_meta_dict")
    of_site = parsed(of_site) if isinstance(of_site, str) else of_site
    found = of_site.get("subtitles") if isinstance(of_site, Mapping) else None
    if found:
        return _merged(found)
    return _inside(media)


def clip_subtitles(subtitles: Sequence[Subtitle], span: Span) -> list[Subtitle]:
    """The subtitles that are seen within ``span``, if only for a part of it."""
    return [
        subtitle
        for subtitle in subtitles
        if max(subtitle.span.start, span.start) < min(subtitle.span.end, span.end)
    ]


def _merged(found: Any) -> list[Subtitle]:
    """The languages' subtitles as one list; those of the first language give the times."""
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = {_UNKNOWN_LANGUAGE: found}
    if not isinstance(found, Mapping):
        raise _bad(found)
    merged: dict[tuple[str, str], Subtitle] = {}
    for number, (language, entries) in enumerate(found.items()):
        for entry in listed(entries):
            subtitle = _subtitle(str(language), entry)
            place = str(subtitle.start), str(subtitle.end)
            if place in merged:
                merged[place] = _together(merged[place], subtitle)
            elif number == 0:
                merged[place] = subtitle
    return sorted(merged.values(), key=lambda subtitle: subtitle.span)


def _together(one: Subtitle, other: Subtitle) -> Subtitle:
    """Two subtitles of the same time as one."""
    lines = dict(one.lines)
    for language, more in other.lines.items():
        lines[language] = [*lines.get(language, ()), *more]
    return replace(one, lines=lines)


def _subtitle(language: str, entry: Any) -> Subtitle:
    if not isinstance(entry, Mapping) or not {"start", "end", "lines"} <= entry.keys():
        raise _bad(entry)
    (span,) = read_spans([[entry["start"], entry["end"]]])
    lines = entry["lines"]
    lines = [lines] if isinstance(lines, str) else [str(line) for line in listed(lines)]
    return Subtitle(span, entry["start"], entry["end"], {language: lines})


def _bad(value: Any) -> ItemError:
    return ItemError(
        Cause.BAD_CLIPS,
        f"cannot read {value!r:.80} as subtitles: expected {{language: [{{start, end, lines}}]}}",
    )


def _inside(media: Media) -> list[Subtitle]:
    """The file's first track of text subtitles."""
    with from_start(media, None) as container:
        stream = next(iter(_text_streams(container)), None)
        if stream is None:
            return []
        language = stream.metadata.get("language", _UNKNOWN_LANGUAGE)
        found = [
            Subtitle(span, clock_time(span.start), clock_time(span.end), {language: lines})
            for span, lines in _timed_lines(media, container, stream)
        ]
    return sorted(found, key=lambda subtitle: subtitle.span)


def _text_streams(container: InputContainer) -> Iterator[SubtitleStream]:
    """Subtitle streams of text, not of pictures."""
    for stream in container.streams.subtitles:
        context = getattr(stream, "codec_context", None)
        if context is not None and context.codec.text_sub:
            yield stream


def _timed_lines(
    media: Media, container: InputContainer, stream: SubtitleStream
) -> Iterator[tuple[Span, list[str]]]:
    clock = media.clock(stream)
    for packet in packets(media, container, stream):
        if packet.size == 0 or packet.pts is None or not packet.duration:
            continue
        start = clock.time(packet.pts)
        lines = _lines(packet)
        if lines:
            yield Span(start, clock.time(packet.pts + packet.duration)), lines


def _lines(packet: Packet[Any]) -> list[str]:
    """The text of one packet, without markup; nothing where it cannot be decoded."""
    try:
        decoded = packet.decode()
    except av.FFmpegError:
        return []
    lines: list[str] = []
    for subtitle in decoded:
        event = getattr(subtitle, "ass", b"").decode("utf-8", "replace")
        text = event.split(",", _ASS_FIELDS_BEFORE_TEXT)[-1].replace("\\h", " ")
        lines += [line.strip() for line in _MARKUP.sub("", text).split("\\N") if line.strip()]
    return lines
