"""The small picture of a frame for cut detection, as PySceneDetect with OpenCV would see it.

OpenCV converts the whole frame to BGR and shrinks it bilinearly, which reads four pixels, or one,
for each pixel of the result. Only those are taken from the decoder's planes here and converted,
with the same arithmetic, so scores against a threshold come out the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from asyncv2d.media import Picture, Size

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BYTE = 8
_LAYOUTS = ("420p", "422p", "440p", "444p")


class _Matrix(NamedTuple):
    """ITU-R BT.601 as FFmpeg's scaler has it: the value of black, and factors in units of 2⁻¹³.

    OpenCV's video reader uses it for every video, whatever the file says.
    """

    black: int
    y: int
    cb_to_blue: int
    cb_to_green: int
    cr_to_green: int
    cr_to_red: int


_LIMITED_MATRIX = _Matrix(16, 9539, 16525, -3209, -6660, 13074)
_FULL_MATRIX = _Matrix(0, 8192, 14516, -2819, -5850, 11485)


class _Tables(NamedTuple):
    """What each value of Y, Cb and Cr adds to the colours, on the scale of 0 to 255."""

    y: NDArray[np.float32]
    cb_to_blue: NDArray[np.float32]
    cb_to_green: NDArray[np.float32]
    cr_to_green: NDArray[np.float32]
    cr_to_red: NDArray[np.float32]


class _Grid(NamedTuple):
    """For each pixel of the result, the pixels of a plane that count: where they are, and how much.

    Both arrays have the shape (1, 2 or 4 pixels, height × width of the result).
    """

    places: NDArray[np.intp]
    weights: NDArray[np.float32]


class SmallView:
    """Makes frames about ``width`` pixels wide, as BGR of shape (h, w, 3).

    Where a frame's shape differs from the first one's, the view keeps the size of the first.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._size: Size | None = None

    def __call__(self, frame: VideoFrame) -> Picture:
        """The small picture of ``frame``."""
        if self._size is None:
            factor = max(1, frame.width // self._width)
            self._size = Size(round(frame.width / factor), max(1, round(frame.height / factor)))
        if self._size == (frame.width, frame.height):
            return frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        return _shrunk(_colours(frame, self._size), frame, self._size)


def _colours(frame: VideoFrame, size: Size) -> list[NDArray[Any]]:
    """Blue, green and red of the pixels that count, each in the shape of the grid."""
    if not _is_readable(frame.format):
        whole = frame.to_ndarray(format="bgr24").reshape(-1, 3)
        places = _grid(Size(frame.width, frame.height), frame.width, size).places
        return [whole[:, channel].take(places) for channel in range(3)]
    y, cb, cr = (_pixels(frame, plane, size) for plane in frame.planes[:3])
    tables = _tables(_depth(frame), _is_full_range(frame), _has_halved_colour(frame))
    luma = tables.y.take(y)
    blue = luma + tables.cb_to_blue.take(cb)
    green = luma + tables.cb_to_green.take(cb) + tables.cr_to_green.take(cr)
    red = luma + tables.cr_to_red.take(cr)
    return [blue, green, red]


def _shrunk(colours: list[NDArray[Any]], frame: VideoFrame, size: Size) -> Picture:
    weights = _grid(Size(frame.width, frame.height), frame.width, size).weights
    picture = np.empty((size.width * size.height, 3), np.uint8)
    for channel, colour in enumerate(colours):
        mean = np.einsum("ij,ij->j", np.clip(colour, 0, 255), weights)
        picture[:, channel] = mean + 0.5
    return picture.reshape(size.height, size.width, 3)


def _is_readable(fmt: VideoFormat) -> bool:
    """Whether it is planar YUV with whole or halved colour, stored as this machine reads it."""
    layout = fmt.name.removeprefix("yuv").lstrip("aj")
    return fmt.name.startswith("yuv") and layout.startswith(_LAYOUTS) and not fmt.is_big_endian


def _is_full_range(frame: VideoFrame) -> bool:
    return frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE


def _has_halved_colour(frame: VideoFrame) -> bool:
    return frame.planes[1].width < frame.width


def _depth(frame: VideoFrame) -> int:
    return frame.format.components[0].bits


def _pixels(frame: VideoFrame, plane: VideoPlane, size: Size) -> NDArray[Any]:
    """The pixels of a plane that count."""
    kind: np.dtype[Any] = np.dtype(np.uint8 if _depth(frame) == _BYTE else "<u2")
    halved = plane.width < frame.width, plane.height < frame.height
    whole = Size(frame.width, frame.height)
    places = _grid(whole, plane.line_size // kind.itemsize, size, *halved).places
    return np.frombuffer(memoryview(plane), kind).take(places)


@lru_cache(maxsize=64)
def _grid(
    whole: Size, stride: int, small: Size, half_width: bool = False, half_height: bool = False
) -> _Grid:
    """The grid for a plane of a picture of size ``whole``; a halved plane covers the same area."""
    rows, row_weights = _neighbours(whole.height, small.height)
    columns, column_weights = _neighbours(whole.width, small.width)
    places = [
        ((row >> half_height)[:, None] * stride + (column >> half_width)).ravel()
        for row in rows
        for column in columns
    ]
    weights = [np.outer(a, b).ravel() for a in row_weights for b in column_weights]
    return _Grid(np.stack(places), np.stack(weights).astype(np.float32))


def _neighbours(
    length: int, wanted: int
) -> tuple[list[NDArray[np.intp]], list[NDArray[np.float64]]]:
    """For ``wanted`` pixels, their two neighbours in the line they are made from, and the shares.

    Where each falls on one pixel exactly, that one alone.
    """
    centre = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
    low = np.clip(np.floor(centre), 0, length - 1).astype(np.intp)
    share = centre - low
    if not share.any():
        return [low], [np.ones(wanted)]
    return [low, np.minimum(low + 1, length - 1)], [1 - share, share]


@lru_cache(maxsize=16)
def _tables(depth: int, full_range: bool, halved_colour: bool) -> _Tables:
    """The tables for values of ``depth`` bits.

    Where colour is stored halved, FFmpeg rounds each product down before adding them up; without
    that the picture would be up to 1.5 brighter, which shifts the score of dark scenes by several.
    """
    matrix = _FULL_MATRIX if full_range else _LIMITED_MATRIX
    values = np.arange(1 << depth) / (1 << (depth - _BYTE))
    cut = np.floor if halved_colour else np.positive

    def table(zero: int, factor: int) -> NDArray[np.float32]:
        products: NDArray[np.float64] = cut((values - zero) * factor / 8192)
        return products.astype(np.float32)

    return _Tables(
        y=table(matrix.black, matrix.y),
        cb_to_blue=table(128, matrix.cb_to_blue),
        cb_to_green=table(128, matrix.cb_to_green),
        cr_to_green=table(128, matrix.cr_to_green),
        cr_to_red=table(128, matrix.cr_to_red),
    )
