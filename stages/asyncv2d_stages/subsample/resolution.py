"""Sets the size of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from asyncv2d.media import ExactSize, FilterStep, Size
from asyncv2d.ports import Settings

Mode = Literal["scale", "crop", "pad"]


class ResolutionSubsampler(Settings):
    """Scales, crops and pads the picture; the steps asked for always run in this order."""

    resize_mode: tuple[Mode, ...] = Field(min_length=1)
    """Steps to take: a list, or a string such as ``"scale,crop,pad"``. ``scale`` sets the height
    (or the width, where only that is given) and keeps the aspect; ``crop`` cuts the centre out
    where the picture is larger than asked; ``pad`` puts it in the middle of black where it is
    smaller. All three together give exactly the asked size."""
    height: int = Field(default=-1, ge=-1, le=16384)
    """Height in pixels; -1: not set."""
    width: int = Field(default=-1, ge=-1, le=16384)
    """Width in pixels; -1: not set."""
    video_size: int = Field(default=-1, ge=-1, le=16384)
    """Height and width at once; -1: not set."""
    shortest_side: int | None = Field(default=None, ge=2, le=16384)
    """``scale`` brings the shorter side to this many pixels, in place of a height or width."""
    area: int | None = Field(default=None, ge=4)
    """``scale`` brings height × width as near to this many pixels as it can, but not over."""
    upscale: bool = True
    """Whether ``scale`` may enlarge the picture."""
    encode_format: Literal["mp4"] = "mp4"
    """Container of the result."""

    @field_validator("resize_mode", mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return value

    @field_validator("height", "width", "video_size")
    @classmethod
    def _even_or_unset(cls, value: int) -> int:
        if value >= 0 and (value == 0 or value % 2):
            raise ValueError(f"{value} is not even, and video is stored with halved colour")
        return value

    @field_validator("video_size")
    @classmethod
    def _one_way_to_say_the_size(cls, value: int, info: ValidationInfo) -> int:
        if value > 0 and max(info.data.get("height", -1), info.data.get("width", -1)) > 0:
            raise ValueError("give either video_size, or height and width, not both")
        return value

    @model_validator(mode="after")
    def _enough_is_said(self) -> Self:
        bounded = self.shortest_side is not None or self.area is not None
        sized = self._height >= 0 or self._width >= 0
        if not sized and not bounded:
            raise ValueError("give video_size, height, width or shortest_side in pixels, or area")
        if bounded and "scale" not in self.resize_mode:
            raise ValueError("shortest_side and area are for scale; add it to resize_mode")
        for mode in ("crop", "pad"):
            if mode in self.resize_mode and min(self._height, self._width) < 0:
                raise ValueError(f"{mode} needs both height and width, or video_size")
        return self

    @property
    def _height(self) -> int:
        return self.video_size if self.video_size >= 0 else self.height

    @property
    def _width(self) -> int:
        return self.video_size if self.video_size >= 0 else self.width

    def scaled(self, size: ExactSize) -> Size | None:
        """The size that ``scale`` gives; None where it leaves the picture as it is."""
        if "scale" not in self.resize_mode:
            return None
        width, height = float(size.width), float(size.height)
        factor = self._factor(width, height)
        if factor > 1 and not self.upscale:
            return None
        if self.area is not None and factor == self._area_factor(width, height):
            return Size(_even_below(width * factor), _even_below(height * factor))
        return Size(_even(width * factor), _even(height * factor))

    def steps(self, size: Size) -> tuple[Size, Sequence[FilterStep]]:
        """The filters that crop and pad a picture that was scaled to ``size``, and its new size."""
        changes = list(self._changes(size))
        return (changes[-1][1] if changes else size), [step for step, _ in changes]

    def _changes(self, size: Size) -> Iterator[tuple[FilterStep, Size]]:
        if "crop" in self.resize_mode:
            cropped = Size(min(size.width, self._width), min(size.height, self._height))
            if cropped != size:
                size = cropped
                yield FilterStep("crop", f"{size.width}:{size.height}"), size
        if "pad" in self.resize_mode:
            padded = Size(max(size.width, self._width), max(size.height, self._height))
            if padded != size:
                size = padded
                yield FilterStep("pad", f"{size.width}:{size.height}:(ow-iw)/2:(oh-ih)/2"), size

    def _factor(self, width: float, height: float) -> float:
        """How much larger a picture of this size becomes."""
        bounds = []
        if self.shortest_side is not None:
            bounds.append(self.shortest_side / min(width, height))
        if self.area is not None:
            bounds.append(self._area_factor(width, height))
        if bounds:
            return min(bounds)
        return self._height / height if self._height > 0 else self._width / width

    def _area_factor(self, width: float, height: float) -> float:
        assert self.area is not None
        return math.sqrt(self.area / (width * height))


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))


def _even_below(length: float) -> int:
    return max(2, 2 * int(length / 2 + 1e-9))
