"""Where the frames of a video lie in time, and which of them a job has to decode.

Both come from reading the packets' headers; nothing is decoded. The second follows the way video is
compressed: frames refer to others of their group, which begins with a keyframe, so to see one frame
everything it may refer to is decoded, from the keyframe before it on, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from asyncv2d.clock import LONGEST_STILL, Clock
from asyncv2d.picture_types import b_frame_test, keyframe_test
from asyncv2d.probe import Media, from_start, packets

# Codecs of which every packet holds one frame and a decoder can be told to leave out a frame that
# no other refers to.
CAN_SKIP = ("h264", "hevc")


class Effort(IntEnum):
    """What to do with a packet."""

    SKIP = 0
    IF_REFERRED_TO = 1
    DECODE = 2
    RESTART = 3  # decode, after packets that were skipped: nothing refers to what came before


class PacketIndex(Struct, frozen=True, dict=True):
    """The packets of a video stream in the order they are stored (which is that of decoding).

    ``times`` are presentation times in seconds, NaN for packets that show nothing or have none;
    ``keyframes`` marks those that can be decoded alone; ``sizes`` are in bytes; ``end`` is when the
    last one ends. ``lead_in`` is the time of a keyframe that an edit list hides, and that the first
    frames that are shown cannot do without. ``is_timed``: all packets have times of their own.
    ``is_seamless``: an edit list hides none between those that are shown.
    ``has_untimed_b_frames``: it is only known when packets are decoded, and they may hold B-frames.
    """

    times: NDArray[np.float64]
    keyframes: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    end: float
    lead_in: float | None = None
    is_timed: bool = True
    is_seamless: bool = True
    has_untimed_b_frames: bool = False

    @property
    def can_be_copied(self) -> bool:
        """Whether a stretch of packets shows what the video shows then, and can begin somewhere."""
        is_told = self.is_timed and not self.has_untimed_b_frames
        return is_told and self.is_seamless and bool(self.keyframes.any())

    @cached_property
    def shown(self) -> NDArray[np.float64]:
        """All presentation times in order."""
        return np.sort(self.times[~np.isnan(self.times)])

    def end_of(self, time: float) -> float:
        """When the frame leaves the screen that comes onto it at ``time``."""
        shown = self.shown
        following = int(np.searchsorted(shown, time, side="right"))
        return float(shown[following]) if following < len(shown) else self.end

    @property
    def rate(self) -> float | None:
        """Frames a second on average; None where that is not known."""
        shown = self.shown
        seconds = self.end - float(shown[0]) if len(shown) else 0.0
        return len(shown) / seconds if seconds > 0 else None

    @property
    def keyframe_times(self) -> list[float]:
        """Presentation times of the keyframes, in order."""
        times = self.times[self.keyframes]
        return [float(time) for time in np.sort(times[~np.isnan(times)])]


def read_index(media: Media) -> PacketIndex:
    """Read the packets of the video to the end; of the sound, where there is no video.

    Raises ItemError (truncated or corrupt) where the file cannot be read on.
    """
    chosen = media.video or media.audio
    if chosen is None or chosen.time_base is None:
        return PacketIndex(np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64), 0.0)
    clock, has_b_frames = media.clock(chosen), False
    is_keyframe, is_b_frame = keyframe_test(chosen), b_frame_test(chosen)
    rows: list[tuple[float, float, float]] = []
    hidden: list[bool] = []
    keys: list[bool] = []
    sizes: list[int] = []
    turns: list[int] = []
    with from_start(media, chosen) as container:
        for packet in packets(media, container, container.streams[chosen.index]):
            if packet.size == 0:
                continue
            keys.append(is_keyframe(packet))
            sizes.append(packet.size)
            hidden.append(packet.is_discard)
            if media.stamps_decoding and packet.dts is not None:
                turns.append(packet.dts)
                has_b_frames = has_b_frames or is_b_frame(packet)
            shown_at, decoded_at = _seconds(clock, packet.pts), _seconds(clock, packet.dts)
            rows.append((shown_at, decoded_at, clock.length(packet.duration)))
    stamps, decoding, lengths = np.array(rows, np.float64).reshape(-1, 3).T
    if media.stamps_decoding:
        most_waiting = 0 if media.video is None else media.video.codec_context.reorder_depth
        stamps = _in_turn(stamps, turns, most_waiting, clock)
    keyframes, are_hidden = np.array(keys, np.bool_), np.array(hidden, np.bool_)
    shown, away = np.where(are_hidden, np.nan, stamps), stamps[are_hidden & ~np.isnan(stamps)]
    return PacketIndex(
        times=shown,
        keyframes=keyframes,
        sizes=np.array(sizes, np.int64),
        end=_end(media, _Times(shown, stamps, decoding, lengths)),
        lead_in=_lead_in(stamps, ~np.isnan(shown), keyframes),
        is_timed=not np.isnan(stamps).any(),
        is_seamless=not _hides_between(away, shown),
        has_untimed_b_frames=has_b_frames,
    )


def _in_turn(
    stamps: NDArray[np.float64], turns: Sequence[int], most_waiting: int, clock: Clock
) -> NDArray[np.float64]:
    """Times of showing in the order of ``stamps``, by the turns at which packets are decoded.

    A frame is shown ``most_waiting`` units before the turn of the packet that it comes out with.
    """
    ordered = sorted(turns)
    ordered += [last + 1 + number for last in ordered[-1:] for number in range(most_waiting)]
    times = np.full_like(stamps, np.nan)
    times[np.argsort(stamps, kind="stable")[: len(turns)]] = [
        clock.time(turn - most_waiting) for turn in ordered[most_waiting:]
    ]
    return times


def _seconds(clock: Clock, timestamp: int | None) -> float:
    return float("nan") if timestamp is None else clock.time(timestamp)


class _Times(NamedTuple):
    """The times of packets in the order of decoding, in seconds; NaN where there is none.

    ``stamps`` are those of ``shown``, and of packets that an edit list hides.
    """

    shown: NDArray[np.float64]
    stamps: NDArray[np.float64]
    decoding: NDArray[np.float64]
    lengths: NDArray[np.float64]


def _end(media: Media, times: _Times) -> float:
    """When the last frame leaves the screen, or the last sound ends.

    The lengths in MP4 are not those of showing, so there it is the first of what the file says of
    its end that comes after the last frame; that may be nothing, where frames come at no even rate.
    """
    if np.isnan(times.shown).all():
        return 0.0
    number = int(np.nanargmax(times.shown))
    last, length = float(times.shown[number]), float(times.lengths[number])
    if media.probe.video is None:
        return last + length
    usual = float(1 / media.probe.video.rate)
    if not 0 < length < LONGEST_STILL:
        length = usual
    if not media.lengths_are_of_decoding:
        return last + length
    after = (float(end) for end in _said_ends(media, times) if last < end < last + LONGEST_STILL)
    return min(after, default=last + min(length, usual))


def _said_ends(media: Media, times: _Times) -> Iterator[float]:
    """When an MP4 file's picture ends, by its packets, its edit list and its track's length.

    Showing takes as long as decoding. The track's length is the sum of that, unless an edit list
    makes it shorter; in segments of a longer video it counts from where that one began.
    """
    yield np.nanmin(times.stamps) + times.decoding[-1] + times.lengths[-1] - times.decoding[0]
    yield from times.stamps[np.isnan(times.shown)]
    stream = media.video
    if stream is not None and stream.duration is not None:
        yield media.clock(stream).time((stream.start_time or 0) + stream.duration)


def _hides_between(hidden: NDArray[np.float64], shown: NDArray[np.float64]) -> bool:
    """Whether packets that are not shown have times between those that are."""
    times = shown[~np.isnan(shown)]
    return bool(len(times) and ((hidden > times.min()) & (hidden < times.max())).any())


def _lead_in(
    stamps: NDArray[np.float64], are_shown: NDArray[np.bool_], keyframes: NDArray[np.bool_]
) -> float | None:
    """The time of the hidden keyframe that the first frame that is shown begins with."""
    if not are_shown.any():
        return None
    first = int(np.argmax(are_shown))
    before = stamps[:first][keyframes[:first]]
    before = before[~np.isnan(before)]
    return None if keyframes[first] or not len(before) else float(before[-1])


class GapError(Exception):
    """Frames were left out that are needed, or may be."""


Needs = Callable[[float, float], bool]


class Selection(Protocol):
    """Which frames to decode. ``times`` are those of all frames."""

    times: list[float]

    def efforts(self, needs: Needs) -> Iterable[Effort]:
        """What to do with each packet; ``needs(start, end)`` says if what is shown then is needed.

        It is asked when the packet's turn comes, so it may depend on the frames decoded before.
        """

    def number(self, time: float) -> int:
        """The number of the frame that is shown from ``time``. Raises GapError if there is none."""

    def check_scene(self, time: float) -> None:
        """A scene begins at ``time``. Raises GapError where that was not to be expected."""

    def check(self, decoded: Sequence[float]) -> None:
        """Raises GapError where frames are missing among those that were decoded."""


class Choice:
    """The frames that are wanted, and those they refer to."""

    def __init__(
        self, index: PacketIndex, efforts: Sequence[Effort], needed: NDArray[np.bool_]
    ) -> None:
        self.times: list[float] = index.shown.tolist()
        self.needed = set(index.times[needed].tolist())
        self._efforts = efforts

    def efforts(self, needs: Needs) -> Sequence[Effort]:
        """As chosen, whatever turns out."""
        return self._efforts

    def number(self, time: float) -> int:
        """Its place among all times."""
        return bisect_left(self.times, time)

    def check_scene(self, time: float) -> None:
        """Scenes are known beforehand."""

    def check(self, decoded: Sequence[float]) -> None:
        """Raises GapError where a needed frame is missing."""
        if not self.needed <= set(decoded):
            raise GapError("needed frames are missing")


def choose(index: PacketIndex, codec: str, wanted: NDArray[np.float64]) -> Choice | None:
    """What to do with each packet so that the frames on screen at the ``wanted`` times come out.

    None where that cannot be told from the index, so that all has to be decoded.
    """
    shown = index.shown
    if (
        not index.is_timed
        or codec not in CAN_SKIP
        or len(shown) == 0
        or (np.diff(shown) <= 0).any()
    ):
        return None
    if not len(index.keyframes) or not index.keyframes[0]:
        return None
    needed = _needed(index, shown, wanted)
    return Choice(index, _by_group(index, needed), needed)


def _needed(
    index: PacketIndex, shown: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which packets hold the frame that is on the screen at one of the wanted times."""
    places = np.searchsorted(shown, wanted, side="right") - 1
    times = np.unique(shown[np.clip(places, 0, len(shown) - 1)])
    needed: NDArray[np.bool_] = np.isin(index.times, times)
    return needed


def _by_group(index: PacketIndex, needed: NDArray[np.bool_]) -> list[Effort]:
    starts = np.flatnonzero(index.keyframes)
    ends = np.append(starts[1:], len(needed))
    result = np.full(len(needed), Effort.SKIP, np.int8)
    whole = False  # whether the group that follows needs all of this one
    for start, end in zip(starts[::-1], ends[::-1], strict=True):
        inside = np.flatnonzero(needed[start:end])
        last = end if whole else start + (inside[-1] + 1 if len(inside) else 0)
        result[start:last] = np.where(needed[start:last], Effort.DECODE, Effort.IF_REFERRED_TO)
        if last < end < len(needed) and result[end] != Effort.SKIP:
            result[end] = Effort.RESTART
        leading = index.times[start:end] < index.times[start]
        whole = bool((leading & needed[start:end]).any())
        if not whole:  # they refer to the group before, which may not be there
            result[start:end][leading] = Effort.SKIP
    return [Effort(effort) for effort in result.tolist()]
