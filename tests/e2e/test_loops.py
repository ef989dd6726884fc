"""What several loop processes of one run share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Server

Until = Callable[..., None]
SHARD = 40  # more rows than a loop has in hand, so that each loop is in a shard of its own
HELD = "127.0.0.1"
OTHER = "localhost"


def rows(server: Server, shards: int) -> list[str]:
    """Rows of a host that holds its answers back, and in each shard one of another host."""
    urls = [server.url_at(HELD, f"hold/short.mp4?{number}") for number in range(shards * SHARD)]
    for shard in range(shards):
        # Behind more rows than may be asked for: when it is, so are all that may.
        urls[shard * SHARD + 9] = server.url_at(OTHER, f"ok/short.mp4?{shard}")
    return urls


@pytest.mark.parametrize("connections", [1, 4])
def test_all_loops_together_ask_a_host_for_no_more_than_it_may_be_asked(
    command: Command, server: Server, until: Until, tmp_path: Path, connections: int
) -> None:
    """Each loop has its part of the requests that one host may get at a time, and uses it.

    There are no more loops than that.
    """
    (tmp_path / "urls.txt").write_text("\n".join(rows(server, 3)))
    run = command.start(
        *("download", tmp_path / "urls.txt", "--output_folder", tmp_path / "out"),
        *("--set", f"storage.number_sample_per_shard={SHARD}", "--set", "distribution.loops=2"),
        *("--set", "distribution.downloads=16", "--set", "distribution.waiting_rows=12"),
        *("--set", f"reading.host_connections={connections}"),
    )
    until(lambda: server.most_at_once[HELD] >= connections)
    until(
        lambda: all(server.count(f"ok/short.mp4?{shard}") for shard in range(min(2, connections)))
    )
    server.release("hold/short.mp4")
    assert run.code == 0, run.err
    assert f"{3 * SHARD} rows: {3 * SHARD} ok" in run.err
    assert server.most_at_once[HELD] == connections
