"""How a stored picture is to be turned or mirrored to be seen as it was meant."""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack
from typing import Any, NamedTuple

from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from asyncv2d.media import FilterStep

# frame.side_data would do, but keeps itself and the frame in memory; the stub has no constructor.
_side_data: Any = SideDataContainer
_SLANTED = 0.01  # about half a degree: what is turned by less is taken for upright
_TRANSPOSED = {  # by whether b and c are positive
    (True, True): "cclock_flip",
    (True, False): "clock",
    (False, True): "cclock",
    (False, False): "clock_flip",
}


class Orientation(NamedTuple):
    """A display matrix: stored (x, y) is to be seen at (a · x + c · y, b · x + d · y)."""

    a: int
    b: int
    c: int
    d: int

    @property
    def lies(self) -> bool:
        """Whether the height of the stored picture is its width when it is seen."""
        return _is_little((self.a, self.d), (self.b, self.c))

    @property
    def steps(self) -> Sequence[FilterStep]:
        """The filters that make the picture upright; none where it stands aslant."""
        if self.lies:
            return (FilterStep("transpose", _TRANSPOSED[self.b > 0, self.c > 0]),)
        if not _is_little((self.b, self.c), (self.a, self.d)):
            return ()
        flips = (FilterStep("hflip", ""), self.a < 0), (FilterStep("vflip", ""), self.d < 0)
        return [step for step, is_needed in flips if is_needed]


UPRIGHT = Orientation(1, 0, 0, 1)
_TURNED = {90: (0, -1, 1, 0), -90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), -180: (-1, 0, 0, -1)}


def orientation(frame: VideoFrame) -> Orientation:
    """The display matrix of ``frame``."""
    try:
        side_data = _side_data(frame)
    except ValueError:  # PyAV does not know all kinds; it finds the rotation all the same
        return Orientation(*_TURNED.get(frame.rotation, UPRIGHT))
    if not len(side_data) or Type.DISPLAYMATRIX not in side_data:
        return UPRIGHT
    # Three rows of three numbers, in the order of this machine.
    a, b, _, c, d, *_ = unpack("=9i", bytes(side_data[Type.DISPLAYMATRIX]))
    return Orientation(a, b, c, d)


def _is_little(numbers: tuple[int, int], beside: tuple[int, int]) -> bool:
    return max(map(abs, numbers)) < _SLANTED * min(map(abs, beside))
