"""The shards that a launcher hands out."""

from __future__ import annotations

import pytest

from asyncv2d.launch.launcher import Control, ShardQueue
from asyncv2d.types import ShardSpec

pytestmark = pytest.mark.anyio


def queue(shards: int) -> ShardQueue:
    """A queue of so many shards."""
    nothing = Control(lambda _: None, lambda _: None, lambda _: None)
    return ShardQueue((ShardSpec(number, "-", 0, 1) for number in range(shards)), 0, nothing)


async def test_shards_that_are_looked_for_are_still_handed_out_in_order() -> None:
    """Looking whether there are more takes none away."""
    shards = queue(3)
    assert await shards.has(2)
    first = await shards.take()
    assert await shards.has(2)
    assert not await shards.has(3)
    assert first is not None
    found = [first.id]
    for _ in range(2):
        spec = await shards.take()
        assert spec is not None
        found.append(spec.id)
    assert found == [0, 1, 2]
    assert not await shards.has(1)
