"""What is known of a video beside its forms, as video2dataset writes it."""

from __future__ import annotations

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
_LARGEST_CAPTIONS = 50_000_000


def metadata(kept: Kept, info: Mapping[str, Any], folder: Path) -> Mapping[str, Any] | None:
    """What video2dataset calls ``yt_meta_dict``; None if it was not asked for."""
    options = kept.options
    if not options.metadata:
        return None
    found: dict[str, Any] = {"info": None, "subtitles": None}
    if options.info:
        found["info"] = _kept_info(kept.ydl, info)
    if options.subtitles:
        found["subtitles"], problems = _subtitles(kept, info, folder)
        found |= {"problems": problems} if problems else {}
    cleaned: Mapping[str, Any] = clean(found)
    return cleaned


def _kept_info(ydl: Any, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata that can be written as JSON, without addresses that hold for hours only."""
    kept = {key: value for key, value in info.items() if key not in _NOT_KEPT and key[0] != "_"}
    known: dict[str, Any] = ydl.sanitize_info(kept)
    if domain := known.get("webpage_url_domain"):
        known["webpage_url_domain"] = str(domain).rpartition("@")[2]  # yt-dlp leaves a password in
    return {key: value for key, value in known.items() if key[0] != "_"}


def _subtitles(
    kept: Kept, info: Mapping[str, Any], folder: Path
) -> tuple[dict[str, list[Caption]], list[str]]:
    """The subtitles by language, and why some are missing: no reason to lose the video."""
    from yt_dlp.utils import YoutubeDLError

    found: dict[str, list[Caption]] = {}
    problems: list[str] = []
    for language, subtitle in (info.get("requested_subtitles") or {}).items():
        try:
            found[language] = read_captions(_text(kept, subtitle, folder / "subtitles"))
        except (YoutubeDLError, OSError, ItemError) as error:
            problem = error if isinstance(error, ItemError) else explained(error, [])
            problems.append(f"subtitles {language}: {problem}")
        if found and kept.options.subtitles == "first":
            break
    return found, problems


def _text(kept: Kept, subtitle: Mapping[str, Any], path: Path) -> str:
    if subtitle.get("ext") not in _TEXT:
        detail = f"{subtitle.get('ext')} is no form of subtitles that is understood"
        raise ItemError(Cause.NO_FORMAT, detail)
    if (data := subtitle.get("data")) is not None:
        return str(data)
    headers = subtitle.get("http_headers") or {}
    with kept.limited(_LARGEST_CAPTIONS):
        kept.ydl.dl(str(path), {**subtitle, "http_headers": headers}, subtitle=True)
    with path.open("rb") as file:
        text = file.read(_LARGEST_CAPTIONS)
    path.unlink()
    return text.decode("utf-8-sig", errors="replace")
