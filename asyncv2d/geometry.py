"""The sizes that filters give a picture, and the steps that do it. All arithmetic, no FFmpeg."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from asyncv2d.media import ExactSize, FilterStep, Scaler, Size, VideoFilter
from asyncv2d.types import Cause, ItemError

# FFmpeg holds no picture of more, counted with so much beside and below.
_MOST_PIXELS, _PADDING = 1 << 28, 128


def filter_steps(
    filters: Sequence[VideoFilter], stored: Size, seen: ExactSize
) -> tuple[Size, Sequence[FilterStep]]:
    """The size that ``filters`` give an upright picture, and the steps that do it.

    It is ``stored`` in pixels that may not be square. The first scale makes them so: every further
    one would blur the picture, and round its aspect once more. Raises ItemError (cannot_encode)
    where it would become so large that nothing can hold it.
    """
    size, steps = stored, list[FilterStep]()
    for video_filter in filters:
        wanted = video_filter.scaled(seen) if isinstance(video_filter, Scaler) else None
        if wanted is None and seen != _exact(size):
            wanted = _square(seen)
        if wanted is not None:
            size = wanted
            steps.append(scale_to(size))
        size, added = video_filter.steps(size)
        steps.extend(added)
        seen = _exact(size)
    if not filters:
        size = _square(seen)
        steps.append(scale_to(size))
    return size, steps


def seen_size(stored: Size, aspect: Fraction) -> ExactSize:
    """The size of a picture whose pixels, of ``aspect``, are made square by widening them."""
    return ExactSize(stored.width * aspect, Fraction(stored.height))


def even_size(size: Size) -> Size:
    """The nearest size that is not larger and has even sides."""
    return Size(_even_below(size.width), _even_below(size.height))


def scale_to(size: Size) -> FilterStep:
    """Raises ItemError (cannot_encode) where nothing can hold a picture of that size."""
    padded = (size.width + _PADDING) * (size.height + _PADDING)
    if padded >= _MOST_PIXELS:
        raise ItemError(Cause.CANNOT_ENCODE, f"{size.width} × {size.height} pixels are too many")
    return FilterStep("scale", f"{size.width}:{size.height}")


def _exact(size: Size) -> ExactSize:
    return ExactSize(Fraction(size.width), Fraction(size.height))


def _square(seen: ExactSize) -> Size:
    """The even size that is nearest to ``seen``; the smaller one of two."""
    width, height = (max(2, 2 * math.ceil((length - 1) / 2)) for length in seen)
    return Size(width, height)


def _even_below(length: int) -> int:
    return max(2, length - length % 2)
