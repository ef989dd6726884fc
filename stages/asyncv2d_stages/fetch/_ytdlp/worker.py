"""What is done with yt-dlp, in a process of its own: find a video's forms, fetch segments."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from asyncv2d.types import Cause, ItemError, Modality
from asyncv2d_stages.fetch._hosts.safety import is_local
from asyncv2d_stages.fetch._ytdlp.choice import has_picture, is_in_pieces, is_plain
from asyncv2d_stages.fetch._ytdlp.ciphers import check_encryption, ends_checked, is_encrypted
from asyncv2d_stages.fetch._ytdlp.kept import Kept, Options
from asyncv2d_stages.fetch._ytdlp.metadata import metadata, packed
from asyncv2d_stages.fetch._ytdlp.pace import paced
from asyncv2d_stages.fetch._ytdlp.segments import Expected

_UNFINISHED = ("is_live", "is_upcoming")
_LARGEST_PLAYLIST = 50_000_000
_MOST_SEGMENTS = 50_000  # a day of two seconds each
_BYTE_RANGE = "BYTERANGE"
_HAS_END = ("#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD")


class Form(Struct, frozen=True):
    """One form of a video to download.

    ``size`` is a guess at most. ``pieces`` is yt-dlp's description of it if it comes in segments;
    without it, it is one file.
    """

    modality: Modality
    url: str
    headers: Mapping[str, str]
    size: int | None = None
    pieces: Mapping[str, Any] | None = None


class Found(Struct, frozen=True):
    """What a page has: forms to download, packed metadata, and the memory this process now takes.

    ``is_local``: the page lies on this network, and so may what it names.
    """

    forms: Sequence[Form]
    metadata: bytes | None
    memory: int
    is_local: bool


def prepare(options: Options) -> None:
    """Import yt-dlp and make what is kept, in a new process."""
    if options.memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (options.memory, hard))
    Kept.make(options)


def find(url: str, folder: str) -> Found:
    """Ask the site for the video of a page. Raises ItemError where there is none to be had."""
    kept = Kept.current()
    try:
        return _find(kept, url, folder)
    except ItemError as error:
        error.facts["process_memory"] = memory()
        raise


def _find(kept: Kept, url: str, folder: str) -> Found:
    with kept.explaining(), kept.guarded(url, media=False):
        info = _single(kept.ask(kept.answers.row))
        _refuse_unfinished(info)
        parts = info.get("requested_formats") or [info] if kept.options.choice.wants else []
        forms = [_form(kept, part) for part in parts]
        further = metadata(kept, info, Path(folder))
        kept_small = None if further is None else packed(further)
        return Found(_unlike(forms), kept_small, memory(), _is_local(url, info))


def fetch_pieces(form: Form, url: str, folder: str, limit: int | None) -> str:
    """Download a form that comes in segments into ``folder``; gives the file's path.

    ``url`` is the page's, and ``limit`` the bytes that it may have.
    """
    kept = Kept.current()
    assert form.pieces is not None
    path = Path(folder) / f"body.{form.pieces.get('ext') or 'bin'}"
    with (
        _emptied_unless_done(Path(folder)),
        kept.explaining(),
        kept.guarded(url, media=True),
        kept.limited(limit),
        paced(kept.options.least),
        ends_checked(),
    ):
        pieces = _complete(kept.ydl, form.pieces)
        playlist = pieces.get("hls_media_playlist_data", "")
        check_encryption(playlist)
        kept.answers.segments = Expected(str(pieces.get("ext")), is_encrypted(playlist))
        kept.answers.needs_ranges = _BYTE_RANGE in playlist
        try:
            done, _ = kept.ydl.dl(str(path), pieces)
        except ValueError:  # several segments at a time: one failed, and closed the file for all
            done = False
        if not done or not path.is_file():
            raise kept.last_failure()
        kept.answers.segments.check()
    return str(path)


@contextmanager
def _emptied_unless_done(folder: Path) -> Iterator[None]:
    """Free the room of what failed: yt-dlp leaves files open, so deleting them would not."""
    try:
        yield
    except BaseException:
        for file in folder.iterdir():
            os.truncate(file, 0)
        raise


def _complete(ydl: Any, pieces: Mapping[str, Any]) -> dict[str, Any]:
    """The description with its HLS playlist, which must be one that has an end."""
    if not str(pieces.get("protocol")).startswith("m3u8") or "hls_media_playlist_data" in pieces:
        return dict(pieces)
    from yt_dlp.networking import Request

    answer = ydl.urlopen(Request(pieces["url"], headers=pieces.get("http_headers") or {}))
    data = answer.read(_LARGEST_PLAYLIST + 1)
    if len(data) > _LARGEST_PLAYLIST:
        detail = f"the playlist is larger than {_LARGEST_PLAYLIST} bytes"
        raise ItemError(Cause.TOO_LARGE, detail)
    text = data.decode(errors="replace")
    if "#EXTINF" in text and not any(mark in text for mark in _HAS_END):
        raise ItemError(Cause.LIVE, "the playlist has no end: it is that of a broadcast")
    return {**pieces, "url": answer.url, "hls_media_playlist_data": text}


def memory() -> int:
    """Bytes of memory that this process takes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def _single(info: dict[str, Any]) -> dict[str, Any]:
    """The first video of a page that shows several."""
    while info.get("_type") in ("playlist", "multi_video"):
        first = next((entry for entry in info.get("entries") or () if entry), None)
        if first is None:
            raise ItemError(Cause.NOT_MEDIA, "the page lists no videos")
        info = first
    return info


