"""Measures downloads: of many small files from a slow server, and of large ones from a quick one.

    python scripts/bench/fetching.py [--rounds 3] [--peer PYTHON]

The first is given in rows a second, for the fetcher alone and for the whole command; with the
Python of an environment with video2dataset, which gets the same ``thread_count``, as a ratio to
that, too. The second is the CPU time of the command, as a ratio to that of ``bare_loop.py``, which
writes a tar; both run in turn in every round, so the ratio holds on a noisy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from asyncv2d.budget import ByteBudget
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.ports import FetchContext
from asyncv2d.spool import Spool
from asyncv2d.spool_folders import SpoolFolders
from asyncv2d_stages.fetch.http import HttpFetcher
from scripts.bench.measure import Usage, measure

SLOW_S = 0.1
SMALL = 2000
LARGE = {1: 400, 5: 200, 20: 60}  # how many files of so many megabytes
MEGABYTE = 1 << 20
THREADS = 16
DOWNLOADS = 256


def main() -> None:
    """Measure, or be the server."""
    if sys.argv[1:2] == ["serve"]:
        _serve(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure_small(Path(name), options.rounds, options.peer)
        for megabytes, files in LARGE.items():
            _measure_large(Path(name), options.rounds, megabytes, files)


def _measure_small(folder: Path, rounds: int, peer: Path | None) -> None:
    body = _video(0)
    with _serving(folder, body, SLOW_S) as address:
        urls = [f"{address}/{number}.mp4" for number in range(SMALL)]
        alone = [SMALL / asyncio.run(_fetch_all(urls, folder)) for _ in range(rounds)]
        ours, theirs = [], []
        for turn in range(rounds):
            ours.append(_command(urls, folder / f"small-{turn}").wall)
            if peer is not None:
                theirs.append(_peer_command(urls, folder / f"peer-{turn}", peer).wall)
    text = (
        f"{SMALL} files of {len(body)} bytes, answers after {SLOW_S:g} s, thread_count {THREADS}:"
        f" fetcher {statistics.median(alone):.0f} rows/s,"
        f" command {SMALL / statistics.median(ours):.0f} rows/s"
    )
    if theirs:
        ratios = [peer_s / own_s for peer_s, own_s in zip(theirs, ours, strict=True)]
        text += f", {statistics.median(ratios):.1f} times as fast as video2dataset"
    print(text)


def _measure_large(folder: Path, rounds: int, megabytes: int, files: int) -> None:
    ratios = []
    with _serving(folder, _video(megabytes * MEGABYTE), 0) as address:
        urls = [f"{address}/{number}.mp4" for number in range(files)]
        for turn in range(rounds):
            bare = _bare_command(urls, folder / f"bare-{megabytes}-{turn}").cpu
            ours = _command(urls, folder / f"large-{megabytes}-{turn}").cpu
            ratios.append(ours / bare)
            print(f"{ours:.2f} CPU-s, bare {bare:.2f}", file=sys.stderr)
    ratio = statistics.median(ratios)
    print(f"{files} files of {megabytes} MB: {ratio:.2f} times a bare loop's CPU time")


async def _fetch_all(urls: Sequence[str], folder: Path) -> float:
    """Seconds to fetch all, without the pipeline around it."""
    spool = Spool(SpoolFolders(folder, folder, 1 << 30), ByteBudget(1 << 30), ByteBudget(1 << 30))
    begin = time.monotonic()
    async with HttpFetcher().open(FetchContext(spool, DOWNLOADS)) as fetch:
        from asyncv2d.types import Row

        async def one(number: int, url: str) -> None:
            (await fetch(Row(number, str(number), url))).close()

        await asyncio.gather(*(one(number, url) for number, url in enumerate(urls)))
    return time.monotonic() - begin


def _command(urls: Sequence[str], folder: Path) -> Usage:
    """The command, as a user runs it."""
    folder.mkdir()
    (folder / "urls.txt").write_text("\n".join(urls))
    program = str(Path(sys.executable).with_name("asyncv2d"))
    usage = measure(
        [
            *(program, "download", "urls.txt", "--input_format", "txt"),
            *("--output_folder", "out", "--output_format", "webdataset"),
            *("--set", "distribution.processes_count=1"),
            *("--set", f"distribution.thread_count={THREADS}"),
        ],
        folder,
    )
    return _ended_well(usage, folder)


def _peer_command(urls: Sequence[str], folder: Path, python: Path) -> Usage:
    """video2dataset, with as many threads."""
    folder.mkdir()
    (folder / "urls.csv").write_text("\n".join(["url", *urls]))
    config = {
        "subsampling": {},
        "reading": {"yt_args": {"download_size": 360}, "timeout": 60, "sampler": None},
        "storage": {
            "number_sample_per_shard": 1000,
            "oom_shard_count": 5,
            "captions_are_subtitles": False,
        },
        "distribution": {
            "processes_count": 1,
            "thread_count": THREADS,
            "subjob_size": 1000,
            "distributor": "multiprocessing",
        },
    }
    arguments = {
        "url_list": str(folder / "urls.csv"),
        "input_format": "csv",
        "output_folder": str(folder / "out"),
        "output_format": "webdataset",
        "encode_formats": {"video": "mp4"},
        "config": config,
    }
    (folder / "arguments.json").write_text(json.dumps(arguments))
    runner = Path(__file__).with_name("peer_run.py")
    usage = measure([str(python), "-P", str(runner), str(folder / "arguments.json")], folder)
    return _ended_well(usage, folder)


def _ended_well(usage: Usage, folder: Path) -> Usage:
    if usage.exit_code != 0:
        raise SystemExit((folder / "log.txt").read_text())
    shutil.rmtree(folder)  # what is written next would cost more if the kernel had to find new room
    return usage


def _bare_command(urls: Sequence[str], folder: Path) -> Usage:
    folder.mkdir()
    (folder / "urls.txt").write_text("\n".join(urls))
    bare = Path(__file__).with_name("bare_loop.py")
    return _ended_well(measure([sys.executable, "-P", str(bare), str(DOWNLOADS)], folder), folder)


def _video(size: int) -> bytes:
    """A small video, made as large as ``size`` by a box that players skip."""
    video = MadeVideo(scenes(1), rate=Fraction(10)).data()
    rest = size - len(video)
    return video if rest < 8 else video + rest.to_bytes(4, "big") + b"free" + bytes(rest - 8)


@contextmanager
def _serving(folder: Path, body: bytes, delay_s: float) -> Iterator[str]:
    """A server in a process of its own."""
    file = folder / f"body-{len(body)}"
    file.write_bytes(body)
    command = [sys.executable, "-P", __file__, "serve", str(file), str(delay_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()


def _serve(file: str, delay_s: str) -> None:
    """Answer each request with the file, after a while; end when standard input does."""
    body = Path(file).read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = head.encode() + body

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            for _ in range(data.count(b"\r\n\r\n")):
                asyncio.get_running_loop().call_later(float(delay_s), self._transport.write, answer)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

    asyncio.run(run())


if __name__ == "__main__":
    main()
