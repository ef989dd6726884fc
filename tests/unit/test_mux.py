"""Tests of putting a finished picture and its sound into one file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from asyncv2d.codecs import AUDIO_FORMATS, VIDEO_SOUND, AudioFormat, Encoder
from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.mux import ClipFile
from asyncv2d.picture import Picture, PictureFile
from asyncv2d.types import Processed

PACKET = 1024  # samples in one of AAC
RATE = 48000


@cache
def silent() -> bytes:
    """A silent file of one second, with B-frames."""
    return MadeVideo(scenes(1), (64, 48), audio=None, b_frames=2).data()


def picture() -> Picture:
    """The same, not in a file."""
    with av.open(io.BytesIO(silent()), "r") as source:
        stream = source.streams.video[0]
        file = PictureFile()
        copied = file.container.add_stream_from_template(stream, opaque=True)
        return file.finish(copied, [packet for packet in source.demux(stream) if packet.size])


@cache
def sound() -> bytes:
    """A file of sound alone, of one second."""
    return MadeVideo(scenes(1), codec=None).data()


def moved(packets: Iterator[Packet[Any]], first: int) -> list[Packet[Any]]:
    """Copies of packets, of which the first one begins at ``first`` samples."""
    copies = []
    for number, packet in enumerate(packet for packet in packets if packet.size):
        copy = Packet(bytes(packet))
        copy.time_base, copy.duration = Fraction(1, RATE), PACKET
        copy.pts = copy.dts = first + number * PACKET
        copies.append(copy)
    return copies


def with_copied_sound(file: ClipFile, first: int = 0) -> bytes:
    """The file with the packets of ``sound()``."""
    with av.open(io.BytesIO(sound()), "r") as source:
        stream = source.streams.audio[0]
        file.copy_audio(stream, moved(source.demux(stream), first))
        data = file.finish()
    assert data is not None
    return data


def contents(data: bytes, kind: str) -> list[bytes]:
    """The packets of one kind in a file."""
    with av.open(io.BytesIO(data), "r") as file:
        stream = next(stream for stream in file.streams if stream.type == kind)
        return [bytes(packet) for packet in file.demux(stream) if packet.size]


def test_a_picture_may_stand_alone() -> None:
    """A clip without sound is a file of its picture."""
    data = ClipFile("mp4", picture()).finish()
    assert data is not None
    assert contents(data, "video") == contents(silent(), "video")
    with av.open(io.BytesIO(data), "r") as file:
        assert [stream.type for stream in file.streams] == ["video"]


def test_neither_picture_nor_sound_is_no_file() -> None:
    """There is nothing to write then."""
    assert ClipFile("ipod").finish() is None


def test_copied_sound_stands_beside_the_picture() -> None:
    """Neither the packets of the picture nor those of the sound are changed."""
    data = with_copied_sound(ClipFile("mp4", picture()))
    assert contents(data, "video") == contents(silent(), "video")
    assert contents(data, "audio") == contents(sound(), "audio")


def test_copied_sound_may_stand_alone() -> None:
    """A file without a picture has the sound only."""
    data = with_copied_sound(ClipFile("ipod"))
    assert contents(data, "audio") == contents(sound(), "audio")
    with av.open(io.BytesIO(data), "r") as file:
        assert [stream.type for stream in file.streams] == ["audio"]


def test_picture_and_sound_lie_beside_each_other_in_the_file() -> None:
    """What is played at one time lies close together, so that a player need not jump."""
    data = with_copied_sound(ClipFile("mp4", picture()))
    with av.open(io.BytesIO(data), "r") as file:
        packets = [packet for packet in file.demux() if packet.size]
        places = [
            (packet.pos or 0, float(packet.dts * packet.time_base))
            for packet in packets
            if packet.dts is not None
        ]
    times = [time for _, time in sorted(places)]
    assert all(time > max(times[:number]) - 0.2 for number, time in enumerate(times) if number)


@pytest.mark.parametrize("first", [-2 * PACKET, 0, RATE // 4])
def test_sound_begins_where_its_times_say(first: int) -> None:
    """Sound before time 0 is hidden; sound that begins later comes later; the picture is at 0."""
    data = with_copied_sound(ClipFile("mp4", picture()), first)
    with av.open(io.BytesIO(data), "r") as file:
        picture_start = next(file.decode(video=0)).time
        file.seek(0)
        heard = next(frame for frame in file.decode(audio=0) if (frame.time or 0) > -1e-3)
    assert picture_start == pytest.approx(0, abs=1e-3)
    assert heard.time == pytest.approx(max(0, first) / RATE, abs=PACKET / RATE)


CODECS = {"m4a": "aac", "mp3": "mp3", "wav": "pcm_s16le", "flac": "flac", "opus": "opus"}


def encoded(file: ClipFile, shape: AudioFormat, layout: str) -> bytes:
    """The file with a second of noise, encoded."""
    stream = file.audio_encoder(shape.encoder, RATE, layout)
    assert isinstance(stream, AudioStream)
    stream.codec_context.open()
    size = stream.codec_context.frame_size or PACKET
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (stream.codec_context.channels, size))
    for position in range(0, RATE, size):
        frame = AudioFrame.from_ndarray(noise.astype(np.float32), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, position, Fraction(1, RATE)
        file.add_packets(stream.encode(frame))
    file.add_packets(stream.encode(None))
    data = file.finish()
    assert data is not None
    return data


@pytest.mark.parametrize("name", AUDIO_FORMATS)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_every_format_of_sound_can_be_written(name: str, layout: str) -> None:
    """A file of each format holds its codec, with the rate, the channels and all the sound."""
    shape = AUDIO_FORMATS[name]
    data = encoded(ClipFile(shape.container), shape, layout)
    with av.open(io.BytesIO(data), "r") as file:
        stream = file.streams.audio[0]
        context = stream.codec_context
        assert (context.codec.canonical_name, context.sample_rate) == (CODECS[name], RATE)
        assert context.channels == {"mono": 1, "stereo": 2}[layout]
        samples = sum(frame.samples for frame in file.decode(stream))
    assert samples == pytest.approx(RATE, abs=4 * PACKET)


@pytest.mark.parametrize("name", VIDEO_SOUND)
def test_every_codec_of_sound_fits_beside_a_picture(name: str) -> None:
    """An MP4 file takes each of them, and its picture stays as it is."""
    data = encoded(ClipFile("mp4", picture()), VIDEO_SOUND[name], "stereo")
    assert contents(data, "video") == contents(silent(), "video")
    with av.open(io.BytesIO(data), "r") as file:
        assert file.streams.audio[0].codec_context.codec.canonical_name == name
        assert sum(frame.samples for frame in file.decode(audio=0)) >= RATE - PACKET


@pytest.mark.parametrize(("codec", "tag"), [("hevc", "hvc1"), ("h264", "avc1")])
def test_the_picture_keeps_its_tag(codec: str, tag: str, run: Callable[..., Processed]) -> None:
    """With sound or without, the picture's tag in the finished file is the one players take."""
    encoder = Encoder(codec="h265" if codec == "hevc" else "h264", preset="ultrafast")
    for audio in ("aac", None):
        data = MadeVideo(scenes(0.4), (64, 48), audio=audio).data()
        (sample,) = run(data, {"Frame": {"frame_rate": 5}}, encoder=encoder).samples
        with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
            assert bool(file.streams.audio) == (audio is not None)
            assert file.streams.video[0].codec_context.codec.canonical_name == codec
            assert file.streams.video[0].codec_tag == tag
