"""Which of the forms in which a site offers a video are downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from asyncv2d.types import Modality

Format = Mapping[str, Any]

_PLAIN = ("http", "https")
# What yt-dlp downloads by itself; the others need programs such as rtmpdump.
_IN_PIECES = ("m3u8", "m3u8_native", "http_dash_segments", "http_dash_segments_generator", "ism")
_SMALL_CODECS = ("avc", "h264")  # decoded everywhere, and at the least cost


class Choice(Struct, frozen=True):
    """Takes the smallest forms that are large enough, as video2dataset does.

    That is the lowest picture of at least ``height``, else the highest; and, where the sound comes
    apart, the lowest rate of at least ``rate`` Hz, else the best.
    """

    height: int
    rate: int
    wants: frozenset[Modality]

    def __call__(self, context: Mapping[str, Any]) -> Iterator[Format]:
        """Yt-dlp's interface for this: gives one form, or two that belong together."""
        chosen = self.of(context["formats"])
        if len(chosen) == 1:
            yield from chosen
        elif chosen:
            yield _together(chosen)

    def of(self, formats: Sequence[Format]) -> list[Format]:
        """The chosen ones of ``formats``, which are ordered from the worst to the best."""
        usable = [item for item in formats if is_plain(item) or is_in_pieces(item)]
        picture = self._picture(usable) if "video" in self.wants else None
        if picture is None:
            sound = self._sound(usable) or _least_with_sound(usable)
            return [sound] if sound and "audio" in self.wants else []
        if _has(picture, "acodec") or "audio" not in self.wants:
            return [picture]
        sound = self._sound(usable) or _least_with_sound(usable)
        return [picture, sound] if sound else [picture]

    def _picture(self, formats: Sequence[Format]) -> Format | None:
        with_picture = [item for item in formats if _has(item, "vcodec")]
        tall = [item for item in with_picture if (item.get("height") or 0) >= self.height]
        if tall:
            mp4 = [item for item in tall if item.get("ext") == "mp4"]
            return min(reversed(mp4 or tall), key=lambda item: (item["height"], _trouble(item)))
        return max(
            reversed(with_picture),
            key=lambda item: (item.get("height") or 0, *(-part for part in _trouble(item))),
            default=None,
        )

    def _sound(self, formats: Sequence[Format]) -> Format | None:
        """The sound in the video's own language, and rather as m4a."""
        alone = [item for item in formats if _has(item, "acodec") and not _has(item, "vcodec")]
        if not alone:
            return None
        own = max(_language(item) for item in alone)
        alone = [item for item in alone if _language(item) == own]
        alone = [item for item in alone if item.get("ext") == "m4a"] or alone
        enough = [item for item in alone if (item.get("asr") or 0) >= self.rate > 0]
        if enough:
            return min(enough, key=lambda item: (item["asr"], not is_plain(item)))
        return alone[-1]


def is_plain(item: Format) -> bool:
    """Whether it is one file behind one URL."""
    return item.get("protocol") in _PLAIN and not item.get("fragments") and not _is_chunked(item)


def is_in_pieces(item: Format) -> bool:
    """Whether it comes in parts that yt-dlp can put together without another program."""
    pieces = item.get("protocol") in _IN_PIECES or bool(item.get("fragments")) or _is_chunked(item)
    return pieces and not item.get("has_drm")


def _is_chunked(item: Format) -> bool:
    """Whether the site is slow if asked for all of it at once."""
    return bool((item.get("downloader_options") or {}).get("http_chunk_size"))


def has_picture(item: Format) -> bool:
    """Whether it has a picture, as far as is known."""
    return _has(item, "vcodec")


def _has(item: Format, codec: str) -> bool:
    """Whether it has such a stream; where nothing is said, it does."""
    return item.get(codec) != "none"


def _language(item: Format) -> int:
    return item.get("language_preference") or -1


def _trouble(item: Format) -> tuple[int, int, int]:
    """How much work it makes beside its size."""
    known = str(item.get("vcodec") or "").lower()
    return (
        0 if is_plain(item) else 1,
        0 if known.startswith(_SMALL_CODECS) or not known else 1,
        -_language(item),
    )


def _least_with_sound(formats: Sequence[Format]) -> Format | None:
    """The smallest form with sound in it, for the sound alone."""
    with_sound = [item for item in formats if _has(item, "acodec")]
    return min(with_sound, key=lambda item: item.get("height") or 0, default=None)


def _together(parts: Sequence[Format]) -> Format:
    """Two forms as yt-dlp writes them in one."""
    return {
        "format_id": "+".join(str(part.get("format_id")) for part in parts),
        "ext": parts[0].get("ext"),
        "protocol": "+".join(str(part.get("protocol")) for part in parts),
        "requested_formats": list(parts),
        "height": parts[0].get("height"),
        "width": parts[0].get("width"),
        "fps": parts[0].get("fps"),
        "vcodec": parts[0].get("vcodec"),
        "acodec": parts[1].get("acodec"),
    }
