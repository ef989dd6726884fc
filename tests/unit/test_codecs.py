"""Tests of the formats that can be written: what is asked of an encoder is what is in the file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from pydantic import ValidationError

from asyncv2d.codecs import AUDIO_FORMATS, VIDEO_SOUND, Encoder, PixelFormat, check_formats
from asyncv2d.encode import PictureEncoder, Timing
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.mux import ClipFile
from asyncv2d.types import Processed

Run = Callable[..., Processed]
FRAMES = 24
MADE = MadeVideo(scenes(2), (64, 48))
CODECS = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "av1"}
PIXEL_FORMATS = [
    *(("h264", name) for name in get_args(PixelFormat)),
    *(("h265", name) for name in get_args(PixelFormat)),
    *(("vp9", name) for name in ("yuv420p", "yuv422p", "yuv444p")),
    *(("av1", name) for name in ("yuv420p", "yuv420p10le")),
]


@cache
def encoded(**settings: Any) -> bytes:
    """A silent file of 24 numbered frames."""
    return encoded_anew(**settings)


def encoded_anew(**settings: Any) -> bytes:
    """The same, encoded once more."""
    encoder = Encoder.model_validate(settings)
    frames = [
        VideoFrame.from_ndarray(MADE.picture(number), "rgb24").reformat(format=encoder.pixel_format)
        for number in range(FRAMES)
    ]
    picture = PictureEncoder(frames[0], Timing(Fraction(25), Fraction(25)), encoder)
    for tick, frame in enumerate(frames):
        picture.encode(frame, tick)
    data = ClipFile("mp4", picture.finish(FRAMES)).finish()
    assert data is not None
    return data


def keyframes(data: bytes) -> list[int]:
    """The numbers of the frames that are keyframes."""
    with av.open(io.BytesIO(data), "r") as file:
        keys = [packet for packet in file.demux(video=0) if packet.size and packet.is_keyframe]
    return [round((packet.pts or 0) * packet.time_base * 25) for packet in keys]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_written(codec: str) -> None:
    """The file has the codec that is asked for, and shows every frame in its place."""
    with av.open(io.BytesIO(encoded(codec=codec)), "r") as file:
        stream = file.streams.video[0]
        assert stream.codec_context.codec.canonical_name == CODECS[codec]
        shown = list(file.decode(stream))
    assert [read_number(frame.to_ndarray(format="gray")) for frame in shown] == list(range(FRAMES))
    assert np.allclose([frame.time or 0 for frame in shown], np.arange(FRAMES) / 25, atol=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_an_encoder_says_nothing(codec: str) -> None:
    """In a process of its own, as a worker is, it writes to neither stdout nor stderr."""
    program = (
        "import asyncv2d; from asyncv2d.made_media import MadeVideo, scenes;"
        "data = MadeVideo(scenes(0.2), (64, 48), audio=None).data();"
        "jobs = {'FrameSubsampler': {'frame_rate': 5}};"
        f"asyncv2d.process(data, jobs, storage={{'encoder': {{'codec': {codec!r}}}}})"
    )
    environment = {name: value for name, value in os.environ.items() if name != "SVT_LOG"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_frames_give_the_same_bytes(codec: str) -> None:
    """An encoder that is used twice gives one file."""
    assert encoded_anew(codec=codec) == encoded(codec=codec)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames_are_decoded_in_good_time(count: int, codec: str) -> None:
    """No frame is decoded after it is shown, nor long before, however often it is tried."""
    settings, timing = Encoder.model_validate({"codec": codec}), Timing(Fraction(5), Fraction(25))
    for _ in range(60 if codec == "h265" else 1):
        pictures = (VideoFrame.from_ndarray(MADE.picture(n), "rgb24") for n in range(count))
        frames = [picture.reformat(format="yuv420p") for picture in pictures]
        encoder = PictureEncoder(frames[0], timing, settings)
        for tick, frame in enumerate(frames):
            encoder.encode(frame, tick)
        stamps = encoder.finish(count).stamps
        assert sorted(stamp.pts or 0 for stamp in stamps) == list(range(count))
        assert all(-count < (stamp.dts or 0) <= (stamp.pts or 0) for stamp in stamps)
        assert {stamp.duration for stamp in stamps} == {1}


@pytest.mark.parametrize(("codec", "pixel_format"), PIXEL_FORMATS)
def test_every_pixel_format_is_written(codec: str, pixel_format: str) -> None:
    """Pixels are stored as asked, in each codec that has such pixels."""
    with av.open(io.BytesIO(encoded(codec=codec, pixel_format=pixel_format)), "r") as file:
        assert {frame.format.name for frame in file.decode(video=0)} == {pixel_format}


@pytest.mark.parametrize("codec", CODECS)
def test_keyframes_come_as_often_as_asked(codec: str) -> None:
    """With an interval every so many frames; without, a short clip has one, its first."""
    assert keyframes(encoded(codec=codec, keyframe_interval=8)) == [0, 8, 16]
    assert keyframes(encoded(codec=codec)) == [0]


@pytest.mark.parametrize(("codec", "default"), [("h264", 23), ("h265", 28)])
@pytest.mark.parametrize("crf", [None, 17, 31.5])
def test_the_encoder_got_its_crf(codec: str, default: float, crf: float | None) -> None:
    """The encoder's own note in the file names the quality, or the codec's default."""
    note = f"crf={default if crf is None else crf:.1f}".encode()
    assert note in encoded(codec=codec, crf=crf)


@pytest.mark.parametrize("codec", CODECS)
def test_a_higher_crf_makes_smaller_files(codec: str) -> None:
    """Quality goes from good and large to bad and small; without one it is in between."""
    sizes = [len(encoded(codec=codec, crf=crf)) for crf in (5, None, 50)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(
    ("codec", "usual", "other"),
    [("h264", "medium", "ultrafast"), ("h265", "medium", "ultrafast"), ("vp9", 1, 8)],
)
def test_a_preset_changes_the_work(codec: str, usual: Any, other: Any) -> None:
    """Another preset gives another file, and the usual one, by number or name, the same."""
    assert encoded(codec=codec, preset=usual) == encoded(codec=codec)
    assert encoded(codec=codec, preset=str(usual)) == encoded(codec=codec)
    assert encoded(codec=codec, preset=other) != encoded(codec=codec)


@pytest.mark.parametrize(
    ("codec", "tag"), [("h264", "avc1"), ("h265", "hvc1"), ("vp9", "vp09"), ("av1", "av01")]
)
def test_tags_are_the_ones_that_players_know(codec: str, tag: str) -> None:
    """The picture's tag in MP4 is the usual one."""
    with av.open(io.BytesIO(encoded(codec=codec)), "r") as file:
        assert file.streams.video[0].codec_tag == tag


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"crf": 52}, "crf goes from 0 to 51 for h264"),
        ({"codec": "h265", "crf": 52}, "crf goes from 0 to 51 for h265"),
        ({"codec": "vp9", "crf": 64}, "crf goes from 0 to 63 for vp9"),
        ({"crf": -1}, "greater than or equal to 0"),
        ({"preset": "warp"}, "preset for h264 is one of: ultrafast, .* veryslow"),
        ({"preset": 5}, "preset for h264 is one of"),
        ({"codec": "vp9", "preset": "medium"}, "preset for vp9 is one of: 0, 1, .* 8"),
        ({"codec": "av1", "preset": 14}, "preset for av1 is one of: 0, 1, .* 13"),
        ({"preset": True}, "valid string"),
        ({"codec": "vp9", "pixel_format": "yuv420p10le"}, "pixel_format for vp9 is one of"),
        ({"codec": "av1", "pixel_format": "yuv444p"}, "for av1 is one of: yuv420p, yuv420p10le"),
        ({"pixel_format": "rgb24"}, "yuv420p"),
        ({"codec": "mpeg4"}, "'h264', 'h265', 'vp9' or 'av1'"),
        ({"keyframe_interval": 0}, "greater than 0"),
        ({"audio_codec": "vorbis"}, "'aac', 'opus' or 'mp3'"),
        ({"audio_bitrate": 7_999}, "greater than or equal to 8000"),
        ({"audio_bitrate": 1_000_001}, "less than or equal to 1000000"),
        ({"bitrate": 1}, "bitrate"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], says: str) -> None:
    """A value that the codec does not take is named, with those that it takes."""
    with pytest.raises(ValidationError, match=says):
        Encoder.model_validate(settings)


