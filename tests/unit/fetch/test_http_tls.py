"""Encrypted connections: whom they are believed to lead to."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from asyncv2d.types import Cause

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command
    from tests.unit.fetch.conftest import Downloads

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that no system knows."""
    return trustme.CA()


class _Server(ThreadingHTTPServer):
    """In threads: asyncio reports a client that hangs up in the handshake as an error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who does not trust the certificate, hangs up; that alone is no error here."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


@contextmanager
def serving(body: bytes, certificate: trustme.LeafCert) -> Iterator[int]:
    """A server with this certificate on this machine; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with _Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def test_an_unknown_authority(
    downloads: Downloads, videos: Mapping[str, bytes], authority: trustme.CA
) -> None:
    """A certificate that nobody vouches for is refused, unless the user says otherwise."""
    certificate = authority.issue_cert("localhost")
    with serving(videos["short.mp4"], certificate) as port:
        url = f"https://localhost:{port}/a.mp4"
        error = await downloads.failure(url, ip_version=4)
        data, _ = await downloads.one(url, ip_version=4, verify_tls=False)
    assert (error.cause, error.attempts) == (Cause.TLS, 1)
    assert data == videos["short.mp4"]


async def test_no_tls_at_all(downloads: Downloads) -> None:
    """A server that answers in plain text has no certificate to show."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await downloads.failure(f"https://127.0.0.1:{port}/a.mp4")
    assert error.cause is Cause.TLS


@pytest.mark.parametrize(("names", "code"), [(["localhost"], 1), (["elsewhere.test"], 0)])
async def test_the_authorities_of_the_system(
    command: Command,
    tmp_path: Path,
    videos: Mapping[str, bytes],
    authority: trustme.CA,
    names: list[str],
    code: int,
) -> None:
    """A certificate of an authority that the system knows is good for the names in it only."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with serving(videos["short.mp4"], authority.issue_cert(*names)) as port:
        (tmp_path / "urls.txt").write_text(f"https://localhost:{port}/a.mp4")
        ok = await asyncio.to_thread(_rows_ok, command, tmp_path)
    assert ok == code


def _rows_ok(command: Command, folder: Path) -> int:
    """How many rows a run with the authority among the system's brings."""
    run = command.run(
        "download",
        folder / "urls.txt",
        *("--output_folder", folder / "out", "--set", "reading.ip_version=4"),
        environment={"SSL_CERT_FILE": str(folder / "authority.pem")},
    )
    assert run.code == 0
    return int("1 rows: 1 ok" in run.err)
