"""The small picture of a frame for cut detection, as PySceneDetect would see it."""

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
# ITU-R BT.601, which OpenCV's video reader, the one that PySceneDetect's thresholds were chosen
# with, uses for every video, whatever the file says.
_BLUE_FROM_CB, _GREEN_FROM_CB, _GREEN_FROM_CR, _RED_FROM_CR = 1.772, -0.344136, -0.714136, 1.402


class _Grid(NamedTuple):
    """How a plane is shrunk bilinearly: the four pixels that count for each pixel of the result.

    ``places`` (4, n) says where in the plane they are, ``weight`` (4, n) their shares.
    """

    places: NDArray[np.intp]
    weight: NDArray[np.float32]


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
        return _small(frame, self._size)


def _small(frame: VideoFrame, size: Size) -> Picture:
    """Nearly the picture that OpenCV's bilinear resize makes of the whole frame.

    Only the pixels that count are read and converted.
    """
    if size == (frame.width, frame.height):
        return frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    if not _readable(frame.format):
        return _sampled_bgr(frame, size)
    halved = frame.planes[1].width < frame.width
    yuv = _sampled_yuv(frame, size)
    return _picture(_bgr(yuv, full_range=_is_full_range(frame), truncate=halved), size)


def _readable(fmt: VideoFormat) -> bool:
    """Whether it is planar YUV with whole or halved colour, stored as this machine reads it."""
    layout = fmt.name.removeprefix("yuv").lstrip("aj")
    return fmt.name.startswith("yuv") and layout.startswith(_LAYOUTS) and not fmt.is_big_endian


def _is_full_range(frame: VideoFrame) -> bool:
    return frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE


def _sampled_bgr(frame: VideoFrame, size: Size) -> Picture:
    """The small picture by way of the whole one, for the rarer formats."""
    whole = frame.to_ndarray(format="bgr24")
    grid = _grid(Size(frame.width, frame.height), frame.width, size)
    channels = [_shrunk(whole[..., channel].ravel(), grid) for channel in range(3)]
    return _picture(channels, size)


def _sampled_yuv(frame: VideoFrame, size: Size) -> NDArray[np.float32]:
    """The pixels that count, of shape (3, h × w), on the scale of 8 bits."""
    depth = frame.format.components[0].bits
    whole = Size(frame.width, frame.height)
    sampled = np.empty((3, size.width * size.height), np.float32)
    for channel, plane in enumerate(frame.planes[:3]):
        pixels = _pixels(plane, depth)
        stride = plane.line_size // pixels.itemsize
        halved = plane.width < whole.width, plane.height < whole.height
        _shrunk(pixels, _grid(whole, stride, size, *halved), out=sampled[channel])
    return sampled / np.float32(1 << (depth - _BYTE)) if depth > _BYTE else sampled


def _shrunk(
    pixels: NDArray[Any], grid: _Grid, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    shrunk: NDArray[np.float32] = np.einsum(
        "ij,ij->j", pixels.take(grid.places), grid.weight, out=out
    )
    return shrunk


def _pixels(plane: VideoPlane, depth: int) -> NDArray[Any]:
    kind: np.dtype[Any] = np.dtype(np.uint8 if depth == _BYTE else "<u2")
    return np.frombuffer(memoryview(plane), kind)


@lru_cache(maxsize=64)
def _grid(
    whole: Size, stride: int, small: Size, half_width: bool = False, half_height: bool = False
) -> _Grid:
    """The grid for a plane of a picture of size ``whole``; a halved plane covers the same area."""
    rows, row_weights = _neighbours(whole.height, small.height, half_height)
    columns, column_weights = _neighbours(whole.width, small.width, half_width)
    places = [(row[:, None] * stride + column).ravel() for row in rows for column in columns]
    weight = [np.outer(a, b).ravel() for a in row_weights for b in column_weights]
    return _Grid(np.stack(places), np.stack(weight).astype(np.float32))


def _neighbours(
    length: int, wanted: int, halved: bool
) -> tuple[tuple[NDArray[np.intp], ...], tuple[NDArray[np.float64], ...]]:
    """For each of ``wanted`` pixels in a line, its two neighbours in the line it is made from."""
    centre = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
    low = np.clip(np.floor(centre), 0, length - 1).astype(np.intp)
    high = np.minimum(low + 1, length - 1)
    share = centre - low
    return (low >> halved, high >> halved), (1 - share, share)


def _bgr(
    yuv: NDArray[np.float32], *, full_range: bool, truncate: bool
) -> list[NDArray[np.float32]]:
    """The same colours as OpenCV's reader gives, one array a channel.

    Where colour is stored halved, it rounds each product down before adding them up (``truncate``);
    a picture up to 1.5 brighter would shift the score of dark scenes by several units.
    """
    y, cb, cr = yuv
    cb, cr = cb - 128, cr - 128
    if not full_range:
        y = (y - 16) * np.float32(255 / 219)
        cb, cr = cb * np.float32(255 / 224), cr * np.float32(255 / 224)
    cut = np.floor if truncate else np.positive
    y = cut(y)
    blue = y + cut(_BLUE_FROM_CB * cb)
    green = y + cut(_GREEN_FROM_CB * cb) + cut(_GREEN_FROM_CR * cr)
    red = y + cut(_RED_FROM_CR * cr)
    return [blue, green, red]


def _picture(channels: list[NDArray[np.float32]], size: Size) -> Picture:
    whole = np.stack(channels, axis=-1)
    np.clip(np.rint(whole, out=whole), 0, 255, out=whole)
    return whole.astype(np.uint8).reshape(size.height, size.width, 3)
