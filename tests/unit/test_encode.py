"""Tests of encoded clips: they keep their colours, and last as long as they say."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncv2d.codecs import Encoder, PixelFormat
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Cause, ItemError, Processed, Sample

Run = Callable[..., Processed]
EXACT = {"Clipping": {"precision": "exact"}}
FULL = 2  # AVCOL_RANGE_JPEG


class Colours(NamedTuple):
    """How pixels are to be read as colours, in FFmpeg's numbers; 2 (and range 0): not said."""

    colorspace: int = 2
    color_primaries: int = 2
    color_trc: int = 2
    color_range: int = 0


class Tagged(NamedTuple):
    """A video of pixels in YUV that says how they are to be read."""

    colours: Colours
    pixel_format: PixelFormat = "yuv420p"
    container: str = "matroska"


TAGGED = {
    "HD": Tagged(Colours(1, 1, 1, 1)),
    "HD in mp4": Tagged(Colours(1, 1, 1, 1), container="mp4"),
    "SD": Tagged(Colours(6, 6, 6, 1), container="mp4"),
    "PQ": Tagged(Colours(9, 9, 16, 1)),
    "PQ in ten bits": Tagged(Colours(9, 9, 16, 1), "yuv420p10le"),
    "HLG in ten bits": Tagged(Colours(9, 9, 18, 1), "yuv420p10le", "mp4"),
    "not said": Tagged(Colours()),
    "not said in mp4": Tagged(Colours(), container="mp4"),
}
# What holds pixels in RGB: container, encoder, pixel format.
IN_RGB = {
    "png": ("mov", "png", "rgb24"),
    "h264": ("matroska", "libx264rgb", "rgb24"),
}


