"""Packets of sound: when they end, and the times they have where they are copied into a clip."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median_low
from typing import Any

from av.packet import Packet

from asyncv2d.probe import Media, from_start, packets

_COARSEST, _FINE = Fraction(1, 1000), Fraction(1, 90_000)  # units of time, in seconds


def sound_end(media: Media) -> float:
    """When the sound of a file ends (seconds); infinity where its packets do not say.

    Raises ItemError (truncated or corrupt) where the file cannot be read on.
    """
    assert media.audio is not None
    clock, end = media.clock(media.audio), 0.0
    with from_start(media, media.audio) as container:
        for packet in packets(media, container, container.streams[media.audio.index]):
            start = end if packet.pts is None else clock.time(packet.pts)
            end = max(end, start + clock.length(packet.duration))
    return end or float("inf")


def copy_base(base: Fraction) -> Fraction:
    """The unit of time (seconds) for copies of packets that count in units of ``base``."""
    # AVI counts sound in whole packets: moved by half of one, two would get the same time.
    return _FINE if base > _COARSEST else base


def moved(packet: Packet[Any], base: Fraction, start: float, length: float) -> Packet[Any]:
    """A copy of ``packet`` that begins at ``start`` and lasts ``length`` (seconds)."""
    copy = Packet(bytes(packet))
    copy.time_base = base
    copy.pts = copy.dts = round(start * base.denominator / base.numerator)
    copy.duration = round(length * base.denominator / base.numerator)
    return copy


def in_order(chosen: Sequence[Packet[Any]]) -> Sequence[Packet[Any]]:
    """These packets, each later than the one before: program streams may stamp two alike."""
    for before, packet in pairwise(chosen):
        assert before.dts is not None
        assert packet.dts is not None
        if packet.dts <= before.dts:
            packet.pts = packet.dts = before.dts + 1
    return chosen


def close_up(chosen: Sequence[Packet[Any]]) -> None:
    """Leave no gaps between those of a clip's packets that begin before it.

    All of them are about as long as each other. A player leaves out as many samples as there is
    time before the clip. A packet that a gap follows, which some files count as a part of it, has
    fewer than that; the rest would be missing from the clip itself.
    """
    usual = median_low(packet.duration or 0 for packet in chosen)
    following = 0
    for packet in reversed(chosen):
        assert packet.pts is not None
        if following - packet.pts > 1.5 * usual > 0:
            packet.pts = packet.dts = following - usual
            packet.duration = usual
        following = min(following, packet.pts)