def _is_local(url: str, info: Mapping[str, Any]) -> bool:
    """Whether both the row's page and the one that the video was found in are of this network."""
    pages = (url, str(info.get("webpage_url") or url))
    try:
        return all(is_local(urlsplit(page).hostname or "") for page in pages)
    except ValueError:  # whatever page that is
        return False


def _refuse_unfinished(info: Mapping[str, Any]) -> None:
    status = info.get("live_status")
    if info.get("is_live") or status in _UNFINISHED:
        raise ItemError(Cause.LIVE, f"the video is a broadcast ({status or 'is_live'})")


def _form(kept: Kept, part: Mapping[str, Any]) -> Form:
    modality: Modality = "video" if has_picture(part) else "audio"
    headers = {str(key): str(value) for key, value in (part.get("http_headers") or {}).items()}
    url = str(part["url"])
    if is_plain(part):
        if login := kept.answers.login(url):
            headers.setdefault("Authorization", login)
        if cookies := kept.ydl.cookiejar.get_cookie_header(url):
            headers["Cookie"] = cookies
        return Form(modality, url, headers, _size(part))
    segments = part.get("fragments")
    if isinstance(segments, Sized) and len(segments) > _MOST_SEGMENTS:
        detail = f"it has {len(segments)} segments; at most {_MOST_SEGMENTS} are taken"
        raise ItemError(Cause.TOO_LARGE, detail)
    if not is_in_pieces(part):
        raise ItemError(Cause.NO_FORMAT, f"needs a program to download {part.get('protocol')}")
    return Form(modality, url, headers, _size(part), pieces=_sendable(kept.ydl, part))


def _size(part: Mapping[str, Any]) -> int | None:
    size = part.get("filesize") or part.get("filesize_approx")
    return int(size) if size else None


def _sendable(ydl: Any, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the downloader needs of a form, as it can be sent between processes."""
    needless = ("formats", "requested_formats", "subtitles", "automatic_captions", "thumbnails")
    kept = {key: value for key, value in part.items() if key not in needless}
    clean: Mapping[str, Any] = ydl.sanitize_info(kept)
    return {key: value for key, value in clean.items() if value is not None}


def _unlike(forms: Sequence[Form]) -> Sequence[Form]:
    """One form of each modality; where there are two with a picture, the second is the sound."""
    if len(forms) == 2 and forms[0].modality == forms[1].modality == "video":
        return [forms[0], replace(forms[1], modality="audio")]
    return forms
