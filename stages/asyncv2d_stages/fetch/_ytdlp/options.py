"""What a process that yt-dlp runs in is asked to do, from what is configured."""

from __future__ import annotations

from typing import Any

from asyncv2d.ports import FetchContext
from asyncv2d.yt_args import YtArgs, YtMetadataArgs
from asyncv2d_stages.fetch._http.consent import product_token
from asyncv2d_stages.fetch._http.least import least
from asyncv2d_stages.fetch._http.session import user_agent
from asyncv2d_stages.fetch._ytdlp.choice import Choice
from asyncv2d_stages.fetch._ytdlp.kept import Options
from asyncv2d_stages.fetch.http import HttpFetcher

_HARD_LIMIT = 3  # times what a process may take before it is replaced


def options_of(settings: HttpFetcher, args: YtArgs, context: FetchContext) -> Options:
    """The options for all videos of a loop."""
    metadata = args.yt_metadata_args
    agent = product_token(user_agent(settings))
    wanted = metadata or YtMetadataArgs()
    return Options(
        choice=Choice(args.download_size, args.download_audio_rate, context.wants),
        private_addresses=settings.private_addresses,
        timeout=settings.timeout,
        retries=settings.retries,
        agent=None if settings.ignore_opt_out else agent,
        metadata=metadata is not None,
        info=wanted.get_info,
        subtitles=wanted.writesubtitles,
        languages=tuple(wanted.subtitleslangs),
        automatic=wanted.writeautomaticsub,
        further={**_connection(settings), **args.ydl_opts},
        memory=_HARD_LIMIT * args.process_memory,
        robots=agent if settings.respect_robots_txt else None,
        least=least(settings),
    )


def _connection(settings: HttpFetcher) -> dict[str, Any]:
    """What is configured of HTTP, in yt-dlp's words."""
    source = {"auto": None, 4: "0.0.0.0", 6: "::"}[settings.ip_version]
    known: dict[str, Any] = {
        "proxy": settings.proxy,
        "cookiefile": settings.cookies,
        "source_address": source,
        "nocheckcertificate": None if settings.verify_tls else True,
        "http_headers": _headers(settings) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _headers(settings: HttpFetcher) -> dict[str, str]:
    """What is configured of headers; else sites get those of a browser, without which many fail."""
    name = {"User-Agent": settings.user_agent} if settings.user_agent else {}
    return {**name, **settings.headers}
