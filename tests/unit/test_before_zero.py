"""Tests of files whose pictures begin before time 0, as where one was cut off a longer video.

In all of them picture n is shown n / 25 s after the first, and the tone changes with picture 40.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.video.frame import VideoFrame

from asyncv2d.frames import shown_frames
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.origin import first_picture
from asyncv2d.probe import from_start, open_media
from asyncv2d.types import Blob, Processed, Sample

Run = Callable[..., Processed]
RATE = 25
CUT = 40  # the number of the picture with which the second scene begins
WINDOW = 480  # samples in which the louder tone is looked for: a hundredth of a second
AS_IT_IS = ("avoid_negative_ts", "disabled")
made = partial(MadeVideo, scenes(CUT / RATE, 1.4), (64, 48), keyframe_interval=10)
fragmented = partial(made, options=(AS_IT_IS, ("movflags", "frag_keyframe+delay_moov")))
matroska = partial(made, container="matroska", options=(AS_IT_IS,))
flv = partial(made, container="flv", options=(AS_IT_IS,))
webm = partial(matroska, codec="libvpx", audio="libopus")
FILES = {
    "fragments": fragmented(start=-0.36),
    "fragments with b-frames": fragmented(start=-0.36, b_frames=2),
    "fragments, nearly a second": fragmented(start=-0.88, b_frames=2),
    "matroska": matroska(start=-0.36),
    "matroska with b-frames": matroska(start=-0.88, b_frames=2),
    "matroska, three pictures": matroska(start=-0.12, b_frames=2),
    "webm": webm(start=-0.36),
    "flv": flv(start=-0.36, b_frames=2),
    "flv, two seconds": flv(start=-2.0),
}
NAMES = pytest.mark.parametrize("name", FILES)


@cache
def data_of(name: str) -> bytes:
    """The file of that name."""
    return FILES[name].data()


def begins(name: str) -> float:
    """When the first picture comes: the encoder of the sound may begin a little earlier."""
    with (
        open_media(Blob.of(data_of(name))) as media,
        from_start(media, media.video) as container,
    ):
        return next(shown_frames(media, container)).time


def pictures(sample: Sample) -> list[tuple[int, float]]:
    """The numbers of the frames in a sample's video, and when they are shown."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [
            (read_number(frame.to_ndarray(format="gray")), frame.time or 0.0)
            for frame in container.decode(video=0)
            if isinstance(frame, VideoFrame)
        ]


