"""Tests of AudioRateSubsampler."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from numpy.typing import NDArray
from pydantic import ValidationError

from asyncv2d.codecs import Encoder
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.types import Body, Processed, UserError
from asyncv2d_stages.subsample.audio_rate import AudioRateSubsampler

Run = Callable[..., Processed]
CODECS = {"m4a": "aac", "mp3": "mp3", "wav": "pcm_s16le", "flac": "flac", "opus": "opus"}
BOTH = {"video": "mp4", "audio": "m4a"}


@cache
def stereo() -> bytes:
    """A video of 1.2 s with a tone of 440 Hz in stereo at 44.1 kHz."""
    made = MadeVideo(scenes(1.2), (64, 48), sample_rate=44100, layout="stereo")
    return made.data()


def sound(body: Body) -> tuple[str, int, int, NDArray[np.float32]]:
    """Codec, sample rate and channels of the sound in a file, and its first channel."""
    with av.open(io.BytesIO(body.read()), "r") as container:
        stream = container.streams.audio[0]
        assert isinstance(stream, AudioStream)
        context = stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=context.layout, rate=context.rate)
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(stream)
            for part in resampler.resample(frame)
        ]
        heard = np.concatenate(parts).astype(np.float32, copy=False)
        return context.codec.canonical_name, context.sample_rate, context.channels, heard


def tone(heard: NDArray[np.float32], rate: int) -> float:
    """The strongest frequency (Hz) in the middle of a sound."""
    part = heard[rate // 10 : rate]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum) * rate / len(part))


def packets(data: bytes, kind: str) -> list[bytes]:
    """The packets of one kind in a file, from time 0 on."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            bytes(packet)
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and packet.pts >= 0
        ]


@pytest.mark.parametrize("extension", CODECS)
@pytest.mark.parametrize(
    ("rate", "channels"), [(None, None), (16000, 1), (48000, 2)], ids=["as it is", "16k", "48k"]
)
def test_sound_is_as_asked(
    extension: str, rate: int | None, channels: int | None, run: Run
) -> None:
    """In each format it has the rate and the channels that are asked for, and the same tone."""
    args = {"sample_rate": rate, "n_audio_channels": channels, "encode_format": extension}
    (sample,) = run(stereo(), {"AudioRate": args}, None, {"audio": extension}).samples
    codec, found_rate, found_channels, heard = sound(sample.parts[extension])
    own_rate = 48000 if extension == "opus" else 44100  # Opus knows no 44.1 kHz, and plays at 48
    played = 48000 if extension == "opus" else rate or own_rate
    assert (codec, found_rate, found_channels) == (CODECS[extension], played, channels or 2)
    assert len(heard) / found_rate == pytest.approx(1.2, abs=0.1)
    assert tone(heard, found_rate) == pytest.approx(440, abs=5)


@pytest.mark.parametrize(
    ("formats", "own", "parts"),
    [
        (None, None, {"mp4", "m4a"}),
        (None, "mp3", {"mp4", "mp3"}),
        ({"audio": "flac"}, None, {"flac"}),
        ({"audio": "flac"}, "mp3", {"mp3"}),
        ({"video": "mp4", "audio": "wav"}, None, {"mp4", "wav"}),
        ({"video": "mp4"}, None, {"mp4"}),
        ({"video": "mp4"}, "mp3", {"mp4"}),
    ],
)
def test_the_part_has_the_format_that_is_said(
    formats: Mapping[str, str] | None, own: str | None, parts: set[str], run: Run
) -> None:
    """Its own format stands above the job's; a job that names no sound has no such part."""
    args = {"sample_rate": 16000, **({} if own is None else {"encode_format": own})}
    (sample,) = run(stereo(), {"AudioRate": args}, None, formats).samples
    assert sample.parts.keys() == parts


@pytest.mark.parametrize("size", [{}, {"Resolution": {"height": 32, "resize_mode": "scale"}}])
def test_the_sound_inside_the_video_is_changed_too(size: dict[str, Any], run: Run) -> None:
    """Beside a picture that is copied or encoded it has the rate and the channels."""
    args = {"sample_rate": 16000, "n_audio_channels": 1}
    (sample,) = run(stereo(), {"AudioRate": args, **size}, None, BOTH).samples
    for part in ("mp4", "m4a"):
        codec, rate, channels, heard = sound(sample.parts[part])
        assert (codec, rate, channels) == ("aac", 16000, 1)
        assert tone(heard, rate) == pytest.approx(440, abs=5)


def test_the_picture_is_not_encoded_for_the_sake_of_sound(run: Run) -> None:
    """Where only sound changes, the packets of the picture stay as they are."""
    done = run(stereo(), {"AudioRate": {"sample_rate": 16000}}, None, {"video": "mp4"})
    made = done.samples[0].parts["mp4"].read()
    assert packets(made, "video") == packets(stereo(), "video")


@pytest.mark.parametrize("args", [{}, {"sample_rate": 44100}, {"n_audio_channels": 2}])
def test_sound_that_is_right_is_copied(args: dict[str, Any], run: Run) -> None:
    """Sound that has the rate and the channels already keeps its packets."""
    (sample,) = run(stereo(), {"AudioRate": args}, None, BOTH).samples
    for part in ("mp4", "m4a"):
        assert packets(sample.parts[part].read(), "audio") == packets(stereo(), "audio")


@pytest.mark.parametrize(
    "args",
    [
        {"sample_rate": 3999},
        {"sample_rate": 400_000},
        {"n_audio_channels": 0},
        {"n_audio_channels": 7},
        {"encode_format": "ogg"},
        {"encode_format": "mp4"},
    ],
)
def test_nonsense_is_refused(args: dict[str, Any]) -> None:
    """Rates, channels and formats that cannot be are errors."""
    with pytest.raises(ValidationError):
        AudioRateSubsampler.model_validate(args)


@pytest.mark.parametrize(
    ("args", "formats", "says"),
    [
        ({"sample_rate": 44100}, {"audio": "opus"}, "sample_rate for opus is one of: 8000, 12000"),
        ({"sample_rate": 96000, "encode_format": "mp3"}, None, "sample_rate for mp3 is one of"),
        ({"sample_rate": 4000}, {"video": "mp4"}, r"sample_rate for mp4 \(aac\) is one of"),
        ({"n_audio_channels": 6, "encode_format": "mp3"}, None, "mp3 cannot hold 6 channels"),
        ({"n_audio_channels": 3}, {"audio": "opus"}, "opus cannot hold 3 channels"),
    ],
)
def test_what_a_format_cannot_hold_is_a_mistake(
    args: dict[str, Any], formats: Mapping[str, str] | None, says: str, run: Run
) -> None:
    """A rate or a number of channels that the format does not have is said with a remedy."""
    with pytest.raises(UserError, match=says):
        run(stereo(), {"AudioRate": args}, None, formats)


@pytest.mark.parametrize("rate", [8000, 11025, 12000])
def test_mp3_inside_mp4_has_fewer_rates(rate: int, run: Run) -> None:
    """A rate that MP3 has only outside MP4 is refused beside a picture, and taken alone."""
    mp3, args = Encoder(audio_codec="mp3"), {"sample_rate": rate}
    with pytest.raises(UserError, match=r"sample_rate for mp4 \(mp3\) is one of: 16000, 22050"):
        run(stereo(), {"AudioRate": args}, None, {"video": "mp4"}, encoder=mp3)
    (sample,) = run(stereo(), {"AudioRate": args}, None, {"audio": "mp3"}, encoder=mp3).samples
    assert sound(sample.parts["mp3"])[:2] == ("mp3", rate)
