"""Tests of FrameSubsampler where it makes images: each shows the very frame that it should."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.plan import make_plan
from asyncv2d.registry import load_subsampler
from asyncv2d.task import Task
from asyncv2d.types import Blob, Cause, ItemError, Processed, Sample
from asyncv2d.work import process
from asyncv2d_stages.subsample.frame import FrameSubsampler

Run = Callable[..., Processed]
# A keyframe comes every 12 frames.
VIDEOS = {
    "plain": MadeVideo(scenes(2, 2), (64, 48)),
    "b-frames": MadeVideo(scenes(2, 2), (64, 48), b_frames=3, container="matroska"),
    "uneven": MadeVideo(scenes(2, 2), (64, 48), uneven=True, b_frames=2),
    "hevc": MadeVideo(scenes(2, 2), (64, 48), codec="libx265", b_frames=2),
    "vp9": MadeVideo(scenes(2, 2), (64, 48), codec="libvpx-vp9", audio="libopus", container="webm"),
    "silent": MadeVideo(scenes(2, 2), (64, 48), audio=None),
}
SCENES = {"CutDetection": {"cuts_are_clips": True}}


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    """The file of each video."""
    return {name: made.data() for name, made in VIDEOS.items()}


def pixels(sample: Sample, extension: str = "png") -> np.ndarray[Any, Any]:
    """The picture (BGR) of a sample, which has that part only."""
    assert sample.parts.keys() == {extension}
    data = np.frombuffer(sample.parts[extension].read(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def first_number(sample: Sample) -> int:
    """The number of the first frame of a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return read_number(next(container.decode(video=0)).to_ndarray(format="gray"))


def stills(done: Processed) -> list[tuple[float, int]]:
    """The time of each image, and the number of the frame that it shows."""
    return [(sample.meta["frame_time"], read_number(pixels(sample))) for sample in done.samples]


def on_screen(made: MadeVideo, time: float) -> int:
    """The number of the frame that is seen at a time; a hair before the next one is at it."""
    return bisect_right(made.frame_times, time + 2e-3) - 1


def job(method: str, **args: Any) -> dict[str, dict[str, Any]]:
    """A job that makes images without loss."""
    return {"Frame": {"downsample_method": method, "encode_format": "png", **args}}


@pytest.mark.parametrize("name", VIDEOS)
def test_the_first_frame_of_a_video(name: str, files: Mapping[str, bytes], run: Run) -> None:
    """It is one sample, with the video's own key, and the first frame in full size."""
    (sample,) = run(files[name], job("first_frame")).samples
    assert (sample.key, sample.meta["frame_time"]) == ("00007", 0)
    assert pixels(sample).shape == (48, 64, 3)
    assert read_number(pixels(sample)) == 0


@pytest.mark.parametrize("name", VIDEOS)
def test_the_first_frame_of_each_clip(name: str, files: Mapping[str, bytes], run: Run) -> None:
    """It is the one that a video of the clip begins with, and has the clip's key."""
    clips = [[0.5, 1.5], [1.1, 1.2], [2.0, 2.1], [3.9, 99]]
    done = run(files[name], job("first_frame"), clips)
    videos = run(files[name], {"Clipping": {"precision": "exact"}}, clips).samples
    assert [sample.key for sample in done.samples] == [sample.key for sample in videos]
    assert [number for _, number in stills(done)] == [first_number(video) for video in videos]
    assert [sample.meta["frame_time"] for sample in done.samples] == [0.5, 1.1, 2.0, 3.9]
    assert [sample.meta["clips"] for sample in done.samples[:3]] == [[clip] for clip in clips[:3]]


@pytest.mark.parametrize("name", [name for name in VIDEOS if name != "uneven"])
def test_all_keyframes(name: str, files: Mapping[str, bytes], run: Run) -> None:
    """Every keyframe is a sample of its own, numbered behind the key."""
    done = run(files[name], job("keyframe"))
    found = stills(done)
    assert [number for _, number in found] == list(range(0, 100, 12))
    assert np.allclose([time for time, _ in found], np.arange(0, 100, 12) / 25, atol=2e-3)
    assert [sample.key for sample in done.samples] == [f"00007_000{n}" for n in range(9)]


def test_keyframes_cost_their_own_decoding_only(files: Mapping[str, bytes], run: Run) -> None:
    """Frames between keyframes are not decoded for the keyframes."""
    done = run(files["plain"], job("keyframe"))
    assert done.facts["frames_decoded"] <= 12


