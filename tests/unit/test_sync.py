"""Tests that sound and picture stay together: both change where a scene ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from asyncv2d.codecs import Encoder
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Blob, Body, Processed, Sample

Run = Callable[..., Processed]
NEAR = 0.02  # seconds
WINDOW = 1 / 40  # seconds: whole periods of 440 and of 880 Hz
two_tones = partial(MadeVideo, scenes(1.52, 0.6), (64, 48), keyframe_interval=8)
SOURCES = {
    "aac": two_tones(),
    "b-frames": two_tones(b_frames=3),
    "aac at 44.1 kHz": two_tones(sample_rate=44100),
    "opus": two_tones(audio="libopus", container="matroska"),
    "flac": two_tones(audio="flac", container="matroska"),
    "mp3": two_tones(audio="libmp3lame", container="matroska"),
    "pcm": two_tones(audio="pcm_s16le", codec="mpeg4", container="avi"),
    "avi": two_tones(audio="pcm_s16le", container="avi"),
    "avi with b-frames": two_tones(audio="pcm_s16le", container="avi", b_frames=2),
    "transport stream": two_tones(container="mpegts", b_frames=2),
    "clock at 10 s": two_tones(start=10.0),
    "uneven": two_tones(uneven=True),
    "late picture": two_tones(video_delay=0.24),
}
EXACT = {"Clipping": {"precision": "exact"}}
JOBS: dict[str, dict[str, Any]] = {
    "own times": EXACT,
    "100 fps": {"Frame": {"frame_rate": 100}},
    "low": {"Clipping": {"precision": "low"}},
    "keyframe_adjusted": {"Clipping": {"precision": "keyframe_adjusted"}},
    "encoded sound": {**EXACT, "AudioRate": {"sample_rate": 24000, "n_audio_channels": 1}},
}
FAST = Encoder(preset="ultrafast")
SPANS = [(0.5, 1.95), (1.211, 1.95)]
# The clocks of the others begin with what the encoder of their sound put before it.
FROM_ZERO = [name for name in SOURCES if name not in ("transport stream", "clock at 10 s")]


@cache
def file(name: str) -> bytes:
    """The file of a source."""
    return SOURCES[name].data()


def heard(body: Body) -> tuple[NDArray[np.float32], int]:
    """The first channel of the sound in a file, from time 0 on, and its sample rate.

    The clock of an MP3 file begins with what the encoder added, which is not to be heard.
    """
    with body.open() as opened, av.open(opened, "r") as container:
        stream = container.streams.audio[0]
        rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        added = (container.start_time or 0) / av.time_base if container.format.name == "mp3" else 0
        sound = np.zeros(rate * 5, np.float32)
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                first, samples = round(((part.time or 0.0) - added) * rate), part.to_ndarray()[0]
                samples = samples[max(0, -first) :]
                first = max(0, first)
                sound[first : first + len(samples)] = samples
    return sound, rate


def tone_change(body: Body) -> float:
    """When the tone changes from 440 to 880 Hz (seconds)."""
    sound, rate = heard(body)
    length = round(WINDOW * rate)
    clock = 2j * np.pi * np.arange(len(sound)) / rate
    low, high = (strength(sound * np.exp(clock * tone), length) for tone in (440, 880))
    return float(np.argmax((high > low) & (high > 0.02 * length)) / rate + WINDOW / 2)


def strength(turned: NDArray[np.complex128], length: int) -> NDArray[np.float64]:
    """The size of the sum of each ``length`` neighbours."""
    sums = np.cumsum(turned)
    return np.abs(sums[length:] - sums[:-length])


def picture_change(sample: Sample, made: MadeVideo) -> float:
    """When the first frame of the second scene comes (seconds)."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        for frame in container.decode(video=0):
            if read_number(frame.to_ndarray(format="gray")) >= made.cut_frames[0]:
                return frame.time or 0.0
    raise AssertionError("the second scene never comes")


