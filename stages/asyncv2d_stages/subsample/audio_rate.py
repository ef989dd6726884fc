"""Changes the sound."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asyncv2d.media import AudioExtension
from asyncv2d.ports import Settings


class AudioRateSubsampler(Settings):
    """Resamples, mixes and encodes the sound, also where it stays inside the video.

    Sound that is as asked already is copied.
    """

    sample_rate: int | None = Field(default=None, ge=4000, le=384_000)
    """Samples a second; null: as in the source."""
    encode_format: AudioExtension | None = None
    """Extension of the sound as a part of its own; null: what ``encode_formats`` says, else m4a."""
    n_audio_channels: Literal[1, 2, 3, 4, 5, 6, 8] | None = None
    """Channels to mix to; null: as in the source."""

    @property
    def audio_format(self) -> str | None:
        """The format of the part, if this configuration says one."""
        return self.encode_format
