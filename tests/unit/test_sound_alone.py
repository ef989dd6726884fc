"""Tests of sound as a part of its own: beside a video, or of a file that is sound alone."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import asyncv2d
from asyncv2d.codecs import Encoder
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.plan import Output, make_plan
from asyncv2d.task import Task
from asyncv2d.types import Body, Cause, ItemError, LocalFile, Processed
from asyncv2d.work import process

Run = Callable[..., Processed]
EXTENSIONS = ["m4a", "mp3", "wav", "flac", "opus"]
# Files of sound alone: what they are asked for in the tests, and how they are made.
SOUNDS = {
    "m4a": ("ipod", "aac"),
    "mp3": ("mp3", "libmp3lame"),
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "opus": ("ogg", "libopus"),
}
CUT = 1.2  # the tone changes from 440 to 880 Hz
SMALL = {"Resolution": {"video_size": 32, "resize_mode": "scale,crop,pad"}}


@cache
def sound(name: str) -> bytes:
    """A file of sound alone, of 2.4 seconds."""
    container, codec = SOUNDS[name]
    return MadeVideo(scenes(CUT, CUT), codec=None, audio=codec, container=container).data()


@cache
def video(audio: str | None = "aac", container: str = "mp4") -> bytes:
    """A video of the same length with the same sound."""
    return MadeVideo(scenes(CUT, CUT), (64, 48), audio=audio, container=container).data()


def heard(body: Body) -> tuple[NDArray[np.float32], int]:
    """The first channel of the sound in a file, from time 0 on, and its sample rate."""
    with body.open() as file, av.open(file, "r") as container:
        stream = container.streams.audio[0]
        rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        parts = [
            (part.time or 0.0, part.to_ndarray()[0])
            for frame in container.decode(stream)
            for part in resampler.resample(frame)
        ]
    whole = np.zeros(round((parts[-1][0] + 1) * rate), np.float32)
    end = 0
    for time, samples in parts:
        place = max(0, round(time * rate))
        kept = samples[max(0, -round(time * rate)) :]
        whole[place : place + len(kept)] = kept
        end = place + len(kept)
    return whole[:end], rate


def tones(body: Body) -> tuple[float, float, float]:
    """Seconds of sound, the tone in its first 0.3 s, and the tone in its last 0.3 s."""
    samples, rate = heard(body)
    begin, end = samples[rate // 20 : rate * 7 // 20], samples[-rate * 7 // 20 : -rate // 20]
    found = [
        float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * rate / len(part))
        for part in (begin, end)
    ]
    return len(samples) / rate, found[0], found[1]


def codec(body: Body) -> str:
    """The codec of the sound in a file, in which there is nothing else."""
    with body.open() as file, av.open(file, "r") as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        return container.streams.audio[0].codec_context.codec.canonical_name


CODECS = {"m4a": "aac", "mp3": "mp3", "wav": "pcm_s16le", "flac": "flac", "opus": "opus"}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("source", SOUNDS)
def test_sound_becomes_sound(source: str, extension: str, run: Run) -> None:
    """From each format to each: all of the sound, in the codec of the new one."""
    (sample,) = run(sound(source), {}, None, {"audio": extension}).samples
    assert (sample.key, set(sample.parts)) == ("00007", {extension})
    assert codec(sample.parts[extension]) == CODECS[extension]
    length, first, last = tones(sample.parts[extension])
    assert length == pytest.approx(2 * CUT, abs=0.06)
    assert [first, last] == pytest.approx([440, 880], abs=8)


@pytest.mark.parametrize("source", SOUNDS)
def test_sound_that_is_what_is_asked_for_is_handed_on(source: str, run: Run) -> None:
    """A file that is just that sound already stays as it is, byte for byte."""
    (sample,) = run(sound(source), {}, None, {"audio": source}).samples
    assert sample.parts[source].read() == sound(source)


def test_a_local_file_is_handed_on_without_a_copy(tmp_path: Path) -> None:
    """The part of the sample is the file itself."""
    path = tmp_path / "sound.mp3"
    path.write_bytes(sound("mp3"))
    plan = make_plan([], Output({"audio": "mp3"}))
    (sample,) = process(Task("00007", LocalFile(path), {}, plan, tmp_path)).samples
    assert sample.parts["mp3"] == LocalFile(path)


def test_a_bitrate_is_a_reason_to_encode(run: Run) -> None:
    """Sound whose bits a second are asked for is never handed on."""
    encoder = Encoder(audio_bitrate=32_000)
    (sample,) = run(sound("mp3"), {}, None, {"audio": "mp3"}, encoder=encoder).samples
    assert len(sample.parts["mp3"].read()) < 0.8 * len(sound("mp3"))


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("source", SOUNDS)
def test_clips_of_sound(source: str, extension: str, run: Run) -> None:
    """Sound alone is cut at its spans, whatever the format is and becomes."""
    clips = [[0.3, 0.9], [0.7, 1.7]]
    first, second = run(sound(source), {}, clips, {"audio": extension}).samples
    assert (first.key, second.key) == ("00007_00000", "00007_00001")
    assert [sample.meta["clips"] for sample in (first, second)] == [[clips[0]], [clips[1]]]
    assert first.meta["receipt"]["frames"] == 0
    for sample, length, tone in ((first, 0.6, 440), (second, 1.0, 880)):
        found, _, last = tones(sample.parts[extension])
        assert found == pytest.approx(length, abs=0.06)
        assert last == pytest.approx(tone, abs=15)


def test_a_clip_past_the_end_is_cut_short(run: Run) -> None:
    """As a clip of a video is; one that begins after the end gives nothing."""
    (sample,) = run(sound("wav"), {}, [[2.0, 9], [5, 6]], {"audio": "wav"}).samples
    assert tones(sample.parts["wav"])[0] == pytest.approx(0.4, abs=0.03)
    with pytest.raises(ItemError) as caught:
        run(sound("wav"), {}, [[5, 6]], {"audio": "wav"})
    assert caught.value.cause is Cause.NO_CLIPS


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("jobs", [{}, SMALL], ids=["copied picture", "encoded picture"])
@pytest.mark.parametrize("clips", [None, [[0.48, 1.92]]], ids=["whole", "clip"])
def test_sound_beside_a_video(jobs: dict[str, Any], clips: Any, extension: str, run: Run) -> None:
    """The part of its own is as long as the video beside it and sounds alike."""
    formats = {"video": "mp4", "audio": extension}
    (sample,) = run(video(), jobs, clips, formats).samples
    assert sample.parts.keys() == {"mp4", extension}
    assert codec(sample.parts[extension]) == CODECS[extension]
    inside, beside = tones(sample.parts["mp4"]), tones(sample.parts[extension])
    assert beside[0] == pytest.approx(inside[0], abs=0.06)
    assert beside[1:] == pytest.approx(inside[1:], abs=8)


@pytest.mark.parametrize(
    ("audio", "container", "inside", "alone"),
    [
        ("aac", "mp4", "copied", "copied"),
        ("libopus", "matroska", "copied", "encoded"),
        ("libmp3lame", "matroska", "copied", "encoded"),
        ("pcm_s16le", "matroska", "encoded", "encoded"),
    ],
)
def test_each_part_is_copied_or_encoded_for_itself(
    audio: str, container: str, inside: str, alone: str, run: Run
) -> None:
    """What fits into MP4 may not fit beside it; each part is copied where it can be."""
    data = video(audio, container)
    formats = {"video": "mp4", "audio": "m4a"}
    (sample,) = run(data, SMALL, [[0.4, 2.0]], formats).samples
    assert sample.meta["receipt"]["audio"] == inside
    assert codec(sample.parts["m4a"]) == "aac"
    source = set(packets(data))
    assert set(packets(sample.parts["mp4"].read())).isdisjoint(source) == (inside == "encoded")
    assert set(packets(sample.parts["m4a"].read())).isdisjoint(source) == (alone == "encoded")


def packets(data: bytes) -> list[bytes]:
    """The packets of sound in a file."""
    with av.open(io.BytesIO(data), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_no_picture_is_decoded_for_sound(run: Run) -> None:
    """A job that makes sound only leaves the picture alone."""
    done = run(video(), {}, [[0.4, 2.0]], {"audio": "mp3"})
    assert done.facts == {"frames_decoded": 0}
    assert done.samples[0].parts.keys() == {"mp3"}


def test_a_silent_video_has_no_sound_to_give(run: Run) -> None:
    """Where sound is all that is asked for, that is a cause; else the video comes alone."""
    with pytest.raises(ItemError) as caught:
        run(video(None), {}, None, {"audio": "mp3"})
    assert caught.value.cause is Cause.NO_AUDIO_STREAM
    (sample,) = run(video(None), {}, None, {"video": "mp4", "audio": "mp3"}).samples
    assert sample.parts.keys() == {"mp4"}


def test_sound_alone_has_no_video_to_give(run: Run) -> None:
    """Where a video is asked for, that is a cause; where sound is too, it comes alone."""
    with pytest.raises(ItemError) as caught:
        run(sound("m4a"), SMALL)
    assert caught.value.cause is Cause.NO_VIDEO_STREAM
    (sample,) = run(sound("m4a"), SMALL, None, {"video": "mp4", "audio": "wav"}).samples
    assert sample.parts.keys() == {"wav"}


@cache
def late(container: str) -> bytes:
    """A video whose picture begins half a second after its sound."""
    return MadeVideo(scenes(1.2), (64, 48), container=container, video_delay=0.5).data()


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_sound_before_the_first_picture_is_kept(container: str, extension: str, run: Run) -> None:
    """The sound of the part of its own is there from its first moment on, and unbroken."""
    (sample,) = run(late(container), {}, None, {"audio": extension}).samples
    samples, rate = heard(sample.parts[extension])
    window = rate // 100
    loudness = [
        float(np.sqrt(np.mean(samples[begin : begin + window] ** 2)))
        for begin in range(0, rate, window)
    ]
    silent = 3 if extension == "mp3" else 0  # the encoder's own, which is not to be heard
    assert min(loudness[silent:]) > 0.15
    assert len(samples) / rate == pytest.approx(1.2, abs=0.06)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("jobs", [SMALL, {"Frame": {"frame_rate": 5}}], ids=["own times", "5 fps"])
def test_sound_before_the_first_picture_is_kept_beside_it(
    container: str, jobs: dict[str, Any], run: Run
) -> None:
    """The video's own sound begins before the picture too, copied or encoded."""
    for encoder in (Encoder(preset="ultrafast"), Encoder(preset="ultrafast", audio_codec="opus")):
        (sample,) = run(late(container), jobs, [[0, 9]], encoder=encoder).samples
        samples, rate = heard(sample.parts["mp4"])
        early = samples[rate // 50 : rate * 9 // 20]
        assert np.sqrt(np.mean(early**2)) > 0.15


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_every_channel_keeps_its_own(channels: int, extension: str) -> None:
    """Each of many channels is cut at the exact sample, and is still itself."""
    rng = np.random.default_rng(1)
    samples = rng.integers(-20_000, 20_000, (48_000, channels), np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, 48_000, 0, "NONE", ""))
        writer.writeframes(samples.tobytes())
    made = asyncv2d.process(
        file.getvalue(),
        {"ClippingSubsampler": {"args": {"precision": "exact"}}},
        clips=[[0.25, 0.75]],
        encode_formats={"audio": extension},
    )
    with av.open(made.samples[0].parts[extension].open(), "r") as container:
        packer = av.AudioResampler(format="s16")
        parts = [
            part.to_ndarray().reshape(-1, channels)
            for frame in container.decode(audio=0)
            for part in packer.resample(frame)
        ]
    found, wanted = np.concatenate(parts).astype(int), samples[12_000:36_000].astype(int)
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() <= 1


