"""What is known of a video beside its forms, as video2dataset writes it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._ytdlp.captions import Caption, read_captions
from asyncv2d_stages.fetch._ytdlp.causes import explained
from asyncv2d_stages.fetch._ytdlp.clean import clean
from asyncv2d_stages.fetch._ytdlp.kept import Kept

_NOT_KEPT = (
    *("formats", "requested_formats", "requested_downloads", "requested_entries", "entries"),
    *("subtitles", "automatic_captions", "requested_subtitles", "thumbnails", "fragments"),
    *("http_headers", "cookies", "url", "manifest_url", "fragment_base_url", "downloader_options"),
    *("hls_aes", "hls_media_playlist_data", "extra_param_to_segment_url", "extra_param_to_key_url"),
)
_TEXT = ("vtt", "srt")
_LARGEST_CAPTIONS = 8 << 20  # bytes of all languages together
_LARGEST_INFO = 8 << 20  # bytes as JSON


def packed(found: Mapping[str, Any]) -> bytes:
    """Metadata as it waits for the video to come: as Python objects it takes far more."""
    return zlib.compress(json.dumps(found).encode(), level=1)


def unpacked(data: bytes) -> dict[str, Any]:
    """What was ``packed``."""
    found: dict[str, Any] = json.loads(zlib.decompress(data))
    return found


def metadata(kept: Kept, info: Mapping[str, Any], folder: Path) -> Mapping[str, Any] | None:
    """What video2dataset calls ``yt_meta_dict``; None if it was not asked for."""
    options = kept.options
    if not options.metadata:
        return None
    problems: list[str] = []
    found: dict[str, Any] = {"info": None, "subtitles": None}
    if options.info:
        found["info"] = _small_info(kept.ydl, info, problems)
    if options.subtitles:
        found["subtitles"] = _subtitles(kept, info, folder, problems)
    cleaned: Mapping[str, Any] = clean(found | ({"problems": problems} if problems else {}))
    return cleaned


def _small_info(ydl: Any, info: Mapping[str, Any], problems: list[str]) -> Mapping[str, Any] | None:
    known = _kept_info(ydl, info)
    if (size := len(json.dumps(known))) <= _LARGEST_INFO:
        return known
    problems.append(f"info: {size} bytes are too many")
    return None


def _kept_info(ydl: Any, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata that can be written as JSON, without addresses that hold for hours only."""
    kept = {key: value for key, value in info.items() if key not in _NOT_KEPT and key[0] != "_"}
    known: dict[str, Any] = ydl.sanitize_info(kept)
    if domain := known.get("webpage_url_domain"):
        known["webpage_url_domain"] = str(domain).rpartition("@")[2]  # yt-dlp leaves a password in
    return {key: value for key, value in known.items() if key[0] != "_"}


def _subtitles(
    kept: Kept, info: Mapping[str, Any], folder: Path, problems: list[str]
) -> dict[str, list[Caption]]:
    """The subtitles by language; ``problems`` says why some are missing: the video is kept."""
    from yt_dlp.utils import YoutubeDLError

    found: dict[str, list[Caption]] = {}
    room = _LARGEST_CAPTIONS
    for language, subtitle in (info.get("requested_subtitles") or {}).items():
        try:
            text = _text(kept, subtitle, folder / "subtitles", room)
            room -= len(text)
            found[language] = read_captions(text)
        except (YoutubeDLError, OSError, ItemError) as error:
            problem = error if isinstance(error, ItemError) else explained(error, [])
            problems.append(f"subtitles {language}: {problem}")
        if found and kept.options.subtitles == "first":
            break
    return found


def _text(kept: Kept, subtitle: Mapping[str, Any], path: Path, room: int) -> str:
    if subtitle.get("ext") not in _TEXT:
        detail = f"{subtitle.get('ext')} is no form of subtitles that is understood"
        raise ItemError(Cause.NO_FORMAT, detail)
    if (data := subtitle.get("data")) is not None:
        text = str(data)
    else:
        headers = subtitle.get("http_headers") or {}
        with kept.limited(room):
            kept.ydl.dl(str(path), {**subtitle, "http_headers": headers}, subtitle=True)
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        path.unlink()
    if len(text) > room:
        raise ItemError(Cause.TOO_LARGE, f"{len(text)} bytes of captions are too many")
    return text
