"""Tests of pictures that are stored turned or mirrored."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

import asyncv2d
from asyncv2d import orientation as module
from asyncv2d.filter_chain import FilterChain
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.orientation import UPRIGHT, Orientation, orientation

EXACT: Mapping[str, Any] = {"ClippingSubsampler": {"args": {"precision": "exact"}}}
STILL: Mapping[str, Any] = {
    "FrameSubsampler": {"downsample_method": "first_frame", "encode_format": "png"}
}
# Where a stored picture's upper left, upper right, lower left and lower right quarters are seen.
MATRICES = {
    "upright": ((1, 0, 0, 1), "0123"),
    "mirrored": ((-1, 0, 0, 1), "1032"),
    "upside down and mirrored": ((1, 0, 0, -1), "2301"),
    "upside down": ((-1, 0, 0, -1), "3210"),
    "on its left side": ((0, 1, -1, 0), "2031"),
    "on its right side": ((0, -1, 1, 0), "1302"),
    "transposed": ((0, 1, 1, 0), "0213"),
    "transposed the other way": ((0, -1, -1, 0), "3120"),
}
QUARTERS = np.array([[0, 80], [160, 240]], np.uint8)


def video(matrix: tuple[int, int, int, int]) -> bytes:
    """Ten frames of four gray quarters, 64 × 48, with a display matrix of these four numbers."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        a, b, c, d = (number << 16 for number in matrix)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for number in range(10):
            pixels = np.kron(QUARTERS, np.ones((24, 32), np.uint8))
            frame = VideoFrame.from_ndarray(np.stack([pixels] * 3, -1), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def quarters(picture: NDArray[Any]) -> str:
    """Which quarter of the stored picture is in each corner of this one."""
    (top, bottom), (left, right) = ((n // 4, n - n // 4) for n in picture.shape)
    corners = picture[[top, top, bottom, bottom], [left, right, left, right]]
    return "".join(str(round(int(corner) / 80)) for corner in corners)


def first_frame(container: InputContainer) -> VideoFrame:
    """The first picture of a file as it is stored."""
    return next(container.decode(video=0))


@pytest.mark.parametrize("job", [EXACT, STILL], ids=["clip", "still"])
@pytest.mark.parametrize(("matrix", "seen"), MATRICES.values(), ids=MATRICES)
def test_a_display_matrix_counts_whole(
    matrix: tuple[int, int, int, int], seen: str, job: Mapping[str, Any]
) -> None:
    """Pictures are turned and mirrored as by a player, and then need it no more."""
    (sample,) = asyncv2d.process(video(matrix), job, clips=[[0, 1]]).samples
    data = next(iter(sample.parts.values())).read()
    with av.open(io.BytesIO(data), "r") as container:
        shown = first_frame(container)
    assert (shown.width, shown.height) == ((48, 64) if matrix[0] == 0 else (64, 48))
    assert quarters(shown.to_ndarray(format="gray")) == seen
    assert orientation(shown) == UPRIGHT


def test_a_matrix_may_change_in_the_middle() -> None:
    """Frames of one size and rotation, mirrored or not, are not taken for each other."""
    chain, seen = FilterChain([], Fraction(1), "yuv420p"), []
    for name in ("upright", "upside down and mirrored", "upright"):
        with av.open(io.BytesIO(video(MATRICES[name][0])), "r") as container:
            frame = first_frame(container)
        assert frame.rotation == 0
        seen.append(quarters(chain(frame).to_ndarray(format="gray")))
    assert seen == ["0123", "2301", "0123"]


@pytest.mark.parametrize("degrees", [-180, -90, 0, 90, 180])
@pytest.mark.parametrize("off", [-0.4, 0, 0.4])
def test_nearly_straight_is_straight(degrees: int, off: float) -> None:
    """A matrix need not be exact."""
    angle = math.radians(degrees + off)
    cosine, sine = (round(part * 65536) for part in (math.cos(angle), math.sin(angle)))
    turned = Orientation(cosine, sine, -sine, cosine)
    assert turned.lies == (degrees % 180 == 90)
    assert len(turned.steps) == {0: 0, 90: 1, 180: 2}[abs(degrees)]


@pytest.mark.parametrize("matrix", [(1, 1, -1, 1), (2, -1, 1, 2), (0, 0, 0, 0)])
def test_what_stands_aslant_stays(matrix: tuple[int, int, int, int]) -> None:
    """Pictures turned by another angle than a right one, or by none that makes sense, stay."""
    turned = Orientation(*matrix)
    assert (turned.lies, turned.steps) == (False, ())


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_side_data_that_cannot_be_read(rotation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is turned as PyAV says where there is side data of a kind it does not know."""
    data = MadeVideo(scenes(0.04), (64, 48), rotation=rotation, audio=None).data()
    with av.open(io.BytesIO(data), "r") as container:
        frame = first_frame(container)
    expected = orientation(frame)

    def refuse(frame: VideoFrame) -> object:
        raise ValueError(f"99 is not a valid Type of {frame}")

    monkeypatch.setattr(module, "_side_data", refuse)
    assert orientation(frame).steps == expected.steps