def sound_of(run: Run, data: bytes, **encoder: Any) -> tuple[str, float, str]:
    """Codec, bits a second, and method of the sound in a video that is encoded."""
    settings = Encoder.model_validate(encoder)
    (sample,) = run(data, {"Frame": {"frame_rate": 5}}, encoder=settings).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
        codec = file.streams.audio[0].codec_context.codec.canonical_name
        packets = [packet for packet in file.demux(audio=0) if packet.size]
    seconds = float(sum((packet.duration or 0) * packet.time_base for packet in packets))
    bits = sum(packet.size for packet in packets) * 8
    return codec, bits / seconds, sample.meta["receipt"]["audio"]


@pytest.mark.parametrize("codec", VIDEO_SOUND)
def test_sound_in_a_video_has_the_codec_and_bits_that_are_asked_for(
    codec: str, two_scenes_file: bytes, run: Run
) -> None:
    """Sound is encoded with the codec, at the bits a second or as near as the encoder comes."""
    measured = []
    for asked in (32_000, 64_000):
        settings = {"audio_codec": codec, "audio_bitrate": asked}
        found, bits, method = sound_of(run, two_scenes_file, **settings)
        assert (found, method) == (codec, "encoded")
        assert bits == pytest.approx(asked, rel=0.45)
        measured.append(bits)
    assert measured[1] > 1.5 * measured[0]


