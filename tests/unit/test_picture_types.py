"""Tests of what packets say of their pictures, and of copying from files that say it wrongly."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import pytest

from asyncv2d.copying import can_copy
from asyncv2d.index import read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.picture_types import is_intra_picture, refers_to_nothing
from asyncv2d.probe import open_media
from asyncv2d.types import Blob, Processed

Run = Callable[..., Processed]
FRAGMENTS = (("movflags", "frag_keyframe+empty_moov"),)


@pytest.mark.parametrize(
    ("packet", "stands_alone"),
    [
        (b"\0\0\1\xb6\x10", True),
        (b"\0\0\1\xb3\0\0\1\xb6\x3f", True),
        (b"\0\0\1\xb6\x40", False),
        (b"\0\0\1\xb6\x80\0\0\1\xb6\x10", False),
        (b"\0\0\1\xb6", True),
        (b"\0\0\x80\x02", True),
        (b"", True),
    ],
)
def test_pictures_of_mpeg_4_say_what_they_refer_to(packet: bytes, stands_alone: bool) -> None:
    """The first one counts; what says nothing is believed to be what it is marked as."""
    assert refers_to_nothing(packet) == stands_alone


@pytest.mark.parametrize(
    ("packet", "stands_alone"),
    [
        (b"\0\0\1\0\0\x0f", True),
        (b"\0\0\1\xb3\x16\0\0\1\xb8\0\x08\0\0\1\0\xc0\x4f", True),
        (b"\0\0\1\0\0\xd7\0\0\1\0\0\x0f", False),
        (b"\0\0\1\0\0\x5f", False),
        (b"\0\0\1\0\0", True),
        (b"", True),
    ],
)
def test_pictures_of_mpeg_2_say_what_they_are(packet: bytes, stands_alone: bool) -> None:
    """An I, a P or a B picture, after its number."""
    assert is_intra_picture(packet) == stands_alone


def all_marked(codec: str, *, fragmented: bool = False) -> bytes:
    """An MP4 file that marks all packets as keyframes."""
    options = FRAGMENTS if fragmented else ()
    made = MadeVideo(scenes(6), codec=codec, b_frames=2, audio=None, options=options)
    data = made.data().replace(b"stss", b"free")  # it is said of all where no table says of which
    changed = data.replace(b"\1\1\0\0", b"\2\0\0\0") if fragmented else data
    with av.open(io.BytesIO(changed), "r") as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    return changed


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted"])
@pytest.mark.parametrize(
    ("codec", "fragmented"),
    [("libx265", False), ("libx265", True), ("mpeg2video", False), ("mpeg4", False)],
)
def test_copies_begin_with_pictures_that_stand_alone(
    codec: str, fragmented: bool, precision: str, run: Run
) -> None:
    """Though the file marks all as such; the copies do not."""
    data = all_marked(codec, fragmented=fragmented)
    job = {"Clipping": {"precision": precision}}
    for sample in run(data, job, [[1.1, 3.1], [4.0, 99]]).samples:
        with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
            marks = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
            container.seek(0)
            found = [
                read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)
            ]
        assert found == list(range(found[0], found[0] + len(found)))
        assert found[0] % 12 == 0
        assert sample.meta["receipt"]["frames"] == len(found) == len(marks)
        assert sum(marks) == -(-len(found) // 12)


def test_marks_of_codecs_that_are_not_looked_into_are_no_reason_to_copy() -> None:
    """Where they are on all packets, and the codec has B-frames."""
    data = all_marked("mpeg4")
    before, codec, after = data.partition(b"\x20\x11")  # what an MP4 file says of its codec
    for changed, can in ((data, True), (before + codec.replace(b"\x20", b"\xa3") + after, False)):
        with open_media(Blob.of(changed)) as media:
            assert can_copy(media, read_index(media)) == can
