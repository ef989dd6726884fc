"""Tests of the sound of clips: it stays with the picture, whether copied or encoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from asyncv2d.audio import Track, can_copy
from asyncv2d.codecs import VIDEO_SOUND
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.media import AudioInfo, Span
from asyncv2d.mux import ClipFile
from asyncv2d.sound import SoundShape
from asyncv2d.types import Processed, Sample

Run = Callable[..., Processed]
SPAN = (0.7, 2.6)
SOURCES = {
    "aac": MadeVideo(scenes(1.5, 1.5)),
    "aac-44100-stereo": MadeVideo(scenes(1.5, 1.5), sample_rate=44100, layout="stereo"),
    "opus": MadeVideo(scenes(1.5, 1.5), audio="libopus", container="matroska"),
    "flac": MadeVideo(scenes(1.5, 1.5), audio="flac", container="matroska"),
    "late-picture": MadeVideo(scenes(1.5, 1.5), video_delay=0.5),
    "clock-at-10-s": MadeVideo(scenes(1.5, 1.5), start=10.0),
    "mp3": MadeVideo(scenes(1.5, 1.5), audio="libmp3lame", container="matroska"),
    "pcm": MadeVideo(scenes(1.5, 1.5), audio="pcm_s16le", codec="mpeg4", container="avi"),
    "adts": MadeVideo(scenes(1.5, 1.5), container="mpegts"),
    "six-channels": MadeVideo(scenes(1.5, 1.5), layout="5.1"),
}
ENCODED = {"pcm", "adts"}


def heard(sample: Sample) -> tuple[NDArray[np.float32], int]:
    """The first channel of a sample's sound from time 0 on, and its sample rate."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    sound = np.zeros(rate * 5, np.float32)
    for frame in frames:
        first = round(float(frame.time or 0) * rate)
        samples = frame.to_ndarray()[0][max(0, -first) :]
        sound[max(0, first) : max(0, first) + len(samples)] = samples
    return sound, rate


def tone(sound: NDArray[np.float32], rate: int, start: float, end: float) -> float:
    """The strongest frequency (Hz) between two times."""
    part = sound[round(start * rate) : round(end * rate)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum) * rate / len(part))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("pace", [{"Frame": {"frame_rate": 5}}, {}], ids=["5-fps", "own-times"])
def test_the_tone_changes_where_the_picture_does(
    name: str, pace: dict[str, object], run: Run
) -> None:
    """In a clip from the middle the sound changes 50 ms or less from where its picture changes."""
    source = SOURCES[name]
    size = {"Resolution": {"video_size": 64, "resize_mode": "scale,crop,pad"}}
    (sample,) = run(source.data(), {**size, **pace}, [SPAN]).samples
    assert sample.meta["receipt"]["audio"] == ("encoded" if name in ENCODED else "copied")
    sound, rate = heard(sample)
    cut = source.cut_times[0] - SPAN[0]
    for start, end, expected in ((0.1, cut - 0.05, 440), (cut + 0.05, 1.8, 880)):
        assert tone(sound, rate, start, end) == pytest.approx(expected, abs=15)
    assert not sound[round(2.0 * rate) :].any()


def test_a_whole_video_keeps_its_sound(two_scenes_file: bytes, run: Run) -> None:
    """A video that is not cut has its sound from beginning to end."""
    (sample,) = run(two_scenes_file, {"Frame": {"frame_rate": 5}}).samples
    sound, rate = heard(sample)
    assert tone(sound, rate, 0.05, 1.95) == pytest.approx(440, abs=5)
    assert tone(sound, rate, 2.05, 3.9) == pytest.approx(880, abs=5)


def test_overlapping_clips_each_have_their_sound(two_scenes_file: bytes, run: Run) -> None:
    """A packet may belong to several clips."""
    clips = [[0.5, 1.5], [1.0, 3.0]]
    first, second = run(two_scenes_file, {"Frame": {"frame_rate": 5}}, clips).samples
    assert tone(*heard(first), 0.1, 0.9) == pytest.approx(440, abs=5)
    assert tone(*heard(second), 0.1, 0.9) == pytest.approx(440, abs=5)
    assert tone(*heard(second), 1.1, 1.9) == pytest.approx(880, abs=5)