@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_clips_end_with_the_sound(seconds: float, run: Run) -> None:
    """And not with the picture beside it, which may be longer or shorter."""
    data = unlike_lengths(picture=MadeVideo(scenes(3.5), (64, 48), audio=None), seconds=seconds)
    clipping = {"Clipping": {"precision": "exact"}}
    samples = run(data, clipping, [[0.5, 1.5], [1.5, 9.0], [6.0, 7.0]], {"audio": "wav"}).samples
    lengths = []
    for sample in samples:
        channel, rate = heard(sample.parts["wav"])
        lengths.append(len(channel) / rate)
        assert sample.meta["receipt"]["duration"] == pytest.approx(lengths[-1], abs=0.03)
    assert lengths == pytest.approx([1.0, seconds - 1.5], abs=0.03)


def unlike_lengths(picture: MadeVideo, seconds: float) -> bytes:
    """A video whose sound lasts so many seconds."""
    sound = MadeVideo(scenes(seconds), codec=None, audio="aac").data()
    buffer = io.BytesIO()
    with (
        av.open(io.BytesIO(picture.data()), "r") as seen,
        av.open(io.BytesIO(sound), "r") as listened,
        av.open(buffer, "w", format="mp4") as output,
    ):
        streams = [
            output.add_stream_from_template(source.streams[0], opaque=True)
            for source in (seen, listened)
        ]
        for source, stream in zip((seen, listened), streams, strict=True):
            for packet in source.demux(source.streams[0]):
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
    return buffer.getvalue()