@pytest.mark.parametrize("source", ["aac", "opus"])
@pytest.mark.parametrize("asked", [None, "aac", "opus", "mp3"])
def test_sound_that_is_right_is_copied(source: str, asked: str | None, run: Run) -> None:
    """Without a codec that MP4 takes is copied; with one, only sound that has it."""
    audio = {"aac": "aac", "opus": "libopus"}[source]
    data = MadeVideo(scenes(0.6), (64, 48), audio=audio).data()
    found, _, method = sound_of(run, data, audio_codec=asked)
    assert found == (asked or source)
    assert method == ("copied" if asked in (None, source) else "encoded")


@pytest.mark.parametrize(
    "formats",
    [{}, {"video": "mp4"}, *({"video": "mp4", "audio": name} for name in AUDIO_FORMATS)],
)
def test_formats_that_can_be_written_are_accepted(formats: dict[str, str]) -> None:
    """Videos are MP4, sound is any format that there is."""
    check_formats(formats)


@pytest.mark.parametrize(
    ("formats", "says"),
    [
        ({"video": "webm"}, "video cannot be written as 'webm'; use: mp4"),
        ({"audio": "ogg"}, "audio cannot be written as 'ogg'; use: flac, m4a, mp3, opus, wav"),
        ({"audio": "mp4"}, "audio cannot be written as 'mp4'"),
        ({"image": "jpg"}, "'image' is no modality; use video and audio"),
        ({"video": "mp4", "audio": ""}, "audio cannot be written as ''"),
    ],
)
def test_formats_that_cannot_be_written_are_refused(formats: dict[str, str], says: str) -> None:
    """What is wrong is named, with what would be right."""
    with pytest.raises(ValueError, match=says):
        check_formats(formats)


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 44100])
def test_mp3_in_a_video_has_a_rate_that_mp4_knows(rate: int, run: Run) -> None:
    """Sound of a rate that MP3 has but not inside MP4 is resampled; other rates stay."""
    made = MadeVideo(
        *(scenes(0.6), (64, 48)), audio="pcm_s16le", container="matroska", sample_rate=rate
    )
    encoder = Encoder(audio_codec="mp3")
    (sample,) = run(made.data(), {"Frame": {"frame_rate": 5}}, encoder=encoder).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
        context = file.streams.audio[0].codec_context
        assert (context.codec.canonical_name, context.sample_rate) == (
            "mp3",
            48000 if rate < 16000 else rate,
        )
        frames = list(file.decode(audio=0))
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert np.abs(sound).max() > 0.2
    assert len(sound) / context.sample_rate == pytest.approx(0.6, abs=0.1)