def test_the_keyframes_of_a_clip(files: Mapping[str, bytes], run: Run) -> None:
    """Only those inside its span count; a clip without any gives none, the others do."""
    done = run(files["plain"], job("keyframe"), [[0.9, 2.0], [2.0, 2.3]])
    assert stills(done) == [(0.96, 24), (1.44, 36), (1.92, 48)]
    assert [sample.key for sample in done.samples] == [f"00007_00000_000{n}" for n in range(3)]
    with pytest.raises(ItemError) as caught:
        run(files["plain"], job("keyframe"), [[2.0, 2.3]])
    assert caught.value.cause is Cause.NO_CLIPS


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_uniform_images(name: str, count: int, files: Mapping[str, bytes], run: Run) -> None:
    """They show the middles of equal parts, of the video or of each clip."""
    made = VIDEOS[name]
    for clips, begin, length in ((None, 0.0, made.duration), ([[1.0, 2.4]], 1.0, 1.4)):
        found = stills(run(files[name], job("uniform", n_frames=count), clips))
        middles = begin + (np.arange(count) + 0.5) * length / count
        assert np.allclose([time for time, _ in found], middles, atol=0.1)
        assert [number for _, number in found] == [on_screen(made, time) for time, _ in found]


def test_uniform_images_of_scenes(files: Mapping[str, bytes], run: Run) -> None:
    """Scenes that are found become clips with images of their own."""
    done = run(files["plain"], {**SCENES, **job("uniform", n_frames=2)})
    found = stills(done)
    assert np.allclose([time for time, _ in found], [0.5, 1.5, 2.5, 3.5], atol=0.02)
    assert [number for _, number in found] == [on_screen(VIDEOS["plain"], t) for t, _ in found]
    assert [sample.key for sample in done.samples] == [
        f"00007_0000{scene}_000{number}" for scene in range(2) for number in range(2)
    ]


def test_more_images_than_frames_repeat(run: Run) -> None:
    """A short video gives as many as asked; frames are shown more than once."""
    data = MadeVideo(scenes(0.12), (64, 48), audio=None).data()
    numbers = [number for _, number in stills(run(data, job("uniform", n_frames=9)))]
    assert numbers == [0, 0, 0, 1, 1, 1, 2, 2, 2]


SUBTITLES = {
    "en": [
        {"start": "00:00:00.500", "end": "00:00:01.200", "lines": ["Hello", "there"]},
        {"start": "00:00:02.040", "end": "00:00:02.500", "lines": ["Bye"]},
        {"start": "00:00:09.000", "end": "00:00:10.000", "lines": ["after the end"]},
    ],
    "de": [{"start": "00:00:02.040", "end": "00:00:02.500", "lines": ["Ade"]}],
}


def at_subtitles(data: bytes, folder: Path, clips: Any = None) -> Processed:
    """One image for each subtitle of SUBTITLES."""
    stage = load_subsampler("FrameSubsampler").model_validate(job("yt_subtitle")["Frame"])
    metadata = {"yt_meta_dict": {"subtitles": SUBTITLES}, "clips": clips}
    return process(Task("00007", Blob.of(data), metadata, make_plan([stage]), folder))


@pytest.mark.parametrize("name", VIDEOS)
def test_an_image_where_each_subtitle_begins(
    name: str, files: Mapping[str, bytes], tmp_path: Path
) -> None:
    """It shows the frame of that moment, with the lines, at the time as the subtitle has it."""
    done = at_subtitles(files[name], tmp_path)
    assert [read_number(pixels(sample)) for sample in done.samples] == [
        on_screen(VIDEOS[name], time) for time in (0.5, 2.04)
    ]
    assert [(s.key, s.meta["frame_time"], s.meta["frame_subtitle"]) for s in done.samples] == [
        ("00007_0000", "00:00:00.500", {"en": ["Hello", "there"]}),
        ("00007_0001", "00:00:02.040", {"en": ["Bye"], "de": ["Ade"]}),
    ]


