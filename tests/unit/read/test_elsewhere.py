"""Reading tables from real servers."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asyncv2d.inputs import find_inputs
from asyncv2d.ports import Reader
from asyncv2d.registry import load
from asyncv2d.types import UserError

URLS = [f"http://host/{number * 7919 % 1_000_003}" for number in range(300_000)]
TEXT = "".join(f"{url}\n" for url in URLS).encode()


class _Handler(BaseHTTPRequestHandler):
    """Gives whole files only."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        body = self._answer()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the reader has what it wants

    def _answer(self) -> bytes:
        is_there = not self.path.startswith("/not")
        body = gzip.compress(TEXT, 1) if self.path.endswith("gz") else TEXT
        body = body if is_there else b""
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server that gives no parts of files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def reader(url: str) -> Reader:
    """The reader of what is there."""
    kind, paths = find_inputs(url, None)
    return cast(Reader, load("read", kind).model_validate({"paths": paths, "columns": ["url"]}))


def read(of: Reader) -> list[str]:
    """All URLs, of the last shard first."""
    shards = list(of.shards(70_000))
    found = [[record.columns["url"] for record in of.records(shard)] for shard in shards[::-1]]
    in_order = [[record.columns["url"] for record in of.records(shard)] for shard in shards]
    assert in_order == found[::-1]
    return [url for urls in in_order for url in urls]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_server_that_gives_whole_files_only(web: str, name: str) -> None:
    """Is read from front to back, as often as that is needed."""
    assert read(reader(f"{web}/{name}")) == URLS


def test_a_file_that_the_server_does_not_have(web: str) -> None:
    """Is told in one line."""
    with pytest.raises(UserError, match="cannot read the input file: No such file"):
        read(reader(f"{web}/not.txt"))


def test_a_bucket(s3_url: str) -> None:
    """A folder of compressed text, and Parquet by a pattern, are read from S3."""
    for number, part in enumerate((URLS[:100_000], URLS[100_000:])):
        with fsspec.open(f"{s3_url}/in/{number}.txt.gz", "wb") as file:
            file.write(gzip.compress("\n".join(part).encode(), 1))
        with fsspec.open(f"{s3_url}/in/{number}.pq", "wb") as file:
            pq.write_table(pa.table({"url": part}), file, row_group_size=30_000)
    assert read(reader(f"{s3_url}/in/*.gz")) == URLS
    assert read(reader(f"{s3_url}/in/*.pq")) == URLS
    with pytest.raises(UserError, match="parquet and txt files; choose with --input_format"):
        reader(f"{s3_url}/in")
    with pytest.raises(UserError, match="no such input file"):
        reader(f"{s3_url}/out")
