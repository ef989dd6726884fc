"""When the clock of a file starts, which may be before time 0."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_MOST_PRIMING = Fraction(-1)
_MOST_REORDERED = 32  # packets: after so many in a row that have a time none is without
_MOST_UNTOLD = 1000


def first_picture(coded: Iterable[Packet[Any]], rate: Fraction) -> Fraction | None:
    """The time of the first picture (seconds) where it has none, counted back from one that has.

    FFmpeg gives none to what comes before 0 in Matroska. None where it does not come before 0.
    """
    untold = in_a_row = 0
    told: list[Fraction] = []
    for packet in coded:
        if packet.pts is not None and packet.time_base is not None:
            told.append(packet.pts * packet.time_base)
            in_a_row += 1
        elif packet.size and (untold or packet.dts is None):
            untold += 1
            in_a_row = 0
        if not untold or untold > _MOST_UNTOLD or in_a_row > _MOST_REORDERED:
            break
    first = min(told) - untold / rate if untold and told else Fraction(0)
    return first if first < 0 else None


def origin_of(
    container: InputContainer, video: VideoStream | None, first: Fraction | None
) -> Fraction:
    """When the clock starts: at the first timestamp, but for what an encoder puts before time 0.

    That is sound; pictures there are what is left of a longer video, and are shown. Transport
    streams have nothing there; their clock wraps, and then some of it seems to be. ``first`` is the
    time of the first picture where no timestamp tells it.
    """
    start = Fraction(container.start_time or 0, av.time_base)
    if first is not None:
        return min(start, first)
    is_early = video is not None and (video.start_time or 0) < 0
    is_priming = _MOST_PRIMING < start < 0 and not is_early and container.format.name != "mpegts"
    return Fraction(0) if is_priming else start
