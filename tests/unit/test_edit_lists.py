"""Tests of MP4 files whose edit list shows only parts of them, or later than they begin."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import av
import pytest

from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Processed, Sample

Run = Callable[..., Processed]


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def clipping(precision: str) -> dict[str, dict[str, Any]]:
    """A job that only cuts."""
    return {"Clipping": {"precision": precision}}


def edited(data: bytes, *edits: tuple[float, float], delay: float = 0.0) -> bytes:
    """The file with an edit list of these parts of its picture, in seconds.

    They are shown one after the other, from ``delay`` on.
    """
    at = data.index(b"elst") - 4
    old, _name, _flags, _count, _length, first = struct.unpack_from(">I4sIIIi", data, at)
    (movie,) = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)
    (scale,) = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
    parts = [(end - start, first + round(start * scale)) for start, end in edits]
    if delay:
        parts.insert(0, (delay, -1))
    entries = b"".join(
        struct.pack(">Iii", round(length * movie), media_time, 1 << 16)
        for length, media_time in parts
    )
    box = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(parts)) + entries
    whole = bytearray(data[:at] + box + data[at + old :])
    for name in (b"edts", b"trak", b"moov"):
        place = whole.index(name) - 4
        (size,) = struct.unpack_from(">I", whole, place)
        struct.pack_into(">I", whole, place, size + len(box) - old)
    return bytes(whole)


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_parts_that_an_edit_list_leaves_out_in_the_middle(
    precision: str, b_frames: int, run: Run
) -> None:
    """Are in no clip: what spans the joint is encoded."""
    made = MadeVideo(scenes(6), b_frames=b_frames, audio=None)
    data = edited(made.data(), (0, 2), (4, 6))
    (sample,) = run(data, clipping(precision), [[1, 3]]).samples
    assert numbers(sample) == [*range(25, 50), *range(100, 125)]


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(("delay", "length"), [(0.0, 3.0), (0.72, 3.0), (2.52, 5.2), (0.72, 6.0)])
def test_a_picture_that_begins_late_ends_when_it_is_over(
    delay: float, length: float, b_frames: int, precision: str, run: Run
) -> None:
    """A clip shows nothing that is hidden at the end, nor its last picture for the delay."""
    made = MadeVideo(scenes(6), (64, 48), b_frames=b_frames)
    data = edited(made.data(), (0, length), delay=delay)
    (sample,) = run(data, clipping(precision), [[0, 99]]).samples
    found, (begin, end) = numbers(sample), sample.meta["receipt"]["real"]
    missing = round(length * 25) - len(found)  # copies lose what refers to hidden frames
    assert found == list(range(len(found)))
    assert 0 <= missing <= (0 if precision == "exact" else b_frames)
    assert (begin, end + missing / 25) == pytest.approx((delay, delay + length), abs=0.01)


@pytest.mark.parametrize("interval", [5, 25])
def test_scenes_of_such_a_picture_end_with_it(interval: int, run: Run) -> None:
    """So does what is found while it is decoded."""
    made = MadeVideo(scenes(2, 4), (64, 48), b_frames=2, keyframe_interval=interval)
    data = edited(made.data(), (0, 3), delay=0.72)
    (sample,) = run(data, {"CutDetection": {}}).samples
    cuts = [second for cut in sample.meta["cuts_seconds"] for second in cut]
    assert cuts == pytest.approx([0.72, 2.72, 2.72, 3.72], abs=0.01)
