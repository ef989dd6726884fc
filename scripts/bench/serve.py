"""A file server on the loopback interface, in a process of its own.

Its work is no tool's work, so it must not be a child of a command that is measured.
``python serve.py FILE …`` serves the files as /0, /1, …, prints its port, and ends when its
standard input does. It knows ranges, which ffmpeg asks for where a file's index is at its end.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

_HOST = "127.0.0.1"


@contextmanager
def serving(files: Sequence[Path]) -> Iterator[str]:
    """Serve ``files`` by their numbers; gives the address."""
    command = [sys.executable, "-P", __file__, *map(str, files)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://{_HOST}:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    files: ClassVar[list[Path]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        number = self.path.partition("?")[0].lstrip("/")
        if not number.isdecimal() or int(number) >= len(self.files):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with self.files[int(number)].open("rb") as file:
            size = file.seek(0, 2)
            start, stop = self._range(size)
            if start >= max(size, 1):
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            whole = (start, stop) == (0, size)
            self.send_response(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            if not whole:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            if body and stop > start:
                self.connection.sendfile(file, start, stop - start)

    def _range(self, size: int) -> tuple[int, int]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 0, size
        return int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle, as ffmpeg does to seek, is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until standard input ends."""
    _Handler.files = [Path(name) for name in sys.argv[1:]]
    server = _Server((_HOST, 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