def tone_changes(sample: Sample) -> float:
    """When the second scene's tone is first the louder of the two in a sample's sound."""
    first, second = (scene.tone for scene in FILES["matroska"].scenes)
    resampler = av.AudioResampler("fltp", "mono", 48_000)
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        frames = [frame for frame in container.decode(audio=0) if isinstance(frame, AudioFrame)]
    start = frames[0].time or 0.0
    sound = np.concatenate([f.to_ndarray()[0] for part in frames for f in resampler.resample(part)])
    windows = sound[: len(sound) // WINDOW * WINDOW].reshape(-1, WINDOW)
    seconds = np.arange(WINDOW) / 48_000
    loud = [np.abs(windows @ np.exp(2j * np.pi * tone * seconds)) for tone in (first, second)]
    is_second = (loud[1] > loud[0]) & (loud[1] > loud[1].max() / 2)
    return start + float(np.argmax(is_second)) * WINDOW / 48_000


def check_together(sample: Sample) -> list[int]:
    """Picture ``CUT`` comes with its tone, and the others by their numbers; these are returned."""
    shown = pictures(sample)
    cut = next(time for number, time in shown if number >= CUT)
    assert cut == pytest.approx(tone_changes(sample), abs=0.025)
    # The first one is shown from the start of its clip on, which may come a little before it.
    assert [time - cut for _, time in shown[1:]] == pytest.approx(
        [(number - CUT) / RATE for number, _ in shown[1:]], abs=0.005
    )
    return [number for number, _ in shown]


@NAMES
def test_the_whole_file_is_shown_with_its_sound(name: str, run: Run) -> None:
    """No picture is lost, and each comes with what is heard, also at a rate of the job's own."""
    scale = {"height": 96, "resize_mode": "scale"}
    (sample,) = run(data_of(name), {"Resolution": scale}).samples
    assert check_together(sample) == list(range(75))
    (sample,) = run(data_of(name), {"Frame": {"frame_rate": 12.5}}).samples
    cut = next(time for number, time in pictures(sample) if number >= CUT)
    assert cut == pytest.approx(tone_changes(sample), abs=0.09)


@NAMES
@pytest.mark.parametrize("precision", ["exact", "low", "keyframe_adjusted"])
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_clips_count_from_the_beginning(name: str, precision: str, start: float, run: Run) -> None:
    """Of every precision: a span begins that long after the file does, and picture fits sound."""
    (sample,) = run(data_of(name), {"Clipping": {"precision": precision}}, [[start, 2.5]]).samples
    numbers = check_together(sample)
    receipt = sample.meta["receipt"]
    real = receipt["real"][0] - begins(name)
    assert numbers[0] == pytest.approx(max(0, real) * RATE, abs=1)
    assert len(numbers) == receipt["frames"]
    if precision == "exact":
        assert real == pytest.approx(start - begins(name), abs=1.01 / RATE)


@NAMES
def test_cuts_count_from_the_beginning(name: str, run: Run) -> None:
    """As PySceneDetect counts frames; and in seconds they are where clips made of them begin."""
    job = {"CutDetection": {"cuts_are_clips": True}, "Clipping": {"precision": "exact"}}
    first, second = run(data_of(name), job).samples
    assert first.meta["cuts"]["cuts_original_fps"] == [[0, CUT], [CUT, 75]]
    cut = begins(name) + CUT / RATE
    assert first.meta["cuts_seconds"][1][0] == pytest.approx(cut, abs=0.002)
    assert [number for number, _ in pictures(first)] == list(range(CUT))
    assert [number for number, _ in pictures(second)] == list(range(CUT, 75))
    assert tone_changes(second) < 0.025


@NAMES
def test_stills_count_from_the_beginning(name: str, run: Run) -> None:
    """An image shows what a clip shows at its time."""
    job = {"Frame": {"downsample_method": "uniform", "n_frames": 3, "encode_format": "png"}}
    samples = run(data_of(name), job).samples
    assert len(samples) == 3
    for sample in samples:
        picture = cv2.imdecode(np.frombuffer(sample.parts["png"].read(), np.uint8), 0)
        assert picture is not None
        since = sample.meta["frame_time"] - begins(name)
        assert read_number(picture) == pytest.approx(since * RATE, abs=1.01)


def test_sound_alone_before_zero_moves_no_picture() -> None:
    """What an encoder of sound puts there is no beginning; a picture there is."""
    with open_media(Blob.of(made().data())) as media:
        assert media.origin == 0
    with open_media(Blob.of(data_of("fragments"))) as media:
        assert media.origin == Fraction(-36, 100)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_alone_are_all_shown(b_frames: int, run: Run) -> None:
    """A Matroska file seems to begin at 0 then, but is read from before in each pass."""
    data = matroska(start=-0.36, audio=None, b_frames=b_frames).data()
    job: dict[str, Any] = {"CutDetection": {}, "Clipping": {"precision": "exact"}}
    for start in (0, 1):
        (sample,) = run(data, job, [[start, 9]]).samples
        expected = [(number, number / RATE - start) for number in range(start * RATE, 75)]
        assert np.allclose(pictures(sample), expected, atol=0.002)


def test_only_what_comes_before_zero_is_counted_back() -> None:
    """Not where packets have no times at all, or only those of decoding, nor for later ones."""

    def packets(count: int, dts: int | None, pts: int | None = None) -> list[Packet[Any]]:
        found: list[Packet[Any]] = [Packet(b"picture") for _ in range(count)]
        for packet in found:
            packet.dts, packet.pts, packet.time_base = dts, pts, Fraction(1, 1000)
        return found

    rate = Fraction(RATE)
    assert first_picture(packets(9, None), rate) is None
    assert first_picture([*packets(3, None), *packets(9, 500, 500)], rate) is None
    assert first_picture([*packets(3, None), *packets(9, 40, 40)], rate) == Fraction(-8, 100)
    rest = iter(packets(5000, None))
    assert first_picture(rest, rate) is None
    assert len(list(rest)) > 3000
    rest = iter(packets(9, 0))
    assert first_picture(rest, rate) is None
    assert len(list(rest)) == 8
