"""Finds frames that need not be decoded to find cuts, for they only repeat what is around them.

In still pictures (slides, screens, a fixed camera at night) most frames are stored in so few bits
that they can do no more than repeat frames that were decoded before. Where no other frame refers to
such a frame and no clip shows it, it is left out. Whatever contradicts that leads to a full decode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asyncv2d.index import CAN_SKIP, Effort, GapError, Needs, PacketIndex
from asyncv2d.media import VideoInfo

# Bits for each block of 16 × 16 pixels. A block that is not as in the frames around it takes
# several. In real videos, frames below this differed from the one before by at most half of the
# usual threshold for a cut, and in all videos but one by less than a hundredth of it.
_FEW = 0.25
# From here on a frame may show something new, which others that refer to it may repeat.
_NEWS = 2.0
_BLOCK = 16
_FEWEST = 0.1  # of all frames: below this, telling them apart costs more than it saves


class Repeats:
    """All frames of one video but those that may be left out, as a ``Selection``.

    ``bits`` is how many each packet has for a block of the picture.
    """

    def __init__(self, index: PacketIndex, bits: NDArray[np.float64]) -> None:
        self.times: list[float] = index.shown.tolist()
        self.left_out: set[float] = set()
        self._numbers = {time: number for number, time in enumerate(self.times)}
        # A frame that is decoded after one with news, but shown before it, may repeat the news.
        has_news = (bits >= _NEWS) | index.keyframes
        news = np.maximum.accumulate(np.where(has_news, index.times, -np.inf))
        without_news = ~has_news & (index.times > news)
        self._without_news = set(index.times[without_news].tolist())
        self._repeating = set(index.times[without_news & (bits < _FEW)].tolist())
        self._packets = index.times.tolist()

    def efforts(self, needs: Needs) -> Iterator[Effort]:
        """Leave out what may be and no clip needs."""
        ends = [*self.times[1:], float("inf")]
        for time in self._packets:
            if time in self._repeating and not needs(time, ends[self._numbers[time]]):
                self.left_out.add(time)
                yield Effort.IF_REFERRED_TO
            else:
                yield Effort.DECODE

    def number(self, time: float) -> int:
        """Its number among all frames. Raises GapError for a time that no packet has."""
        if time not in self._numbers:
            raise GapError(f"no packet says that a frame is shown at {time}")
        return self._numbers[time]

    def check_scene(self, time: float) -> None:
        """Raises GapError for a frame that should show nothing new: then others may do so too."""
        if time in self._without_news:
            raise GapError("a frame of few bits shows something new")

    def check(self, decoded: Sequence[float]) -> None:
        """Raises GapError where others than the frames that were left out are missing."""
        if not set(self.times) - set(decoded) <= self.left_out:
            raise GapError("frames are missing")


def find_repeats(index: PacketIndex, video: VideoInfo) -> Repeats | None:
    """The frames that may be left out; None where that is not worth while or cannot be told."""
    shown = index.shown
    if video.codec not in CAN_SKIP or len(shown) < len(index.times) or (np.diff(shown) <= 0).any():
        return None
    blocks = -(-video.size.width // _BLOCK) * -(-video.size.height // _BLOCK)
    bits = index.sizes * 8 / max(1, blocks)
    if not len(shown) or (bits < _FEW).mean() < _FEWEST:
        return None
    return Repeats(index, bits)