def test_a_silent_video_gives_silent_clips(run: Run) -> None:
    """Where the source has no sound the clip has no audio track."""
    data = MadeVideo(scenes(1), audio=None).data()
    (sample,) = run(data, {"Frame": {"frame_rate": 5}}).samples
    assert sample.meta["receipt"]["audio"] is None
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("codec", "rate", "channels", "extradata", "can"),
    [
        ("aac", 48000, 2, True, True),
        ("aac", 48000, 2, False, False),
        ("ac3", 48000, 6, False, True),
        ("mp3", 44100, 2, False, True),
        ("vorbis", 44100, 2, True, False),
        ("aac", 0, 2, True, False),
        ("aac", 48000, 0, True, False),
    ],
)
def test_only_sound_that_mp4_takes_is_copied(
    codec: str, rate: int, channels: int, extradata: bool, can: bool
) -> None:
    """Sound is copied if its packets stand alone and its header is complete."""
    shape = SoundShape(VIDEO_SOUND["aac"])
    track = Track(Span(0, 1), shape, ClipFile("mp4"))
    assert can_copy(AudioInfo(1, codec, rate, channels, extradata), track) == can


@pytest.mark.parametrize(
    ("change", "can"),
    [
        ({}, True),
        ({"sample_rate": 48000, "channels": 2, "codec": "aac"}, True),
        ({"sample_rate": 44100}, False),
        ({"channels": 1}, False),
        ({"codec": "opus"}, False),
        ({"bit_rate": 64000}, False),
    ],
)
def test_sound_is_copied_only_as_it_is(change: dict[str, Any], can: bool) -> None:
    """Sound that is to have another rate, number of channels, codec or bit rate is encoded."""
    track = Track(Span(0, 1), SoundShape(VIDEO_SOUND["aac"], **change), ClipFile("mp4"))
    assert can_copy(AudioInfo(1, "aac", 48000, 2, True), track) == can


@pytest.mark.parametrize(("rate", "can"), [(44100, True), (16000, True), (11025, False)])
def test_mp3_is_copied_at_the_rates_of_mp4(rate: int, can: bool) -> None:
    """MP4 does not take MP3 of the lowest rates."""
    audio, shape = AudioInfo(1, "mp3", rate, 2, False), SoundShape(VIDEO_SOUND["aac"])
    assert can_copy(audio, Track(Span(0, 1), shape, ClipFile("mp4"))) == can


def test_mp3_beside_a_resized_picture_stays_as_it_is(run: Run) -> None:
    """A video that is not cut keeps the packets of its MP3 sound."""
    data = MadeVideo(scenes(2), (64, 48), audio="libmp3lame", sample_rate=44100).data()
    (sample,) = run(data, {"Frame": {"frame_rate": 5}}).samples
    assert sample.meta["receipt"]["audio"] == "copied"

    def packets(file: bytes) -> list[bytes]:
        with av.open(io.BytesIO(file), "r") as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(sample.parts["mp4"].read()) == packets(data)


COPIED = {
    "aac": MadeVideo(scenes(1.5, 1.5), (64, 48)),
    "aac-44100-stereo": MadeVideo(
        *(scenes(1.5, 1.5), (64, 48)), sample_rate=44100, layout="stereo"
    ),
    "opus": MadeVideo(scenes(1.5, 1.5), (64, 48), audio="libopus", container="matroska"),
    "flac": MadeVideo(scenes(1.5, 1.5), (64, 48), audio="flac", container="matroska"),
    "ac3": MadeVideo(scenes(1.5, 1.5), (64, 48), audio="ac3", container="matroska"),
    "mp3": MadeVideo(scenes(1.5, 1.5), (64, 48), audio="libmp3lame", sample_rate=44100),
    "alac": MadeVideo(scenes(1.5, 1.5), (64, 48), audio="alac"),
    "clock-at-10-s": MadeVideo(scenes(1.5, 1.5), (64, 48), start=10.0),
}