def test_the_subtitles_of_a_clip(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """Those that begin inside it count for the images; all that are seen in it are listed."""
    (sample,) = at_subtitles(files["plain"], tmp_path, [[1.0, 3.0]]).samples
    assert read_number(pixels(sample)) == 51
    assert sample.key == "00007_00000"
    assert [record["lines"]["en"] for record in sample.meta["clip_subtitles"]] == [
        ["Hello", "there"],
        ["Bye"],
    ]


def test_a_video_without_subtitles_gives_no_image(files: Mapping[str, bytes], run: Run) -> None:
    """There is nothing to take then, and the row says so."""
    with pytest.raises(ItemError) as caught:
        run(files["plain"], job("yt_subtitle"))
    assert caught.value.cause is Cause.NO_CLIPS


@pytest.mark.parametrize("extension", ["mp4", "jpg", "png", "webp"])
def test_images_are_of_the_format_that_is_asked_for(
    extension: str, files: Mapping[str, bytes], run: Run
) -> None:
    """A job that asks for no format of images gets jpg; all show the frame in its colours."""
    args = {"downsample_method": "first_frame", "encode_format": extension}
    (sample,) = run(files["plain"], {"Frame": args}, [[1.0, 2.0]]).samples
    picture = pixels(sample, "jpg" if extension == "mp4" else extension)
    assert read_number(picture) == 25
    difference = picture[:, :, ::-1].astype(int) - VIDEOS["plain"].picture(25).astype(int)
    assert np.abs(difference).mean() < 15


def test_images_are_resized_and_upright(run: Run) -> None:
    """Images go through the same filters as videos."""
    data = MadeVideo(scenes(0.4), (48, 64), rotation=90, audio=None).data()
    (upright,) = run(data, job("first_frame")).samples
    assert pixels(upright).shape == (48, 64, 3)
    size = {"Resolution": {"video_size": 96, "resize_mode": "scale,crop,pad"}}
    (resized,) = run(data, {**size, **job("first_frame")}).samples
    assert pixels(resized).shape == (96, 96, 3)
    assert read_number(pixels(resized)) == 0


def test_images_have_square_pixels(run: Run) -> None:
    """A picture of wide pixels is as wide as a player shows it, though nothing sets its size."""
    data = MadeVideo(scenes(0.4), (48, 60), pixel_aspect=Fraction(16, 15), audio=None).data()
    (image,) = run(data, job("first_frame")).samples
    assert pixels(image).shape == (60, 52, 3)  # 51.2 is to be seen, which is nearest to 52
    assert read_number(pixels(image)) == 0


def test_sound_may_stand_beside_images(files: Mapping[str, bytes], run: Run) -> None:
    """Where sound is asked for too it is the sample, and the images come after it."""
    formats = {"video": "mp4", "audio": "m4a"}
    done = run(files["plain"], job("first_frame"), [[1.0, 2.0]], formats)
    assert [(sample.key, set(sample.parts)) for sample in done.samples] == [
        ("00007_00000", {"m4a"}),
        ("00007_00000_0000", {"png"}),
    ]


@pytest.mark.parametrize(
    "args",
    [
        {"downsample_method": "uniform"},
        {"downsample_method": "uniform", "n_frames": 0},
        {"downsample_method": "first_frame", "n_frames": 3},
        {"frame_rate": 5, "encode_format": "png"},
        {"downsample_method": "last_frame"},
        {"downsample_method": "keyframe", "encode_format": "gif"},
    ],
)
def test_what_does_not_go_together_is_refused(args: dict[str, Any]) -> None:
    """A number for other methods than uniform, or images at a rate, are errors."""
    with pytest.raises(ValidationError):
        FrameSubsampler.model_validate(args)


# These can only be read from their beginning, so they are opened anew for a second decode.
NOT_REWOUND = {
    "mpegts": MadeVideo(scenes(1, 1), (64, 48), container="mpegts", b_frames=2),
    "avi": MadeVideo(scenes(1, 1), (64, 48), codec="mpeg4", audio="pcm_s16le", container="avi"),
    "flv": MadeVideo(scenes(1, 1), (64, 48), container="flv", sample_rate=44100),
}


@pytest.mark.parametrize("name", NOT_REWOUND)
@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_images_of_scenes_in_files_that_cannot_be_rewound(
    name: str, detector: str, run: Run
) -> None:
    """A second decode begins at the beginning too, and shows the middles of parts of scenes."""
    scenes_found = {"CutDetection": {"cuts_are_clips": True, "detector": detector}}
    done = run(NOT_REWOUND[name].data(), {**scenes_found, **job("uniform", n_frames=2)})
    numbers = [number for _, number in stills(done)]
    assert np.allclose(numbers, [6, 18, 31, 43], atol=1)
    assert done.facts["frames_decoded"] > 50
