"""What to take from video sites, in video2dataset's words and some more."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from asyncv2d.ports import Settings


class YtMetadataArgs(Settings):
    """What to take beside video and sound."""

    writesubtitles: Literal["all", "first"] | bool = False
    """Subtitles: of every language asked for (``all`` or true), of the first that there is, or
    none."""
    subtitleslangs: Sequence[str] = ()
    """Languages of the subtitles, in order of preference; may be patterns such as ``en.*``. Empty:
    yt-dlp's choice, which is English if there is any."""
    writeautomaticsub: bool = False
    """Whether subtitles that the site made by itself will do too."""
    get_info: bool = True
    """Whether to keep title, description, tags and all else that is known of the video."""


class YtArgs(Settings):
    """What to take from sites that need yt-dlp, and how hard to ask them."""

    download_size: int = Field(default=360, gt=0)
    """Height of the picture: the lowest there is of at least so many pixels, else the highest."""
    download_audio_rate: int = Field(default=44100, ge=0)
    """Sample rate of the sound where it comes apart: the lowest of at least so many Hz; 0: the best
    sound."""
    yt_metadata_args: YtMetadataArgs | None = None
    """Which metadata and subtitles to take; null: none."""
    ydl_opts: Mapping[str, Any] = Field(default_factory=dict)
    """Further options of yt-dlp by their names in Python: cookiefile, proxy, extractor_args …"""
    processes: int = Field(default=2, gt=0, le=64)
    """Most yt-dlp processes of each loop, and of each site; each takes about 100 MB."""
    slow_processes: int = Field(default=8, ge=0, le=64)
    """Most further processes of each loop, as large: one for each row that takes longer than 5 s,
    so that other sites need not wait for it."""
    requests_per_hour: int | None = Field(default=300, gt=0)
    """Videos asked of one site in an hour by this machine; null: no limit. Pages of sites that
    yt-dlp has no special knowledge of do not count."""
    site_pause: float = Field(default=300, ge=0)
    """Seconds for which a site is left alone after it asked for fewer requests or took the program
    for a robot; doubles while that goes on, up to an hour. After four in a row, rows of the site
    fail at once until it answers again."""
    extract_timeout: float = Field(default=180, gt=0)
    """Seconds that finding one video's formats and subtitles may take; a row that takes longer gets
    no further attempt."""
    recycle_after: int = Field(default=500, gt=0)
    """Videos after which a yt-dlp process is replaced."""
    process_memory: int = Field(default=500_000_000, gt=0)
    """Bytes of memory beyond which a yt-dlp process is replaced; what would take three times as
    many fails as ``too_large``."""