@cache
def copied(name: str) -> bytes:
    """The file of a source whose sound can be copied."""
    return COPIED[name].data()


@pytest.mark.parametrize("name", COPIED)
@pytest.mark.parametrize("span", [(0.72, 2.6), (0.713, 1.9), (0, 1.0), (2.2, 2.9)], ids=str)
def test_copied_sound_lasts_as_long_as_its_clip(
    name: str, span: tuple[float, float], run: Run
) -> None:
    """Though packets do not end where clips do, sound beside a picture, and alone, ends there."""
    made = COPIED[name]
    exact = {"Clipping": {"precision": "exact"}}
    formats = {"video": "mp4", "audio": "m4a"}
    (sample,) = run(copied(name), exact, [span], formats).samples
    assert sample.meta["receipt"]["audio"] == "copied"
    for part in ("mp4", "m4a"):
        with av.open(io.BytesIO(sample.parts[part].read()), "r") as container:
            stream = container.streams.audio[0]
            length = float((stream.duration or 0) * (stream.time_base or 1))
            whole = (container.duration or 0) / av.time_base
        assert length == pytest.approx(span[1] - span[0], abs=0.002)
        assert whole == pytest.approx(sample.meta["receipt"]["duration"], abs=0.002)
    sound, rate = heard(sample)
    cut = made.cut_times[0] - span[0]
    length = span[1] - span[0]
    for start, end, expected in ((0, cut, 440), (cut, length, 880)):
        begin, stop = max(0.0, start) + 0.05, min(length, end) - 0.05
        if stop - begin > 0.2:
            assert tone(sound, rate, begin, stop) == pytest.approx(expected, abs=15)


@pytest.mark.parametrize("audio", ["libmp3lame", "ac3"])
@pytest.mark.parametrize("start", [0.3, 1.0, 1.5, 2.0])
def test_sound_whose_clock_counts_packets(audio: str, start: float, run: Run) -> None:
    """As AVI's does, is copied into clips that begin in the middle of one."""
    source = MadeVideo(scenes(2, 2), codec="mpeg4", audio=audio, container="avi")
    for precision in ("low", "exact"):
        job = {"Clipping": {"precision": precision}}
        (sample,) = run(source.data(), job, [[start, 3.5]]).samples
        assert sample.meta["receipt"]["audio"] == "copied"
        sound, rate = heard(sample)
        cut = source.cut_times[0] - sample.meta["receipt"]["real"][0]
        before = tone(sound, rate, max(0.0, cut - 0.45), cut - 0.05) if cut > 0.3 else None
        after = tone(sound, rate, cut + 0.05, cut + 0.45)
        assert before is None or abs(before - after) > 20


def with_a_gap(data: bytes, container: str, begin: float, end: float) -> bytes:
    """The file without the packets of sound that begin between these times."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(file, "w", format=container) as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            time = float((packet.pts or 0) * packet.time_base)
            if packet.size and not (packet.stream.type == "audio" and begin <= time < end):
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(("container", "audio"), [("mp4", "aac"), ("matroska", "libopus")])
@pytest.mark.parametrize("end", [0.93, 0.96, 1.1])
@pytest.mark.parametrize("length", [0.06, 0.4])
def test_a_gap_before_a_clip_swallows_nothing_of_it(
    container: str, audio: str, end: float, length: float, run: Run
) -> None:
    """What a decoder is to leave out before a copied clip is there to be left out."""
    made = MadeVideo(scenes(3), (64, 48), audio=audio, container=container)
    data = with_a_gap(made.data(), container, end - length, end)
    (sample,) = run(data, {"Clipping": {"precision": "low"}}, [[0.96, 2.0]]).samples
    assert sample.meta["receipt"]["real"][0] == pytest.approx(0.96, abs=0.01)
    assert sample.meta["receipt"]["audio"] == "copied"
    sound, rate = heard(sample)
    begins = max(0.0, end - 0.96) + 0.03  # a packet's length after the gap at most
    steps = range(round(begins * rate), round(0.9 * rate), rate // 100)
    assert all(np.abs(sound[step : step + rate // 100]).max() > 0.1 for step in steps)
