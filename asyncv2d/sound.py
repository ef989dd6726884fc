"""How sound is to be written: plain data that the planner decides and the audio pass follows."""

from __future__ import annotations

from msgspec import Struct

from asyncv2d.codecs import AudioFormat

CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""The numbers of channels that can be asked for, and the layouts they mean."""


class SoundShape(Struct, frozen=True):
    """None leaves a property as it is in the source.

    ``codec`` is the codec it must have in the end, ``bit_rate`` in bits a second.
    """

    format: AudioFormat
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bit_rate: int | None = None

    @property
    def layout(self) -> str | None:
        """FFmpeg's name of the channels that are asked for."""
        return None if self.channels is None else CHANNEL_LAYOUTS[self.channels]
