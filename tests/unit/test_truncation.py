"""Tests of telling that a file ends too early."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
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


_TS = MadeVideo(scenes(0.4), container="mpegts")


@pytest.mark.parametrize("tail", [b"", b"\r\n", bytes(7), bytes(100), b"x" * 187], ids=len)
def test_a_transport_stream_of_segments(tail: bytes) -> None:
    """Each may have something else behind it that is shorter than a packet."""
    data, middle = _TS.data(), 188 * 20
    joined = data[:middle] + tail + data[middle:]
    assert not is_truncated(io.BytesIO(joined + tail))
    for lost in (1, 100, 187):
        assert is_truncated(io.BytesIO(joined[:-lost]))
        assert is_truncated(io.BytesIO(data[:middle] + tail + data[middle : middle + 500 - lost]))


_FRAGMENTED = MadeVideo(
    scenes(2),
    rate=Fraction(5),
    keyframe_interval=2,
    audio=None,
    options=(("movflags", "frag_keyframe+empty_moov+default_base_moof"),),
)


def _boxes(data: bytes) -> list[bytes]:
    """The outermost boxes of an MP4."""
    boxes = []
    while data:
        length = int.from_bytes(data[:4], "big")
        boxes.append(data[:length])
        data = data[length:]
    return boxes


@pytest.fixture(scope="module")
def segments() -> list[bytes]:
    """A video in five fragments of two frames each; before them, what is said once of all."""
    first, moov, *fragments = _boxes(_FRAGMENTED.data())
    parts = [fragments[at] + fragments[at + 1] for at in range(0, 10, 2)]
    return [first + moov, *parts, b"".join(fragments[10:])]


def _frames(data: bytes) -> int:
    """How many frames FFmpeg finds, whatever is missing."""
    with av.open(io.BytesIO(data), "r") as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a web page": lambda _: b"<!doctype html><html>Please log in</html>",
    "zeros": lambda part: bytes(len(part)),
    "half of it": lambda part: part[: len(part) // 2],
    "its description alone": lambda part: _boxes(part)[0],
    "its description, then a page": lambda part: _boxes(part)[0] + b"<html>Please log in</html>",
    "without its last bytes": lambda part: part[:-3],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("number", range(1, 5))
def test_a_damaged_fragment_before_others(
    segments: list[bytes], number: int, damage: Callable[[bytes], bytes]
) -> None:
    """Hides those that follow, which FFmpeg does not say, or cannot be decoded."""
    parts = [*segments[:number], damage(segments[number]), *segments[number + 1 :]]
    assert is_truncated(io.BytesIO(b"".join(parts)))


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in ("a web page", "zeros")])
def test_a_damaged_last_fragment(segments: list[bytes], name: str) -> None:
    """Is noticed where it still can be told from what other programs append."""
    assert is_truncated(io.BytesIO(b"".join([*segments[:5], DAMAGES[name](segments[5])])))


@pytest.mark.parametrize(
    "between",
    [
        b"",
        *(bytes([0, 0, 0, 12]) + name + b"abcd" for name in (b"free", b"sidx", b"emsg", b"VNDR")),
    ],
)
@pytest.mark.parametrize("tail", [b"", b"\0" * 5, b"\0" * 5000, b"TAG of another program"])
def test_a_whole_file_of_fragments(segments: list[bytes], between: bytes, tail: bytes) -> None:
    """May have further boxes, also of its maker's own, and padding at its end."""
    data = between.join(segments) + tail
    assert _frames(data) == 10
    assert not is_truncated(io.BytesIO(data))


def test_data_before_its_description() -> None:
    """A fragment's data may lie there, too, or behind the description of another one."""
    description = b"moof\0\0\0\x08mfhd\0\0\0\x14trun\0\0\0\x01\0\0\0\x01"
    data = b"\0\0\0\x0cmdatabcd"

    def pointing(offset: int) -> bytes:
        return b"\0\0\0\x24" + description + offset.to_bytes(4, "big", signed=True)

    head = b"\0\0\0\x0cftypisom"
    assert not is_truncated(io.BytesIO(head + (data + pointing(-4)) * 2))
    assert not is_truncated(io.BytesIO(head + pointing(80) + pointing(44) + data))
    assert is_truncated(io.BytesIO(head + pointing(44) + pointing(44) + data))


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
