"""When a download through yt-dlp is too slow to go on with, over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from threading import Thread

import pytest

from asyncv2d.types import Cause
from asyncv2d_stages.fetch._http.least import Least
from asyncv2d_stages.fetch._ytdlp import pace
from asyncv2d_stages.fetch._ytdlp.guard import RefusedError
from asyncv2d_stages.fetch._ytdlp.pace import Pace, paced

_LEAST = Least(rate=1000, within_s=60)


class _Clock:
    """A clock that stands still, but for the time that is spent."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Download:
    """What becomes of one that waits for so long, and gets so much."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self.pace = Pace(_LEAST, self._clock)

    def wait(self, seconds: float, came: int = 0) -> None:
        """One connection waits."""
        self.pace.begin()
        self.spend(seconds)
        self.pace.end(came)
        self.pace.check()

    def spend(self, seconds: float) -> None:
        """Time goes by."""
        self._clock.now += seconds


@pytest.mark.parametrize("rate", [1000, 1100, 50_000])
def test_slow_but_fast_enough(rate: int) -> None:
    """Such a download goes on for as long as it takes."""
    download = _Download()
    for _ in range(1000):
        download.wait(1.0, rate)


@pytest.mark.parametrize("rate", [1, 100, 900])
def test_too_slow(rate: int) -> None:
    """Ends after the time that the rate is taken over, and none of its connections goes on."""
    download = _Download()
    for _ in range(60):
        download.wait(1.0, rate)
    with pytest.raises(RefusedError, match="fewer than 1000 bytes a second") as caught:
        download.wait(1.0, rate)
    assert caught.value.cause_of_row is Cause.STALLED
    with pytest.raises(RefusedError):
        download.wait(0.0, 1_000_000)


def test_a_fast_one_that_becomes_slow() -> None:
    """Has no credit."""
    download = _Download()
    download.wait(1.0, 1_000_000_000)
    download.wait(60.0, 1)
    with pytest.raises(RefusedError):
        download.wait(1.0, 1)


def test_time_that_is_spent_otherwise() -> None:
    """As in decrypting what came; counts for nothing."""
    download = _Download()
    for _ in range(10):
        download.wait(1.0, 1)
        download.spend(1000.0)


def test_several_connections() -> None:
    """Wait at the same time, which counts once; and what they bring counts together."""
    download = _Download()
    for _ in range(100):
        for _ in range(4):
            download.pace.begin()
        download.spend(20.0)
        for _ in range(4):
            download.pace.end(15_000)
        download.pace.check()


def _serve(listener: socket.socket, answers: list[bytes]) -> None:
    for answer in answers:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)


@contextmanager
def _server(answers: list[bytes]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_serve, args=(listener, answers), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(60)


def _get(port: int) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read()


def test_where_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every connection, as it comes; and no more when the download is done."""
    counting: Callable[..., Pace] = partial(Pace, clock=count(step=10).__next__)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + bytes(300)
    with _server([answer, answer]) as port:
        monkeypatch.setattr(pace, "Pace", counting)
        with paced(Least(rate=0, within_s=2)):
            assert _get(port) == bytes(300)
        with paced(Least(rate=1000, within_s=2)), pytest.raises(RefusedError):
            _get(port)
    with _server([answer]) as port:
        assert _get(port) == bytes(300)
