"""Lets time go on where the clock of a file starts anew in its middle.

Recordings are put behind each other byte by byte, and broadcasts change their clock. Players and
transcoders go on with the time that has passed, and so does this: what follows is moved behind all
that came before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from av.packet import Packet
from msgspec import Struct
from msgspec.structs import replace

from asyncv2d.clock import LONGEST_STILL

FORMATS = ("mpegts", "mpeg")
"""The formats, as FFmpeg calls them, that allow it. In both, all streams count in 1/90000 s."""

_SECOND = 90_000
_LATE = _SECOND // 10  # packets of one stream are out of order by less
_SOON = 10 * _SECOND  # what comes later than this is looked at
_LONGEST_GAP = round(LONGEST_STILL * _SECOND)
_LAG = 3 * _SECOND  # one stream is behind others by less
_FLV_WRAP = 1 << 31  # ms: FLV's times have so many values
_FEW = 4  # packets of a stream that show whether its clock stays where it jumped to
_MANY = 300  # packets among which the other streams jump too


def unwrapped(
    coded: Iterable[Packet[Any]], start: int, restarts: set[int]
) -> Iterator[Packet[Any]]:
    """The packets of an FLV file that begins at ``start`` (ms), moved where its clock has wrapped.

    Times before 0 are stored as those before the wrap; FFmpeg takes it for one of twice as much.
    """
    for packet in coded:
        dts = start if packet.dts is None else packet.dts
        moved = round((dts - start) / _FLV_WRAP) * _FLV_WRAP
        if moved:
            restarts.add(start)
            packet.dts = dts - moved
            packet.pts = None if packet.pts is None else packet.pts - moved
        yield packet


class _Track(Struct):
    """A stream as far as it was read: by how much it is moved, and its moved times."""

    shift: int
    last: int
    end: int
    step: int = 0

    def take(self, packet: Packet[Any], time: int) -> None:
        """Go on to this packet, which is decoded at ``time`` (moved)."""
        if time > self.last:
            self.step = time - self.last
        self.last, pts = time, packet.pts
        end = (time if pts is None else pts + self.shift) + (packet.duration or self.step)
        self.end = max(self.end, end)


class Continuity:
    """Follows the clocks of a file's streams in one pass from its beginning on.

    A clock that goes back, or jumps so far ahead that no still picture lasts as long, and stays
    there, begins a new part. All streams of a part are moved by the same time, so picture and sound
    stay together, and by the least with which nothing of it comes before the end of what was there.
    Shorter gaps are kept: there the signal was lost. So are single wrong stamps.

    ``leading`` are the numbers of the streams that say where parts begin; the times at which they
    do are added to ``restarts`` (in 1/90000 s, as in the file until the first of them).
    """

    def __init__(self, leading: Iterable[int], restarts: set[int]) -> None:
        self._leading = frozenset(leading)
        self._restarts = restarts
        self._shift = 0  # of the newest part
        self._tracks: dict[int, _Track] = {}
        self._now = 0
        self._ahead: deque[Packet[Any]] = deque()

    def follow(self, coded: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The packets, moved where their part is."""
        ahead = self._ahead
        while (packet := ahead.popleft() if ahead else next(coded, None)) is not None:
            dts = packet.dts
            if dts is not None and packet.size:
                self._move(packet, dts, coded)
            yield packet

    def _move(self, packet: Packet[Any], dts: int, coded: Iterator[Packet[Any]]) -> None:
        number = packet.stream_index
        track = self._tracks.get(number)
        if track is None:
            track = self._tracks[number] = self._first(packet, dts, coded)
        shift: int | None = track.shift
        if not self._fits(track, dts):
            shift = self._shift_after(track, packet, dts, coded)
        if shift is not None:
            track.shift = shift
            track.take(packet, dts + shift)
            if track.last > self._now and number in self._leading:
                self._now = track.last
        if track.shift:
            packet.dts = dts + track.shift
            packet.pts = None if packet.pts is None else packet.pts + track.shift

    def _first(self, packet: Packet[Any], dts: int, coded: Iterator[Packet[Any]]) -> _Track:
        """A stream that begins, and a part with it if one does for others too."""
        if not self._tracks:
            self._now = dts
        shift: int | None = self._shift
        if not self._now - _LAG <= dts + self._shift <= self._now + _LONGEST_GAP:
            shift = self._new_part(packet, coded)
        shift = self._shift if shift is None else shift
        return _Track(shift, dts + shift, dts + shift)

    def _fits(self, track: _Track, dts: int) -> bool:
        """Whether time just goes on with it, as far as its stream and the whole file are."""
        return track.last - _LATE <= dts + track.shift <= self._now + _SOON

    def _shift_after(
        self, track: _Track, packet: Packet[Any], dts: int, coded: Iterator[Packet[Any]]
    ) -> int | None:
        """By how much a packet is moved that does not fit; None if its stamp is just wrong."""
        soon = self._now + _SOON
        following = [(other.dts or 0) + track.shift for other in self._own(packet, coded)]
        if any(track.last < time <= soon for time in following):
            return None
        if track.last < dts + track.shift <= self._now + _LONGEST_GAP:
            return track.shift
        is_behind = track.shift != self._shift
        if is_behind and max(track.last, self._now - _LAG) <= dts + self._shift <= soon:
            return self._shift
        return self._new_part(packet, coded)

    def _own(self, packet: Packet[Any], coded: Iterator[Packet[Any]]) -> list[Packet[Any]]:
        """The next few packets of the same stream."""
        found: list[Packet[Any]] = []
        for other in self._looked_ahead(coded):
            if other.stream_index == packet.stream_index and other.size and other.dts is not None:
                found.append(other)
            if len(found) == _FEW:
                break
        return found

    def _looked_ahead(self, coded: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The packets that come next, which are kept for their turn."""
        yield from list(self._ahead)
        while len(self._ahead) < _MANY and (packet := next(coded, None)) is not None:
            self._ahead.append(packet)
            yield packet

    def _new_part(self, packet: Packet[Any], coded: Iterator[Packet[Any]]) -> int | None:
        """By how much the part is moved that begins with this packet.

        That is told by where it begins in each stream. None if it does in none that says so.
        """
        tracks = {
            number: replace(self._tracks[number]) for number in self._leading & set(self._tracks)
        }
        begun: dict[int, list[Packet[Any]]] = {}
        for other in chain([packet], self._looked_ahead(coded)):
            track = tracks.get(other.stream_index)
            if track is None or not other.size or other.dts is None:
                continue
            if other.stream_index in begun:
                begun[other.stream_index].append(other)
            elif self._fits(track, other.dts):
                track.take(other, other.dts + track.shift)
            else:
                begun[other.stream_index] = [other]
            if len(begun) == len(tracks) and all(len(found) > _FEW for found in begun.values()):
                break
        if not begun:
            return None
        self._shift = max(_delay(tracks[number], found) for number, found in begun.items())
        self._restarts.add(self._now)
        return self._shift


def _delay(track: _Track, found: Sequence[Packet[Any]]) -> int:
    """By how much these packets have to be moved so that they come after all of ``track``."""
    times = [packet.pts if packet.pts is not None else packet.dts for packet in found[: _FEW + 1]]
    return track.end - min(time for time in times if time is not None)
