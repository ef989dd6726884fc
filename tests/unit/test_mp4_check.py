"""A file that is called good without FFmpeg is one that FFmpeg takes."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.mp4_check import is_good_video
from asyncv2d.probe import open_media
from asyncv2d.types import Blob, ItemError

SHORT = scenes(0.4)
GOOD = {
    "h264": MadeVideo(SHORT),
    "h265": MadeVideo(SHORT, codec="libx265"),
    "vp9": MadeVideo(SHORT, codec="libvpx-vp9"),
    "mpeg4": MadeVideo(SHORT, codec="mpeg4"),
    "silent": MadeVideo(SHORT, audio=None),
    "quicktime": MadeVideo(SHORT, container="mov"),
    "uneven": MadeVideo(SHORT, uneven=True, b_frames=2),
}
UNSURE = {
    "sound alone": MadeVideo(SHORT, codec=None),
    "fragmented": MadeVideo(SHORT, options=(("movflags", "frag_keyframe+empty_moov"),)),
    "matroska": MadeVideo(SHORT, container="matroska"),
}


def says(data: bytes) -> bool:
    """What is said of a file with this content."""
    return is_good_video(io.BytesIO(data))


@pytest.fixture(scope="module")
def made() -> Mapping[str, bytes]:
    """Each of the good files."""
    return {name: video.data() for name, video in GOOD.items()}


@pytest.mark.parametrize("name", GOOD)
def test_good_videos(made: Mapping[str, bytes], name: str) -> None:
    """The usual codecs in MP4, with and without sound, whatever the order of the boxes."""
    assert says(made[name])


@pytest.mark.parametrize("name", UNSURE)
def test_what_takes_a_closer_look(name: str) -> None:
    """Other containers, and files without a picture, are not called good."""
    assert not says(UNSURE[name].data())


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"<!doctype html>", b"\0\0\0\x08moov"])
def test_scraps(data: bytes) -> None:
    """What is no MP4 is no error either."""
    assert not says(data)


@pytest.mark.parametrize("box", [b"mvhd", b"mdhd", b"stsd", b"stco", b"stsz"])
def test_an_empty_box(made: Mapping[str, bytes], box: bytes) -> None:
    """Where something should be in it, the file is none to be sure of."""
    data = made["h264"]
    at = data.index(box) - 4
    length = int.from_bytes(data[at : at + 4], "big")
    empty = b"\0\0\0\x08" + box + (length - 8).to_bytes(4, "big") + b"free"
    assert not says(data[:at] + empty + data[at + 16 :])


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_more_boxes_than_anybody_needs(made: Mapping[str, bytes], where: str) -> None:
    """They are there to keep readers busy, and are not counted to the end."""
    many, data = b"\0\0\0\x08free" * 2000, made["silent"]
    if where == "beside":
        assert not says(data + many)
        return
    at = data.index(b"moov") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    larger = (length + len(many)).to_bytes(4, "big")
    assert not says(data[:at] + larger + data[at + 4 : at + length] + many + data[at + length :])


@given(name=st.sampled_from([*GOOD]), share=st.floats(0, 0.999))
def test_a_file_that_is_cut_off(made: Mapping[str, bytes], name: str, share: float) -> None:
    """It is never called good, wherever the cut is."""
    data = made[name]
    assert not says(data[: int(len(data) * share)])


changes = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4)


@given(name=st.sampled_from([*GOOD]), changes=changes)
def test_a_file_with_damaged_headers(
    made: Mapping[str, bytes], name: str, changes: list[tuple[float, int]]
) -> None:
    """Where bytes of the headers are changed, FFmpeg opens whatever is still called good."""
    damaged = bytearray(made[name])
    start = damaged.index(b"moov") - 4
    length = int.from_bytes(damaged[start : start + 4], "big")
    for share, value in changes:
        damaged[start + int(share * length)] = value
    if says(bytes(damaged)):
        assert has_picture(bytes(damaged))


def has_picture(data: bytes) -> bool:
    """Whether FFmpeg finds a video in the file."""
    try:
        with open_media(Blob.of(data)) as media:
            return media.video is not None and not media.truncated
    except ItemError:
        return False
