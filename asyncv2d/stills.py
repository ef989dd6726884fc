"""Takes images of single frames while a video is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
from av.video.frame import VideoFrame

from asyncv2d.media import ImageFormat, Span
from asyncv2d.types import Cause, ItemError

STILL_ROUNDING = 1e-3  # seconds: a frame that comes so little after a moment counts for it
_QUALITY = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    "png": [],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}

_LONGEST_SIDE = {"jpg": 65_500, "png": 1_000_000, "webp": 16_383}  # in pixels


class StillTake:
    """The images of one clip: what is on the screen at each of ``moments`` (seconds, in order)."""

    def __init__(
        self,
        span: Span,
        moments: Sequence[float],
        view: Callable[[VideoFrame], VideoFrame],
        image_format: ImageFormat,
    ) -> None:
        self.span = span
        self.images: list[tuple[float, bytes]] = []
        self._moments = moments
        self._view = view
        self._format = image_format
        self._shown: VideoFrame | None = None

    def show(self, frame: VideoFrame, time: float) -> None:
        """``frame`` comes onto the screen at ``time``, which lies inside the span."""
        self._take_until(time - STILL_ROUNDING)
        self._shown = frame

    def needs(self, start: float, end: float) -> bool:
        """Whether an image is due between these times."""
        return any(start <= moment + STILL_ROUNDING < end for moment in self._moments)

    def finish(self, end: float) -> bool:
        """The span really ends at ``end``; False if there is no image."""
        self.span = Span(self.span.start, end)
        self._take_until(end)
        self._shown = None
        return bool(self.images)

    def _take_until(self, time: float) -> None:
        """Take the images due before ``time``, of the frame that is on the screen."""
        if self._shown is None:
            return
        due = self._moments[len(self.images) :]
        picture: bytes | None = None
        for moment in due:
            if moment >= time:
                return
            picture = picture or encode_image(self._view(self._shown), self._format)
            self.images.append((moment, picture))


def encode_image(frame: VideoFrame, image_format: ImageFormat) -> bytes:
    """A frame in BGR as the bytes of an image file.

    Raises ItemError (cannot_encode) where the format holds none of its size.
    """
    if max(frame.width, frame.height) > _LONGEST_SIDE[image_format]:
        detail = f"{image_format}: {frame.width} × {frame.height} is too large"
        raise ItemError(Cause.CANNOT_ENCODE, detail)
    pixels = frame.to_ndarray(format="bgr24")
    done, data = cv2.imencode(f".{image_format}", pixels, _QUALITY[image_format])
    assert done
    return bytes(data)
