"""Sets the frame rate."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, field_validator

from asyncv2d.ports import Settings


class FrameSubsampler(Settings):
    """Gives the video a constant frame rate by dropping or repeating frames."""

    frame_rate: Fraction = Field(gt=0, le=1000)
    """Frames a second of the result; a fraction such as ``"30000/1001"`` may be given as text."""
    downsample_method: Literal["fps"] = "fps"
    """``fps``: the result is a video of constant frame rate."""
    encode_format: Literal["mp4"] = "mp4"
    """Container of the result."""

    @field_validator("frame_rate", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
            raise ValueError("a frame rate is a number of frames a second")
        try:
            return Fraction(value).limit_denominator(1001)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"{value!r} is not a number of frames a second") from None