def test_the_measure_is_right() -> None:
    """The sources themselves change within a few milliseconds of where they are made to."""
    made = SOURCES["flac"]
    assert tone_change(Blob.of(file("flac"))) == pytest.approx(made.cut_times[0], abs=0.003)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("job", JOBS)
def test_the_tone_changes_with_the_picture(name: str, job: str, run: Run) -> None:
    """In clips from anywhere, copied or encoded, sound and picture change within 20 ms."""
    made = SOURCES[name]
    for sample in run(file(name), JOBS[job], SPANS, encoder=FAST).samples:
        difference = tone_change(sample.parts["mp4"]) - picture_change(sample, made)
        assert abs(difference) < NEAR


@pytest.mark.parametrize("name", FROM_ZERO)
@pytest.mark.parametrize("job", ["own times", "100 fps"])
def test_exact_clips_change_where_the_video_does(name: str, job: str, run: Run) -> None:
    """In a clip that is cut exactly, both change at the cut's time less the span's start."""
    made = SOURCES[name]
    samples = run(file(name), JOBS[job], SPANS, encoder=FAST).samples
    for sample, (start, _) in zip(samples, SPANS, strict=True):
        change = made.cut_times[0] - start
        assert abs(tone_change(sample.parts["mp4"]) - change) < NEAR
        assert abs(picture_change(sample, made) - change) < 1 / 25 + 1e-3


@pytest.mark.parametrize("name", ["aac", "aac at 44.1 kHz", "opus", "mp3", "late picture"])
@pytest.mark.parametrize("extension", ["m4a", "mp3", "wav", "flac", "opus"])
def test_sound_beside_a_clip_begins_with_it(name: str, extension: str, run: Run) -> None:
    """A part of sound alone begins at the start of its span, as the video beside it does."""
    made = SOURCES[name]
    formats = {"video": "mp4", "audio": extension}
    samples = run(file(name), EXACT, SPANS, formats, encoder=FAST).samples
    for sample, (start, _) in zip(samples, SPANS, strict=True):
        assert abs(tone_change(sample.parts[extension]) - (made.cut_times[0] - start)) < NEAR


@pytest.mark.parametrize("extension", ["m4a", "mp3", "wav", "flac", "opus"])
def test_sound_without_a_picture_is_cut_exactly(extension: str, run: Run) -> None:
    """Where only sound is written its clips begin at their spans, whatever precision says."""
    made = SOURCES["aac"]
    jobs = {"Clipping": {"precision": "low"}}
    samples = run(file("aac"), jobs, SPANS, {"audio": extension}).samples
    for sample, (start, _) in zip(samples, SPANS, strict=True):
        assert abs(tone_change(sample.parts[extension]) - (made.cut_times[0] - start)) < NEAR


@pytest.mark.parametrize("job", ["own times", "100 fps", "encoded sound"])
def test_a_whole_video_stays_together(job: str, run: Run) -> None:
    """Also where nothing is cut."""
    made = SOURCES["b-frames"]
    size = {"Resolution": {"height": 32, "resize_mode": "scale"}}
    (sample,) = run(file("b-frames"), {**JOBS[job], **size}, encoder=FAST).samples
    for change in (tone_change(sample.parts["mp4"]), picture_change(sample, made)):
        assert change == pytest.approx(made.cut_times[0], abs=NEAR)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("start", [0.0, 36_000.0])
def test_sound_and_picture_stay_together_where_the_clock_starts_anew(
    job: str, start: float, run: Run
) -> None:
    """What comes after is moved by one time, though the sound before ended later or earlier."""
    made = two_tones(container="mpegts", b_frames=2, start=start)
    before = MadeVideo(scenes(1.03), (64, 48), container="mpegts", keyframe_interval=8)
    for sample in run(before.data() + made.data(), JOBS[job], [(0.5, 2.95), (1.7, 2.95)]).samples:
        change = tone_change(sample.parts["mp4"])
        assert abs(change - picture_change(sample, made)) < NEAR
        assert change == pytest.approx(1.04 + 1.52 - sample.meta["receipt"]["real"][0], abs=0.1)
