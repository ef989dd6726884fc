"""Bodies, as they are sent."""

from __future__ import annotations

import gzip

import pytest

from asyncv2d.types import Cause, ItemError
from asyncv2d_stages.fetch._http.body import Unpacker, is_plain


@pytest.mark.parametrize(
    "encoding",
    [
        *("", "identity", "IDENTITY ", "none", "identity, identity", "aws-chunked", "binary"),
        *("utf-8", "UTF8", "8bit", "7bit"),
    ],
)
def test_plain(encoding: str) -> None:
    """What servers put there that says nothing of compression."""
    assert is_plain(encoding)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_not_plain(encoding: str) -> None:
    """What is compressed is not taken as it is."""
    assert not is_plain(encoding)


def test_beside_others() -> None:
    """One compression is undone, and two are not."""
    unpacker = Unpacker("aws-chunked, gzip")
    assert b"".join(unpacker.feed(gzip.compress(b"body"))) == b"body"
    unpacker.finish()
    with pytest.raises(ItemError) as caught:
        Unpacker("gzip, gzip")
    assert caught.value.cause is Cause.CORRUPT
