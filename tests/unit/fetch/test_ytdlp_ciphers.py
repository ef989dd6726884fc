"""The real yt-dlp, and segments of HLS that are encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncv2d.spool import Spool
from asyncv2d.types import Cause, Fetched, ItemError
from asyncv2d_stages.fetch._ytdlp.ciphers import Filling, check_encryption
from tests.unit.fetch.test_ytdlp_site import LOW, Site, frames, outcomes, write_segments

pytestmark = pytest.mark.anyio

_KEY = b"0123456789abcdef"
_FULL = bytes([16] * 16)
_PACKETS = 4 * (b"G" + bytes(187))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in encrypted segments."""
    folder = tmp_path_factory.mktemp("site")
    pattern = str(folder / "part%d.ts")
    options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": pattern}
    write_segments(LOW, folder / "list.m3u8", "hls", options)
    text = (folder / "list.m3u8").read_text()
    key = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key"\n#EXTINF'
    (folder / "sample-aes.m3u8").write_text(text.replace("#EXTINF", key, 1))
    _encrypt(folder, text)
    return folder


def _encrypt(folder: Path, playlist: str) -> None:
    from yt_dlp.aes import aes_cbc_encrypt_bytes

    for number in range(playlist.count("#EXTINF")):
        data = (folder / f"part{number}.ts").read_bytes()
        cipher = aes_cbc_encrypt_bytes(data, _KEY, number.to_bytes(16, "big"))
        (folder / f"cipher{number}.ts").write_bytes(cipher)
    (folder / "key.txt").write_bytes(_KEY)
    key = '#EXT-X-KEY:METHOD=AES-128,URI="key.txt"\n#EXTINF'
    text = playlist.replace("#EXTINF", key, 1).replace("part", "cipher")
    (folder / "aes.m3u8").write_text(text)
    whole = (folder / "cipher1.ts").read_bytes()
    (folder / "cut1.ts").write_bytes(whole[: len(whole) // 32 * 16])
    (folder / "aes-cut.m3u8").write_text(text.replace("cipher1", "cut1"))


@pytest.fixture
def site(files: Path) -> Iterator[Site]:
    """A site of its own for each test."""
    with Site(files) as site:
        yield site


async def test_a_cipher(site: Site, spool: Spool) -> None:
    """Looks like nothing, and is taken; its key may be a text."""
    (fetched,) = await outcomes(spool, [site.url("aes.m3u8")])
    assert isinstance(fetched, Fetched), fetched
    assert frames(fetched) == list(range(35))
    fetched.close()


async def test_a_cipher_that_is_cut_off(site: Site, spool: Spool) -> None:
    """Between two of its blocks, is noticed once it is decrypted, and costs an attempt."""
    (error,) = await outcomes(spool, [site.url("aes-cut.m3u8")], retries=1)
    assert isinstance(error, ItemError), error
    assert (error.cause, error.attempts) == (Cause.TRUNCATED, 2)
    assert "an encrypted segment is cut off" in error.detail


def test_what_fills_the_last_block() -> None:
    """Says in each byte how much it is; what ends in anything else was cut off."""
    assert Filling().without(bytes(15) + b"\1") == bytes(15)
    assert Filling().without(bytes(16) + _FULL) == bytes(16)
    for data in (b"", _FULL, bytes(16), bytes([17] * 32), bytes(14) + b"\1\2", _PACKETS[:-16]):
        with pytest.raises(ItemError, match="cut off") as caught:
            Filling().without(data)
        assert caught.value.cause is Cause.TRUNCATED


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_in_the_last_block(order: int) -> None:
    """Is no harm behind whole packets, if no other segment has a block of it."""
    filling = Filling()
    assert filling.without(_PACKETS) == filling.without(_PACKETS) == _PACKETS
    assert filling.without(_PACKETS[:188] + b"\4" * 4) == _PACKETS[:188]
    one, other = [_PACKETS, _PACKETS + _FULL][::order]
    filling = Filling()
    assert filling.without(one) == _PACKETS
    with pytest.raises(ItemError, match="cut off"):
        filling.without(other)


async def test_segments_that_cannot_be_decrypted(site: Site, spool: Spool) -> None:
    """Are no form that can be downloaded, and no other program is asked for."""
    (error,) = await outcomes(spool, [site.url("sample-aes.m3u8")])
    assert isinstance(error, ItemError), error
    assert error.cause is Cause.NO_FORMAT
    assert "SAMPLE-AES" in error.detail
    check_encryption('#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXT-X-KEY:METHOD=NONE\n')
    with pytest.raises(ItemError, match="SAMPLE-AES-CTR"):
        check_encryption('#EXT-X-KEY:URI="key",METHOD=SAMPLE-AES-CTR\n')
