"""The formats that can be written, and the settings of their encoders."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Self

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from asyncv2d.ports import Settings

PixelFormat = Literal["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"]

_NAMED_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)


class _VideoCodec(NamedTuple):
    """An encoder of FFmpeg: its name, its defaults, and what it takes.

    ``fixed`` options give one thread, since parallelism is across videos, and the same bytes on
    every run and machine. ``highest_rate`` is in frames a second.
    """

    encoder: str
    crf: float
    crf_limit: float
    preset: str
    presets: tuple[str, ...]
    preset_option: str
    pixel_formats: tuple[PixelFormat, ...]
    fixed: Mapping[str, str]
    tag: str | None = None
    highest_rate: int = 1000


# cpu-independent: x264's AVX-512 code for macroblock trees reads memory it never wrote, so without
# this two runs differ.
_VIDEO_CODECS: Mapping[str, _VideoCodec] = {
    "h264": _VideoCodec(
        "libx264",
        crf=23,
        crf_limit=51,
        preset="medium",
        presets=_NAMED_PRESETS,
        preset_option="preset",
        pixel_formats=(
            *("yuv420p", "yuv422p", "yuv444p"),
            *("yuv420p10le", "yuv422p10le", "yuv444p10le"),
        ),
        fixed={"threads": "1", "x264-params": "cpu-independent=1"},
    ),
    "h265": _VideoCodec(
        "libx265",
        crf=28,
        crf_limit=51,
        preset="medium",
        presets=_NAMED_PRESETS,
        preset_option="preset",
        pixel_formats=(
            *("yuv420p", "yuv422p", "yuv444p"),
            *("yuv420p10le", "yuv422p10le", "yuv444p10le"),
        ),
        fixed={"x265-params": "pools=none:frame-threads=1:log-level=none"},
        tag="hvc1",  # the one that Apple's players accept
    ),
    "vp9": _VideoCodec(
        "libvpx-vp9",
        crf=32,
        crf_limit=63,
        preset="1",
        presets=tuple(str(number) for number in range(9)),
        preset_option="cpu-used",
        pixel_formats=("yuv420p", "yuv422p", "yuv444p"),
        fixed={"threads": "1", "b": "0", "deadline": "good"},
    ),
    "av1": _VideoCodec(
        "libsvtav1",
        crf=35,
        crf_limit=63,
        preset="10",
        presets=tuple(str(number) for number in range(14)),
        preset_option="preset",
        pixel_formats=("yuv420p", "yuv420p10le"),
        fixed={"svtav1-params": "lp=1"},
        highest_rate=240,  # SVT-AV1 refuses more
    ),
}


class Encoder(Settings):
    """How clips are encoded, where they have to be; streams that fit are copied."""

    codec: Literal["h264", "h265", "vp9", "av1"] = "h264"
    """Codec of the picture."""
    crf: float | None = Field(default=None, ge=0)
    """Quality, lower is better; null: 23 for h264, 28 for h265, 32 for vp9, 35 for av1."""
    preset: str | None = None
    """Speed against size; null: medium for h264 and h265, 1 (of 0 to 8) for vp9, 10 (of 0 to 13)
    for av1."""
    keyframe_interval: int | None = Field(default=None, gt=0)
    """Frames from one keyframe to the next at most; null: the encoder's own."""
    pixel_format: PixelFormat = "yuv420p"
    """How pixels are stored."""
    audio_codec: Literal["aac", "opus", "mp3"] | None = None
    """Codec of the sound inside a video; null: as it is where it can be copied, else aac."""
    audio_bitrate: int | None = Field(default=None, ge=8_000, le=1_000_000)
    """Bits a second of sound that is encoded; null: the encoder's own. If given, nothing is copied.
    """

    @field_validator("preset", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_the_codec(self) -> Self:
        known = _VIDEO_CODECS[self.codec]
        if self.crf is not None and self.crf > known.crf_limit:
            raise ValueError(f"crf goes from 0 to {known.crf_limit:g} for {self.codec}")
        if self.preset is not None and self.preset not in known.presets:
            raise ValueError(f"preset for {self.codec} is one of: {', '.join(known.presets)}")
        if self.pixel_format not in known.pixel_formats:
            raise ValueError(
                f"pixel_format for {self.codec} is one of: {', '.join(known.pixel_formats)}"
            )
        return self

    @property
    def name(self) -> str:
        """FFmpeg's name of the picture's encoder."""
        return _VIDEO_CODECS[self.codec].encoder

    @property
    def tag(self) -> str | None:
        """The picture's codec tag in MP4, where FFmpeg's choice is not the usual one."""
        return _VIDEO_CODECS[self.codec].tag

    @property
    def highest_rate(self) -> int:
        """The most frames a second that the picture's encoder can be told; it takes more."""
        return _VIDEO_CODECS[self.codec].highest_rate

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's options of the picture's encoder; always one thread."""
        known = _VIDEO_CODECS[self.codec]
        crf = known.crf if self.crf is None else self.crf
        options = {
            **known.fixed,
            "crf": f"{crf:g}",
            known.preset_option: self.preset or known.preset,
        }
        if self.keyframe_interval is not None:
            options["g"] = str(self.keyframe_interval)
        return options


class AudioFormat(Struct, frozen=True):
    """A way to store sound: FFmpeg's container and encoder, and what they take.

    ``copied`` are codecs whose packets can be put into the container from any packet on;
    ``copied_whole`` those that only can from the first one. ``rates`` and ``layouts`` are None
    where the encoder takes all; sound that has another is resampled to ``other_rate``, or mixed to
    mono or stereo.
    """

    container: str
    encoder: str
    copied: frozenset[str] = frozenset()
    copied_whole: frozenset[str] = frozenset()
    rates: frozenset[int] | None = None
    layouts: frozenset[str] | None = None
    other_rate: int = 48000
    lossless: bool = False


_AAC_RATES = frozenset(
    {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
)
_AAC_LAYOUTS = frozenset(
    {"mono", "stereo", "3.0", "4.0", "5.0", "5.0(side)", "5.1", "5.1(side)", "7.1"}
)
_MP3_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
MP3_RATES_IN_MP4 = _MP3_RATES - {8000, 11025, 12000}
"""Rates at which MP4 takes MP3."""
_OPUS_RATES = frozenset({8000, 12000, 16000, 24000, 48000})
_ONE_OR_TWO = frozenset({"mono", "stereo"})

# Vorbis is not among them: its packets cannot be decoded without a header that MP4 does not hold.
_IN_MP4 = frozenset({"aac", "ac3", "eac3", "opus", "flac", "alac", "mp3"})
VIDEO_SOUND: Mapping[str, AudioFormat] = {
    "aac": AudioFormat("mp4", "aac", _IN_MP4, rates=_AAC_RATES, layouts=_AAC_LAYOUTS),
    "opus": AudioFormat("mp4", "libopus", _IN_MP4, rates=_OPUS_RATES, layouts=_ONE_OR_TWO),
    "mp3": AudioFormat("mp4", "libmp3lame", _IN_MP4, rates=MP3_RATES_IN_MP4, layouts=_ONE_OR_TWO),
}
"""What the sound inside a video is encoded as, by the codec's usual name."""

AUDIO_FORMATS: Mapping[str, AudioFormat] = {
    "m4a": AudioFormat(
        "ipod", "aac", frozenset({"aac", "alac"}), rates=_AAC_RATES, layouts=_AAC_LAYOUTS
    ),
    "mp3": AudioFormat(
        *("mp3", "libmp3lame"),
        copied_whole=frozenset({"mp3"}),
        rates=_MP3_RATES,
        layouts=_ONE_OR_TWO,
    ),
    "wav": AudioFormat("wav", "pcm_s16le", lossless=True),
    "flac": AudioFormat("flac", "flac", copied_whole=frozenset({"flac"}), lossless=True),
    "opus": AudioFormat(
        *("opus", "libopus"),
        copied_whole=frozenset({"opus"}),
        rates=_OPUS_RATES,
        layouts=_ONE_OR_TWO,
    ),
}
"""What sound is stored as in a part of its own, by extension."""


def check_formats(formats: Mapping[str, str]) -> None:
    """Raises ValueError where ``encode_formats`` names what cannot be written."""
    known = {"video": ["mp4"], "audio": sorted(AUDIO_FORMATS)}
    for modality, extension in formats.items():
        if modality not in known:
            raise ValueError(f"{modality!r} is no modality; use video and audio")
        if extension not in known[modality]:
            choices = ", ".join(known[modality])
            raise ValueError(f"{modality} cannot be written as {extension!r}; use: {choices}")
