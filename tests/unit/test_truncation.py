"""Tests of telling that a file ends too early."""

from __future__ import annotations

import io

import pytest

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.truncation import is_truncated, looks_like_media

VIDEOS = {
    "mp4": MadeVideo(scenes(0.4)),
    "fragmented": MadeVideo(scenes(0.4), options=(("movflags", "frag_keyframe+empty_moov"),)),
    "matroska": MadeVideo(scenes(0.4), container="matroska"),
    "webm": MadeVideo(scenes(0.4), codec="libvpx", audio="libopus", container="webm"),
    "avi": MadeVideo(scenes(0.4), codec="mpeg4", audio="libmp3lame", container="avi"),
    "asf": MadeVideo(scenes(0.4), codec="wmv2", audio="libmp3lame", container="asf"),
    "mpeg-1": MadeVideo(scenes(0.4), codec="mpeg1video", audio="mp2", container="mpeg"),
    "mpeg-2": MadeVideo(scenes(0.4), codec="mpeg2video", audio="ac3", container="vob"),
}


@pytest.fixture(params=VIDEOS, scope="module")
def whole(request: pytest.FixtureRequest) -> bytes:
    """A whole file of each kind."""
    return VIDEOS[request.param].data()


def test_a_whole_file_is_not_truncated(whole: bytes) -> None:
    """A file as it was written is whole."""
    assert not is_truncated(io.BytesIO(whole))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
def test_a_cut_file_is_truncated(whole: bytes, share: float) -> None:
    """A file that lost its end is recognised by its own sizes.

    The last bits keep the cut from between two packs, where it cannot be seen.
    """
    assert is_truncated(io.BytesIO(whole[: int(len(whole) * share) | 7]))


def test_one_lost_byte_is_noticed(whole: bytes) -> None:
    """Even the last byte counts."""
    assert is_truncated(io.BytesIO(whole[:-1]))


@pytest.mark.parametrize("tail", [b"\0" * 64, b"TAG of another program", b"\xff" * 9])
def test_bytes_after_the_end_are_no_truncation(tail: bytes) -> None:
    """What other programs append says nothing of the file's length."""
    assert not is_truncated(io.BytesIO(VIDEOS["mp4"].data() + tail))


def test_a_riff_of_unknown_length_is_not_truncated() -> None:
    """A RIFF file that was written into a pipe does not know its length."""
    assert not is_truncated(io.BytesIO(b"RIFF\xff\xff\xff\xffWAVEfmt "))


@pytest.mark.parametrize("data", [b"", b"\0", b"ab", b"\x1a\x45\xdf\xa3", b"RIFF", b"\0" * 20])
def test_scraps_are_no_error(data: bytes) -> None:
    """A few bytes, or none, are judged without an exception."""
    assert not is_truncated(io.BytesIO(data))


def test_media_is_told_from_text(whole: bytes) -> None:
    """The first bytes tell a media file from a web page."""
    assert looks_like_media(whole[:192])
    assert not looks_like_media(
        b"<!doctype html><html><head><title>Not found</title></head></html>"
    )
    assert not looks_like_media(b"")


def test_a_page_in_utf_16_is_no_sound() -> None:
    """The mark at its beginning is much like that of MPEG audio."""
    assert not looks_like_media("<html><body>not found</body></html>".encode("utf-16"))
