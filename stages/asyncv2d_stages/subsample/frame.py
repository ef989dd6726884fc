"""Sets the frame rate, or picks single frames."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from asyncv2d.media import ImageFormat, Span
from asyncv2d.ports import Settings


class FrameSubsampler(Settings):
    """Gives the video a constant frame rate, or makes images of some of its frames.

    Every image is a sample of its own with its time as ``frame_time`` (seconds; as the subtitle has
    it for ``yt_subtitle``), and where there are several its number is added to the key.
    """

    frame_rate: Fraction | None = Field(default=None, gt=0, le=1000)
    """Frames a second of the result, for ``fps``; a fraction such as ``"30000/1001"`` may be given
    as text."""
    downsample_method: Literal["fps", "first_frame", "keyframe", "yt_subtitle", "uniform"] = "fps"
    """``fps``: a video of constant frame rate. Images: ``first_frame``; ``keyframe``: all of them;
    ``yt_subtitle``: one where each subtitle begins; ``uniform``: the middles of ``n_frames`` equal
    parts."""
    n_frames: int | None = Field(default=None, gt=0, le=100_000)
    """Number of images, for ``uniform``."""
    encode_format: Literal["mp4", "jpg", "png", "webp"] = "mp4"
    """Format of the result; images are jpg unless png or webp is asked for."""

    @field_validator("frame_rate", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
            raise ValueError("a frame rate is a number of frames a second")
        try:
            return Fraction(value).limit_denominator(1001)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ValueError(f"{value!r} is not a number of frames a second") from None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.downsample_method == "fps" and self.frame_rate is None:
            raise ValueError("fps needs a frame_rate")
        if self.downsample_method == "fps" and self.encode_format != "mp4":
            raise ValueError(f"fps gives a video, not {self.encode_format}")
        if (self.downsample_method == "uniform") != (self.n_frames is not None):
            raise ValueError("uniform needs n_frames, and nothing else takes it")
        return self

    @property
    def pace(self) -> Fraction | None:
        """The frame rate, where the result is a video."""
        return self.frame_rate if self.downsample_method == "fps" else None

    @property
    def image_format(self) -> ImageFormat | None:
        """The format of the images, where the result is images."""
        if self.downsample_method == "fps":
            return None
        return "jpg" if self.encode_format == "mp4" else self.encode_format

    @property
    def needs_end(self) -> bool:
        """Only ``uniform`` does."""
        return self.downsample_method == "uniform"

    @property
    def needs_subtitles(self) -> bool:
        """Only ``yt_subtitle`` does."""
        return self.downsample_method == "yt_subtitle"

    def moments(
        self, span: Span, keyframes: Sequence[float], subtitles: Sequence[float]
    ) -> Sequence[float]:
        """When to take an image."""
        if self.downsample_method == "keyframe":
            return keyframes
        if self.downsample_method == "yt_subtitle":
            return subtitles
        if self.n_frames is None:
            return [span.start]
        part = span.length / self.n_frames
        return [span.start + (number + 0.5) * part for number in range(self.n_frames)]
