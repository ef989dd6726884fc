"""Tests of the words for how sound is to be written."""

from __future__ import annotations

import pytest
from av.audio.layout import AudioLayout

from asyncv2d.codecs import AUDIO_FORMATS, VIDEO_SOUND
from asyncv2d.sound import CHANNEL_LAYOUTS, SoundShape
from asyncv2d_stages.subsample.audio_rate import AudioRateSubsampler


@pytest.mark.parametrize("channels", CHANNEL_LAYOUTS)
def test_each_number_of_channels_has_a_layout(channels: int) -> None:
    """FFmpeg knows the layout, and it has so many channels."""
    layout = SoundShape(VIDEO_SOUND["aac"], channels=channels).layout
    assert layout is not None
    assert AudioLayout(layout).nb_channels == channels


@pytest.mark.parametrize("channels", CHANNEL_LAYOUTS)
def test_each_of_them_can_be_asked_for(channels: int) -> None:
    """The subsampler takes the numbers for which there is a layout."""
    made = AudioRateSubsampler.model_validate({"n_audio_channels": channels})
    assert made.n_audio_channels == channels


def test_what_is_not_asked_for_stays() -> None:
    """A shape that names only a format changes nothing."""
    shape = SoundShape(AUDIO_FORMATS["wav"])
    assert (shape.codec, shape.sample_rate, shape.channels, shape.layout, shape.bit_rate) == (
        *(None, None, None),
        *(None, None),
    )