def picture(number: int) -> NDArray[np.uint8]:
    """Broad stripes of strong colours, one of which changes from frame to frame."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    stripes = (200, 40, 30), (30, 180, 60), (40, 50, 220), (120, 128, 20 * number)
    for place, colour in enumerate(stripes):
        pixels[:, 16 * place : 16 * (place + 1)] = colour
    return pixels


@cache
def stored(codec: str, container: str, pixel_format: str, colours: Colours | None) -> bytes:
    """A video of ten pictures without loss; ``colours`` are the tags of pixels in YUV."""
    options = {"crf": "0", "preset": "ultrafast"} if "x264" in codec else {}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        if colours is not None:
            tag(stream.codec_context, colours)
        for number in range(10):
            frame = VideoFrame.from_ndarray(picture(number), "rgb24").reformat(format=pixel_format)
            if colours is not None:
                tag(frame, colours)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def tag(what: Any, colours: Colours) -> None:
    """Say how pixels are to be read."""
    for name, value in colours._asdict().items():
        setattr(what, name, value)


def frames(data: bytes) -> list[VideoFrame]:
    """All frames of a video."""
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(video=0))


def tags(data: bytes) -> set[Colours]:
    """How the frames of a video, and its header, say that pixels are to be read."""
    with av.open(io.BytesIO(data), "r") as container:
        context = container.streams.video[0].codec_context
        sources = [context, *container.decode(video=0)]
        return {Colours(*(getattr(one, name) for name in Colours._fields)) for one in sources}


def clip(run: Run, data: bytes, pixel_format: PixelFormat = "yuv420p") -> bytes:
    """An exact clip with hardly any loss."""
    encoder = Encoder(crf=1, pixel_format=pixel_format)
    (sample,) = run(data, EXACT, [[0.08, 0.36]], encoder=encoder).samples
    return sample.parts["mp4"].read()


def planes(frame: VideoFrame) -> NDArray[np.float64]:
    """The values of all planes, on the scale of eight bits."""
    scale = 4 if "10le" in frame.format.name else 1
    return frame.to_ndarray().astype(np.float64) / scale


def difference(one: VideoFrame, other: VideoFrame) -> float:
    """How far the values of two frames lie apart on average."""
    assert one.format.name == other.format.name
    return float(np.abs(planes(one) - planes(other)).mean())


@pytest.mark.parametrize("name", TAGGED)
def test_an_encoded_clip_keeps_its_colours(name: str, run: Run) -> None:
    """Its pixels have the values of the source, and what it says of them is the same."""
    colours, pixel_format, container = TAGGED[name]
    data = stored("libx264", container, pixel_format, colours)
    made = clip(run, data, pixel_format)
    pairs = list(zip(frames(data)[2:9], frames(made), strict=True))
    assert max(difference(one, other) for one, other in pairs) < 1
    assert tags(data) == tags(made) == {colours}


def test_colours_are_kept_through_a_filter(run: Run) -> None:
    """Pictures that are made smaller keep the values of their stripes, and the tags."""
    data = stored("libx264", "matroska", "yuv420p", TAGGED["PQ"].colours)
    size = {"Resolution": {"height": 24, "resize_mode": "scale"}}
    (sample,) = run(data, size, encoder=Encoder(crf=1)).samples
    made = sample.parts["mp4"].read()
    assert tags(made) == {TAGGED["PQ"].colours}
    for one, other in zip(frames(data), frames(made), strict=True):
        wide, small = one.to_ndarray(), other.to_ndarray()
        middles = wide[24, 8::16].astype(int) - small[12, 4::8].astype(int)
        assert np.abs(middles).max() <= 2


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
def test_every_codec_says_the_colours(codec: Any, run: Run) -> None:
    """The tags are in the file whatever the picture is encoded with."""
    data = stored("libx264", "matroska", "yuv420p", TAGGED["PQ"].colours)
    (sample,) = run(data, EXACT, [[0.08, 0.36]], encoder=Encoder(codec=codec)).samples
    assert tags(sample.parts["mp4"].read()) == {TAGGED["PQ"].colours}


def test_full_range_becomes_limited_range(run: Run) -> None:
    """Values from 0 to 255 become those from 16 to 235 (240 for colour), which all players take."""
    colours = Colours(1, 1, 1, FULL)
    data = stored("libx264", "mp4", "yuv420p", colours)
    made = clip(run, data)
    for one, other in zip(frames(data)[2:9], frames(made), strict=True):
        wide, narrow = planes(one), planes(other)
        assert np.abs(16 + wide[:48] * 219 / 255 - narrow[:48]).mean() < 1
        assert np.abs(128 + (wide[48:] - 128) * 224 / 255 - narrow[48:]).mean() < 1
    assert tags(made) == {colours._replace(color_range=1)}


@pytest.mark.parametrize("name", IN_RGB)
def test_rgb_becomes_yuv_as_the_file_says(name: str, run: Run) -> None:
    """Pixels in RGB are made with the matrix of HD, which is said, and look the same with it."""
    container, codec, pixel_format = IN_RGB[name]
    made = clip(run, stored(codec, container, pixel_format, None), "yuv444p")
    assert {(found.colorspace, found.color_range) for found in tags(made)} == {(1, 1)}
    for number, frame in enumerate(frames(made), 2):
        pixels = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
        assert np.abs(pixels.astype(int) - picture(number).astype(int)).mean() < 1


# Frames that stand still for seconds, with quick ones between them: from when to when (seconds).
TICKS = (0, 40, 3000, 3040, 7000, 7040, 9000, 11500)
BORDERS = tuple(tick / 1000 for tick in TICKS)
CLIPS = {
    "all of it": (0.0, 99.0),
    "begins with a long still": (1.0, 3.1),
    "begins and ends with one": (4.0, 8.0),
    "one frame": (1.0, 2.0),
    "one frame that begins with the clip": (7.04, 8.99),
    "one frame that begins soon": (0.02, 2.9),
    "one frame at the end": (9.5, 10.5),
    "a short frame, then a long one": (3.0, 6.9),
}


@cache
def long_stills(b_frames: int) -> bytes:
    """A video whose frame n is shown between BORDERS[n] and the next."""
    made, buffer = MadeVideo(scenes(60), (64, 48)), io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        options = {"preset": "ultrafast", "bf": str(b_frames), "g": "4"}
        stream = output.add_stream("libx264", rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        packets: list[Packet[Any]] = []
        for number, tick in enumerate(TICKS[:-1]):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            packets += stream.encode(frame)
        lengths = {a: b - a for a, b in itertools.pairwise(TICKS)}
        for packet in [*packets, *stream.encode(None)]:
            packet.duration = lengths[packet.pts or 0]
            output.mux(packet)
    return buffer.getvalue()


class Played(NamedTuple):
    """What a player finds in a file: frames with their times, and how long the picture lasts."""

    numbers: Sequence[int]
    times: Sequence[float]
    length: float
    last_packet: float


def played(data: bytes) -> Played:
    """Read the file of a clip."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1)
        length, start = float((stream.duration or 0) * base), stream.start_time
        shown = list(container.decode(stream))
        assert start == 0
        assert (container.duration or 0) / av.time_base == pytest.approx(length, abs=1e-3)
    with av.open(io.BytesIO(data), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert all((packet.dts or 0) <= (packet.pts or 0) for packet in packets)
    assert all((a.dts or 0) < (b.dts or 0) for a, b in itertools.pairwise(packets))
    return Played(
        [read_number(frame.to_ndarray(format="gray")) for frame in shown],
        [frame.time or 0.0 for frame in shown],
        length,
        float((packets[-1].duration or 0) * base),
    )


def expected(start: float, end: float) -> Mapping[float, int]:
    """Which frame is shown from when on in a clip."""
    coming = next((n for n, time in enumerate(BORDERS) if time > start - 1e-6), 0)
    first = coming if BORDERS[coming] - start < 0.05 else coming - 1
    inside = [n for n in range(first, len(TICKS) - 1) if BORDERS[n] < end - 1e-6]
    return {max(0.0, BORDERS[n] - start) if n != first else 0.0: n for n in inside}


def check_length(sample: Sample, start: float, end: float) -> Played:
    """Frames come when they should, and the picture lasts as long as the receipt says."""
    found, receipt = played(sample.parts["mp4"].read()), sample.meta["receipt"]
    shown = expected(start, end)
    assert list(found.numbers) == list(shown.values())
    assert np.allclose(found.times, list(shown), atol=1e-3)
    assert found.length == pytest.approx(receipt["duration"], abs=1e-3)
    assert found.length == pytest.approx(min(end, BORDERS[-1]) - start, abs=0.021)
    assert receipt["frames"] == len(shown)
    return found


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_clips_of_long_stills_last_as_long_as_they_say(b_frames: int, codec: Any, run: Run) -> None:
    """With frames seconds apart, frames, times and the picture's length in the file are right."""
    encoder = Encoder(codec=codec)
    spans = sorted(CLIPS.values())
    samples = run(long_stills(b_frames), EXACT, spans, encoder=encoder).samples
    for sample, span in zip(samples, spans, strict=True):
        check_length(sample, *span)


@pytest.mark.parametrize("name", [name for name in CLIPS if name.startswith("one frame")])
@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
def test_one_frame_lasts_as_long_as_its_clip(name: str, codec: Any, run: Run) -> None:
    """A clip of a single frame shows it to its end, and says so of the frame too."""
    (sample,) = run(long_stills(0), EXACT, [CLIPS[name]], encoder=Encoder(codec=codec)).samples
    found = check_length(sample, *CLIPS[name])
    assert found.last_packet == pytest.approx(found.length, abs=1e-3)


@pytest.mark.parametrize("name", CLIPS)
def test_the_last_frame_lasts_to_the_end(name: str, run: Run) -> None:
    """Where frames are stored as they are shown, the last one has its true length in the file."""
    encoder = Encoder(codec="av1")
    (sample,) = run(long_stills(2), EXACT, [CLIPS[name]], encoder=encoder).samples
    found = check_length(sample, *CLIPS[name])
    assert found.times[-1] + found.last_packet == pytest.approx(found.length, abs=1e-3)


@cache
def uneven(audio: str | None) -> bytes:
    """A video of six seconds whose frames come at uneven times, and out of order."""
    return MadeVideo(scenes(6), (64, 48), uneven=True, audio=audio, b_frames=2).data()


@pytest.mark.parametrize("audio", [None, "aac"])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.floats(0, 4), length=st.floats(0.1, 1.9))
def test_sound_does_not_change_how_long_the_picture_lasts(
    audio: str | None, start: float, length: float, run: Run
) -> None:
    """A video of uneven frames keeps its frames and its length when it gets its sound."""
    (sample,) = run(uneven(audio), EXACT, [[start, start + length]]).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        stream = container.streams.video[0]
        found = float((stream.duration or 0) * (stream.time_base or 1))
        assert bool(container.streams.audio) == (audio is not None)
    assert found == pytest.approx(sample.meta["receipt"]["duration"], abs=1e-3)
    assert found == pytest.approx(length, abs=0.021)


