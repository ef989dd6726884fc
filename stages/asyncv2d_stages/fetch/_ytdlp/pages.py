"""Finds what pages show, in processes of yt-dlp's, and downloads it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import anyio
from anyio import to_thread

from asyncv2d.ports import FetchContext
from asyncv2d.types import Body, Cause, Fetched, ItemError, Modality, Row
from asyncv2d.yt_args import YtArgs
from asyncv2d_stages.fetch import _backoff
from asyncv2d_stages.fetch._hosts.host import SILENT, HostGivenUpError
from asyncv2d_stages.fetch._hosts.limits import Hosts, Turn
from asyncv2d_stages.fetch._http.client import Client, limits, open_client
from asyncv2d_stages.fetch._http.proxy import Outages, ProxyDownError, ProxyHealth, proxy_health
from asyncv2d_stages.fetch._http.urls import target
from asyncv2d_stages.fetch._ytdlp.claims import site_of
from asyncv2d_stages.fetch._ytdlp.metadata import unpacked
from asyncv2d_stages.fetch._ytdlp.options import options_of
from asyncv2d_stages.fetch._ytdlp.pieces import Pieces
from asyncv2d_stages.fetch._ytdlp.pool import Process, Processes, open_processes
from asyncv2d_stages.fetch._ytdlp.sites import Sites
from asyncv2d_stages.fetch._ytdlp.worker import Found, find, prepare
from asyncv2d_stages.fetch.http import HttpFetcher

_OBJECTIONS = (Cause.RATE_LIMITED, Cause.HTTP_429)


class _SpentError(ItemError):
    """All of ``extract_timeout`` went by, and would again."""


@asynccontextmanager
async def open_pages(
    settings: HttpFetcher, args: YtArgs, context: FetchContext
) -> AsyncIterator[Pages]:
    """Start what yt-dlp runs in, as it is needed."""
    options = options_of(settings, args, context)
    assert context.workers is not None
    async with (
        open_client(settings, context) as client,
        open_processes(
            args.processes,
            args.slow_processes,
            args.recycle_after,
            args.process_memory,
            context.workers,
            partial(prepare, options),
        ) as processes,
    ):
        hosts = Hosts(limits(settings, context))
        its_own = settings.model_copy(update={"proxy": options.further.get("proxy")})
        proxy = proxy_health(its_own, context)
        yield Pages(settings, args, context, client, hosts, processes, proxy)


class Pages:
    """Finds what pages show, and downloads it."""

    def __init__(
        self,
        settings: HttpFetcher,
        args: YtArgs,
        context: FetchContext,
        client: Client,
        hosts: Hosts,
        processes: Processes,
        proxy: ProxyHealth,
    ) -> None:
        self._settings = settings
        self._args = args
        self._context = context
        self._client = client
        self._processes = processes
        budget = args.requests_per_hour
        per_hour = None if budget is None else max(1, round(budget * context.share))
        self._sites = Sites(per_hour, args.site_pause)
        self._hosts = hosts
        self._proxy = proxy
        assert context.folder is not None
        self._pieces = Pieces(context.folder, settings.max_bytes, settings.total_timeout)

    async def fetch(self, row: Row) -> Fetched:
        """The video of one page."""
        media: dict[Modality, Body] = {}
        attempts = 1
        try:
            await self._client.check_robots(row.url)
            while not (found := await self._attempt(row.url, media, attempts)):
                attempts += 1
            info, more = await self._files(found, media)
        except BaseException as error:
            for body in media.values():
                body.close()
            if isinstance(error, ItemError):
                error.attempts += attempts - 1
            raise
        if found.metadata is not None:
            info["yt_meta_dict"] = unpacked(found.metadata)
        if any(form.pieces is not None for form in found.forms):
            info["assembled"] = True
        return Fetched(row, media, info, attempts + more)

    async def _attempt(self, url: str, media: dict[Modality, Body], attempts: int) -> Found | None:
        """Ask the site when it is its turn; None if that failed, but may pass next time."""
        host = target(url).host
        known = await to_thread.run_sync(site_of, url)  # a new host may take a while
        site = known or host
        await self._sites.turn(site, counted=known is not None)
        began = anyio.current_time()
        try:
            return await self._take_by_proxy(url, site, media)
        except (HostGivenUpError, _SpentError):
            raise
        except ItemError as error:
            objects = _objects(error)
            if objects:
                self._sites.objected(site, error, began)
            if not self._may_pass(error) or attempts > self._settings.retries:
                raise
        _drop(media)
        if not objects:  # else the site's pause is longer
            await anyio.sleep(_backoff.seconds(attempts))
        return None

    async def _take_by_proxy(self, url: str, site: str, media: dict[Modality, Body]) -> Found:
        """The same, as often as it takes to come through a proxy that is away for a while."""
        outages = Outages()
        while True:
            try:
                return await self._take(url, site, media)
            except ProxyDownError as error:
                _drop(media)
                await outages.wait(error)

    async def _take(self, url: str, site: str, media: dict[Modality, Body]) -> Found:
        """Find the video, and download what only yt-dlp can."""
        # Whatever waits for a host that keeps silent must not wait with a process in its hands.
        turns = self._hosts.turn(target(url).place)
        async with turns as turn, self._processes.lend(site) as process:
            found = await self._find(process, url, turn)
            self._sites.answered(site)
            for form in found.forms:
                if form.pieces is not None:
                    await self._client.check_robots(form.url, from_local=found.is_local)
                    began = anyio.current_time()
                    try:
                        media[form.modality] = await self._pieces.download(process, form, url)
                    except ItemError as error:
                        await self._judge_proxy(error, url, began)
                        raise
        return found

    async def _find(self, process: Process, url: str, turn: Turn) -> Found:
        turn.begin()
        try:
            found = await self._look(process, url)
        except ItemError as error:
            await self._judge_proxy(error, url, turn.asked_at)
            if error.cause in SILENT:
                turn.failed(error, None)
            else:
                _did_answer(turn)
            raise
        await self._proxy.answered(200, target(url), turn.asked_at)
        _did_answer(turn)
        return found

    async def _judge_proxy(self, error: ItemError, url: str, asked_at: float) -> None:
        """Raises ProxyDownError or RunError where the proxy failed, and not the site."""
        if error.facts.get("proxy_refused"):
            await self._proxy.refused(error)
        elif (status := error.facts.get("http_status")) is not None:
            await self._proxy.answered(status, target(url), asked_at)
        else:
            await self._proxy.hear(error, error, asked_at)

    def _may_pass(self, error: ItemError) -> bool:
        is_refused = "proxy_refused" in error.facts
        is_refused |= self._proxy.may_be_refused(error.facts.get("http_status"))
        return is_refused or error.cause.worth_retrying

    async def _look(self, process: Process, url: str) -> Found:
        limit = self._args.extract_timeout
        assert self._context.folder is not None
        async with self._context.folder() as folder:
            try:
                found = await process.workers.run(find, url, str(folder.path), timeout_s=limit)
            except TimeoutError:
                detail = f"yt-dlp found nothing within extract_timeout ({limit:g} s)"
                raise _SpentError(Cause.TIMEOUT, detail) from None
            except ItemError as error:
                process.memory = error.facts.pop("process_memory", process.memory)
                raise
        process.memory = found.memory
        return found

    async def _files(self, found: Found, media: dict[Modality, Body]) -> tuple[dict[str, Any], int]:
        """Download the forms that are plain files as any URL is; facts, and further attempts."""
        info: dict[str, Any] = {}
        more = 0
        files = [form for form in found.forms if form.pieces is None]
        for form in files:
            media[form.modality], facts = await self._client.download(
                form.url,
                form.headers,
                from_local=found.is_local,
                more_to_come=form is not files[-1],
            )
            info = info or dict(facts)
            more += cast(int, facts.get("attempts", 1)) - 1
        info.pop("attempts", None)
        return info, more


def _drop(media: dict[Modality, Body]) -> None:
    for modality in list(media):
        media.pop(modality).close()


def _did_answer(turn: Turn) -> None:
    turn.answered()
    turn.done()


def _objects(error: ItemError) -> bool:
    """Whether a site wants fewer requests, or takes the program for a robot."""
    robot = error.cause is Cause.LOGIN_REQUIRED and error.facts.get("robot", False)
    return error.cause in _OBJECTIONS or robot
