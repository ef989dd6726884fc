"""Cuts videos into clips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from asyncv2d.media import Precision, Span
from asyncv2d.ports import Settings

_DIGITS = 6  # of a second
_ROUNDING = 1e-6


class ClippingSubsampler(Settings):
    """Cuts each span (a scene, or an entry of the clips column) into clips of allowed length.

    Clips are numbered by their start. A span that reaches past the end of the video is shortened,
    one that begins there gives no clip; spans may overlap. One that ends before it begins, or
    cannot be read, fails its row (``bad_clips``).

    A clip that is encoded anew, because its picture or rate changes, is cut exactly at its span
    whatever ``precision`` says; ``precision`` decides for clips whose streams are copied. Of a copy
    only the first frame is decoded to see that it plays: damage after it is copied too, unless the
    file cannot be read on, or cuts are looked for.
    """

    min_length: float = Field(default=0.0, ge=0)
    """What is left of a span after whole pieces of ``max_length`` is kept if longer than this
    (seconds)."""
    max_length: float = Field(default=999999.0, ge=0.001)
    """Spans longer than this (seconds) are cut into pieces of this length."""
    max_length_strategy: Literal["all", "first"] = "all"
    """``all``: every piece becomes a clip. ``first``: only the first one of each span."""
    precision: Precision = "low"
    """``low``: begins at the keyframe before the span, and ends with it, but for the last few
    frames if these refer to one that comes later; where that would be most of it, it is encoded.
    ``keyframe_adjusted``: begins and ends at keyframes inside the span, so nothing from outside is
    included. ``exact``: encoded anew."""

    @field_validator("max_length")
    @classmethod
    def _lengths_in_order(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("min_length", 0.0):
            raise ValueError(f"{value:g} is smaller than min_length, so no clip could fit")
        return value

    def pieces(self, start: float) -> Iterator[Span]:
        """Pieces of max_length one after the other; with ``first`` only one."""
        begin = start
        for number in count(1):
            end = round(start + number * self.max_length, _DIGITS)
            yield Span(begin, end)
            begin = end
            if self.max_length_strategy == "first":
                return

    def keeps(self, piece: Span) -> bool:
        """Whole pieces always; what is left only if longer than min_length."""
        whole = piece.length >= self.max_length - _ROUNDING
        return whole or piece.length > max(self.min_length, _ROUNDING)