@pytest.mark.parametrize(
    ("settings", "codec", "says"),
    [
        ({"resize_mode": "crop", "video_size": 8}, "h265", "libx265: 8 × 2, 5 fps: Invalid"),
        ({"resize_mode": "crop", "video_size": 2}, "av1", "libsvtav1: 2 × 2, 5 fps: Invalid"),
        ({"resize_mode": "scale", "height": 254}, "h264", "libx264: 65024 × 254, 5 fps: Generic"),
        ({"resize_mode": "scale", "height": 256}, "av1", "libsvtav1: 65536 × 256, 5 fps: mp4"),
        ({"resize_mode": "scale", "height": 2048}, "vp9", "524288 × 2048 pixels are too many"),
    ],
)
def test_what_the_encoder_does_not_take(
    settings: dict[str, Any], codec: Any, says: str, run: Run
) -> None:
    """Is said with the encoder's name, and what it was asked for."""
    data = MadeVideo(scenes(0.2), (512, 2), codec="ffv1", container="matroska", audio=None).data()
    with pytest.raises(ItemError, match=says) as caught:
        run(
            data, {"Resolution": settings, "Frame": {"frame_rate": 5}}, encoder=Encoder(codec=codec)
        )
    assert caught.value.cause is Cause.CANNOT_ENCODE


