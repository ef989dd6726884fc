"""Small pictures of a frame for cut detection: as PySceneDetect with OpenCV sees it, and rougher.

OpenCV converts the whole frame to BGR and shrinks it bilinearly, which reads four pixels, or one,
for each pixel of the result. Only those are taken from the decoder's planes here and converted,
with the same arithmetic, so scores against a threshold come out the same. Where that is known to be
far away, a picture of single pixels will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from asyncv2d.media import Picture, Size

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BYTE = 8
_Rule = Callable[[int, VideoFrame], float]  # how much smaller a picture is to be
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


def _to_full_range() -> NDArray[np.uint8]:
    """For each byte of Y, Cr and Cb in limited range its value in full range, as (1, 256, 3)."""
    values = np.arange(256)
    luma, colour = (values - 16) * 255 / 219, (values - 128) * 255 / 224 + 128
    # Rounding down makes up for what FFmpeg rounds down: without that the picture is too bright.
    table = np.stack([np.floor(luma), np.rint(colour), np.rint(colour)], axis=-1)
    clipped: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)
    return clipped.reshape(1, 256, 3)


_TO_FULL_RANGE = _to_full_range()


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


class SmallViews:
    """The small pictures of one video's frames.

    Where a frame's shape differs from the first one's, its pictures keep the sizes of the first.
    """

    def __init__(self) -> None:
        self._sizes: dict[tuple[_Rule, int], Size] = {}

    def __call__(self, frame: VideoFrame) -> FrameView:
        """The small pictures of ``frame``."""
        return FrameView(frame, self._size)

    def _size(self, rule: _Rule, pixels: int, frame: VideoFrame) -> Size:
        key = rule, pixels
        if key not in self._sizes:
            factor = max(1, rule(pixels, frame))
            size = Size(round(frame.width / factor), round(frame.height / factor))
            self._sizes[key] = Size(max(1, size.width), max(1, size.height))
        return self._sizes[key]


def _by_width(width: int, frame: VideoFrame) -> float:
    return frame.width // width


def _by_side(side: int, frame: VideoFrame) -> float:
    return max(frame.width, frame.height) / side


class FrameView:
    """The small pictures of one frame, each made when it is first asked for."""

    def __init__(self, frame: VideoFrame, size: Callable[[_Rule, int, VideoFrame], Size]) -> None:
        self._frame = frame
        self._size = size
        self._made: dict[Size, Picture] = {}

    def shrunk(self, width: int) -> Picture:
        """The picture about ``width`` pixels wide, as BGR of shape (h, w, 3)."""
        return self._of_size(self._size(_by_width, width, self._frame))

    def fitted(self, side: int) -> Picture:
        """The picture with at most ``side`` pixels on its longer side, as BGR (h, w, 3)."""
        return self._of_size(self._size(_by_side, side, self._frame))

    def _of_size(self, size: Size) -> Picture:
        if size not in self._made:
            self._made[size] = _averaged(_colours(self._frame, size), self._frame, size)
        return self._made[size]

    def sampled(self, width: int) -> Picture:
        """About as wide, made of single pixels: rough, and several times cheaper."""
        return _sampled(self._frame, self._size(_by_width, width, self._frame))


def _sampled(frame: VideoFrame, size: Size) -> Picture:
    picture: Picture
    storage = _storage(frame.format.name)
    if storage is None:
        whole = frame.to_ndarray(format="bgr24")
        picture = cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST)
        return picture
    shape = Size(frame.width, frame.height)
    planes = [
        _as_bytes(pixels.take(_middles(shape, stride, size, *halved)), storage)
        for pixels, stride, halved in _planes(frame, storage)
    ]
    # OpenCV knows bytes of full range only, and takes the colours the other way round.
    y, cb, cr = planes
    limited = cv2.merge((y, cr, cb)).reshape(size.height, size.width, 3)
    full = limited if _is_full_range(frame, storage) else cv2.LUT(limited, _TO_FULL_RANGE)
    picture = cv2.cvtColor(full, cv2.COLOR_YCrCb2BGR)
    return picture


def _colours(frame: VideoFrame, size: Size) -> list[NDArray[Any]]:
    """Blue, green and red of the pixels that count, each in the shape of the grid."""
    storage, shape = _storage(frame.format.name), Size(frame.width, frame.height)
    if storage is None:
        whole = frame.to_ndarray(format="bgr24").reshape(-1, 3)
        places = _grid(shape, frame.width, size).places
        return [whole[:, channel].take(places) for channel in range(3)]
    y, cb, cr = (
        pixels.take(_grid(shape, stride, size, *halved).places)
        for pixels, stride, halved in _planes(frame, storage)
    )
    tables = _tables(storage.depth, _is_full_range(frame, storage), storage.halved_width)
    luma = tables.y.take(y)
    blue = luma + tables.cb_to_blue.take(cb)
    green = luma + tables.cb_to_green.take(cb) + tables.cr_to_green.take(cr)
    red = luma + tables.cr_to_red.take(cr)
    return [blue, green, red]


def _averaged(colours: list[NDArray[Any]], frame: VideoFrame, size: Size) -> Picture:
    weights = _grid(Size(frame.width, frame.height), frame.width, size).weights
    picture = np.empty((size.width * size.height, 3), np.uint8)
    for channel, colour in enumerate(colours):
        mean = np.einsum("ij,ij->j", np.clip(colour, 0, 255), weights)
        picture[:, channel] = mean + 0.5
    return picture.reshape(size.height, size.width, 3)


class _Storage(NamedTuple):
    """How a pixel format stores planes of YUV."""

    depth: int
    kind: np.dtype[Any]
    halved_width: bool
    halved_height: bool
    is_full_range: bool


@lru_cache(maxsize=64)
def _storage(pixel_format: str) -> _Storage | None:
    """For planar YUV with whole or halved colour, as this machine reads it; None for others."""
    fmt, layout = VideoFormat(pixel_format), pixel_format.removeprefix("yuv").lstrip("aj")
    if not (pixel_format.startswith("yuv") and layout.startswith(_LAYOUTS)) or fmt.is_big_endian:
        return None
    depth = fmt.components[0].bits
    return _Storage(
        depth=depth,
        kind=np.dtype(np.uint8 if depth == _BYTE else "<u2"),
        halved_width=layout.startswith(("420p", "422p")),
        halved_height=layout.startswith(("420p", "440p")),
        is_full_range=pixel_format.startswith("yuvj"),
    )


def _is_full_range(frame: VideoFrame, storage: _Storage) -> bool:
    return storage.is_full_range or frame.color_range == _FULL_RANGE


def _planes(
    frame: VideoFrame, storage: _Storage
) -> Iterator[tuple[NDArray[Any], int, tuple[bool, bool]]]:
    """Y, Cb and Cr: the pixels, how many a line has in memory, and which sides are halved."""
    halved = (False, False), *[(storage.halved_width, storage.halved_height)] * 2
    for plane, sides in zip(frame.planes[:3], halved, strict=True):
        pixels = np.frombuffer(memoryview(plane), storage.kind)
        yield pixels, plane.line_size // storage.kind.itemsize, sides


def _as_bytes(pixels: NDArray[Any], storage: _Storage) -> NDArray[np.uint8]:
    return (
        pixels if storage.depth == _BYTE else (pixels >> (storage.depth - _BYTE)).astype(np.uint8)
    )


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


@lru_cache(maxsize=64)
def _middles(
    whole: Size, stride: int, small: Size, half_width: bool, half_height: bool
) -> NDArray[np.intp]:
    """The pixel in the middle of each pixel of the result, for a plane as in ``_grid``."""
    rows = ((np.arange(small.height) + 0.5) * whole.height / small.height).astype(np.intp)
    columns = ((np.arange(small.width) + 0.5) * whole.width / small.width).astype(np.intp)
    places: NDArray[np.intp] = (
        (rows >> half_height)[:, None] * stride + (columns >> half_width)
    ).ravel()
    return places


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