def test_a_picture_may_be_wide_until_it_is_cropped(run: Run) -> None:
    """What counts is the size that is encoded."""
    data = MadeVideo(scenes(0.2), (512, 2), codec="ffv1", container="matroska", audio=None).data()
    settings = {"resize_mode": "scale,crop", "height": 512, "width": 64}
    (sample,) = run(data, {"Resolution": settings, "Frame": {"frame_rate": 5}}).samples
    assert {(one.width, one.height) for one in frames(sample.parts["mp4"].read())} == {(64, 512)}


MILLISECOND = Fraction(1, 1000)
# Container, codec, unit of time, when frames come. The header calls the unit the rate.
BY_THE_MILLISECOND = {
    "even": ("matroska", "libx264", MILLISECOND, [round(n * 1000 / 30) for n in range(20)]),
    "uneven": ("webm", "libvpx", MILLISECOND, [0, 16, 33, 133, 138, 438, 439, 440, 2000]),
    "flash": ("flv", "flv", MILLISECOND, [0, 40, 81, 120]),
    "slow": ("matroska", "libx264", MILLISECOND, [0, 10_000, 20_000, 41_000]),
    "in a burst": ("matroska", "libx264", MILLISECOND, list(range(20))),
    "one frame": ("webm", "libvpx", MILLISECOND, [0]),
    "avi": ("avi", "mpeg4", MILLISECOND, [0, 40, 80, 120]),
    "high speed": ("mp4", "libx264", Fraction(1, 480), list(range(30))),
    "next to no time": ("matroska", "ffv1", Fraction(1, 90_000), [0, 90, 180, 270, 9_000]),
    "ten seconds each": ("mp4", "libx264", Fraction(10), [0, 1, 2]),
}


@cache
def by_the_millisecond(name: str) -> bytes:
    """A video whose header says that there is a frame at every unit of time."""
    container, codec, unit, ticks = BY_THE_MILLISECOND[name]
    made, buffer = MadeVideo(scenes(1, 1), (64, 48)), io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=1 / unit)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = unit
        stream.codec_context.max_b_frames = 0
        for number, tick in enumerate(ticks):
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = tick, unit
            output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
@pytest.mark.parametrize("name", BY_THE_MILLISECOND)
def test_no_rate_that_a_header_says_is_refused(name: str, codec: Any, run: Run) -> None:
    """Every encoder takes the video, and frames are shown when they were."""
    _, _, unit, ticks = BY_THE_MILLISECOND[name]
    (sample,) = run(
        by_the_millisecond(name), EXACT, [[0, 1000]], encoder=Encoder(codec=codec)
    ).samples
    shown = frames(sample.parts["mp4"].read())
    times = [frame.time or 0.0 for frame in shown]
    assert times == pytest.approx([float(tick * unit) for tick in ticks], abs=1e-3)
    assert [read_number(frame.to_ndarray(format="gray")) for frame in shown] == [*range(len(ticks))]


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
@pytest.mark.parametrize(("rate", "count"), [("1/100", 1), ("1/10", 1), (241, 241), (1000, 1000)])
def test_every_rate_that_may_be_asked_for(rate: Any, count: int, codec: Any, run: Run) -> None:
    """Is that of the file, however low or high."""
    data = MadeVideo(scenes(1), (64, 48), audio=None).data()
    (sample,) = run(data, {"Frame": {"frame_rate": rate}}, encoder=Encoder(codec=codec)).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
        assert file.streams.video[0].average_rate == Fraction(rate)
        assert len(list(file.decode(video=0))) == count


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
@pytest.mark.parametrize("count", [1, 26, 27, 28, 30])
def test_the_last_frame_is_as_long_as_any(count: int, codec: Any, run: Run) -> None:
    """At a constant rate, also where the video ends soon after a tick that is left out."""
    made = MadeVideo(scenes(count / 25), (64, 48), codec="mpeg4", audio=None)  # decoded to the end
    encoder = Encoder(codec=codec)
    (sample,) = run(made.data(), {"Frame": {"frame_rate": 5}}, encoder=encoder).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 5
        found = (stream.duration or 0) * (stream.time_base or 0)
    assert found == Fraction(sample.meta["receipt"]["frames"], 5)
    assert float(found) == pytest.approx(sample.meta["receipt"]["duration"])
