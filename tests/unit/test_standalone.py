"""Tests of the work on one video as a plain call."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import asyncv2d
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Body, Sample

SMALL = {"ResolutionSubsampler": {"args": {"video_size": 64, "resize_mode": "scale,crop,pad"}}}
EXACT = {"ClippingSubsampler": {"args": {"precision": "exact"}}}
CUTS = {"original_fps": 25, "cuts_original_fps": [[0, 50], [50, 100]]}


@pytest.fixture(scope="module")
def data() -> bytes:
    """Two scenes of two seconds with sound."""
    return MadeVideo(scenes(2, 2), (64, 48)).data()


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def kinds(body: Body) -> list[tuple[str, str]]:
    """The streams in a file: what they are, and their codecs."""
    with body.open() as file, av.open(file, "r") as container:
        return [
            (stream.type, stream.codec_context.codec.canonical_name)
            for stream in (*container.streams.video, *container.streams.audio)
        ]


def test_bytes_and_paths_are_the_same(data: bytes, tmp_path: Path) -> None:
    """A video may be given by its bytes or its path; the samples are equal."""
    path = tmp_path / "a video.mp4"
    path.write_bytes(data)
    sources: list[Any] = [data, bytearray(data), memoryview(data), path, str(path)]
    made = [asyncv2d.process(source, SMALL).samples for source in sources]
    assert len({samples[0].parts["mp4"].read() for samples in made}) == 1
    assert {samples[0].key for samples in made} == {"000000000"}


def test_without_subsamplers_the_file_is_handed_on(data: bytes) -> None:
    """Nothing to do is nothing done."""
    (sample,) = asyncv2d.process(data).samples
    assert sample.parts["mp4"].read() == data
    assert sample.meta == {}


def test_settings_may_be_given_without_args(data: bytes) -> None:
    """The example in the documentation works, with ``args`` and without."""
    size = {"video_size": 32, "resize_mode": "scale,crop,pad"}
    made = [
        asyncv2d.process(data, {"ResolutionSubsampler": given}, clips=[[1, 3]])
        for given in (size, {"args": size})
    ]
    assert [numbers(done.samples[0]) for done in made] == [list(range(25, 75))] * 2


@pytest.mark.parametrize(
    "clips",
    [
        [[0.4, 1.2], [2.4, 3]],
        ((0.4, 1.2), (2.4, 3)),
        [["0.4", "1.2"], ["2.4", "3"]],
        [["00:00:00.400", "00:00:01.200"], ["0:02.4", "0:03"]],
        "[[0.4, 1.2], [2.4, 3]]",
        "[['0:00.4', '0:01.2'], ['0:02.4', '0:03']]",
        np.array([[0.4, 1.2], [2.4, 3]]),
        [[2.4, 3], [0.4, 1.2]],
    ],
    ids=["lists", "tuples", "words", "clock", "text", "text of clock", "array", "out of order"],
)
def test_clips_in_every_notation(clips: Any, data: bytes) -> None:
    """However clips are written, they hold the frames of their spans, by their start."""
    first, second = asyncv2d.process(data, EXACT, clips=clips, key="a").samples
    assert (first.key, second.key) == ("a_00000", "a_00001")
    assert (numbers(first), numbers(second)) == (list(range(10, 30)), list(range(60, 75)))


def test_a_single_pair_is_one_clip(data: bytes) -> None:
    """The pair need not be wrapped in a list."""
    (sample,) = asyncv2d.process(data, EXACT, clips=[0.4, 1.2]).samples
    assert numbers(sample) == list(range(10, 30))


@pytest.mark.parametrize(
    ("clips", "written"),
    [
        ([[0.4, 1.2]], [[0.4, 1.2]]),
        ([["0:00.4", "0:01.2"]], [["00:00:00.400", "00:00:01.200"]]),
    ],
)
def test_a_clip_says_its_span_as_it_was_given(clips: Any, written: Any, data: bytes) -> None:
    """Seconds stay seconds and clock times clock times, as in video2dataset."""
    (sample,) = asyncv2d.process(data, EXACT, clips=clips).samples
    assert sample.meta["clips"] == written


def test_cuts_may_be_known_beforehand(data: bytes) -> None:
    """Cuts in the metadata are used where the configuration says that there are some."""
    subsampling = {"CutDetectionSubsampler": {"cuts_are_clips": True}, **EXACT}
    done = asyncv2d.process(data, subsampling, metadata={"cuts": CUTS})
    assert [numbers(sample) for sample in done.samples] == [
        list(range(50)),
        list(range(50, 100)),
    ]


def test_clips_stand_above_those_in_the_metadata(data: bytes) -> None:
    """The argument is the one that counts."""
    (sample,) = asyncv2d.process(
        data, EXACT, clips=[[0, 0.2]], metadata={"clips": [[1, 2]]}
    ).samples
    assert numbers(sample) == list(range(5))


@pytest.mark.parametrize(
    ("formats", "parts"),
    [
        (None, {"mp4": ["video", "audio"]}),
        ({}, {}),
        ({"video": "mp4"}, {"mp4": ["video", "audio"]}),
        ({"audio": "m4a"}, {"m4a": ["audio"]}),
        ({"video": "mp4", "audio": "mp3"}, {"mp4": ["video", "audio"], "mp3": ["audio"]}),
        ({"video": "mp4", "audio": "wav"}, {"mp4": ["video", "audio"], "wav": ["audio"]}),
        ({"audio": "flac"}, {"flac": ["audio"]}),
        ({"audio": "opus"}, {"opus": ["audio"]}),
    ],
)
@pytest.mark.parametrize("subsampling", [{}, SMALL], ids=["as it is", "resized"])
@pytest.mark.parametrize("clips", [None, [[0.4, 1.2]]], ids=["whole", "clip"])
def test_formats_say_which_parts_there_are(
    formats: dict[str, str] | None,
    parts: dict[str, list[str]],
    subsampling: dict[str, Any],
    clips: Any,
    data: bytes,
) -> None:
    """A part for each modality that is named, whatever is done to it; without any, a video."""
    (sample,) = asyncv2d.process(data, subsampling, clips=clips, encode_formats=formats).samples
    found = {name: [kind for kind, _ in kinds(body)] for name, body in sample.parts.items()}
    assert found == parts


def test_storage_and_reading_are_sections_of_the_configuration(data: bytes) -> None:
    """The encoder and what to do with damage are set where the YAML file has them."""
    (sample,) = asyncv2d.process(data, SMALL, storage={"encoder": {"codec": "h265"}}).samples
    assert kinds(sample.parts["mp4"])[0] == ("video", "hevc")
    torn = MadeVideo(scenes(2), (64, 48), audio=None, container="matroska").data()
    torn = torn[: len(torn) // 2]
    (sample,) = asyncv2d.process(torn, SMALL, reading={"on_corrupt": "keep"}).samples
    assert 10 < len(numbers(sample)) < 40
    assert sample.meta["damage"].startswith("truncated: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"source": "https://example.org/fox.mp4"}, "takes a path or bytes"),
        ({"source": "file:///etc/hostname"}, "takes a path or bytes"),
        ({"encode_formats": {"video": "webm"}}, "encode_formats: video cannot be .* 'webm'"),
        ({"encode_formats": {"picture": "jpg"}}, "'picture' is no modality"),
        ({"subsampling": {"ResolutionSubsamplr": {}}}, "ResolutionSubsampler"),
        ({"subsampling": {"FrameSubsampler": {"args": {"framerate": 5}}}}, "frame_rate"),
        ({"subsampling": {**EXACT, "FrameSubsampler": {"args": {}}}}, "fps needs a frame_rate"),
        ({"storage": {"encoder": {"crf": 99}}}, "crf goes from 0 to 51"),
        ({"reading": {"on_corrupt": "ignore"}}, "expected one of: fail, keep"),
    ],
)
def test_mistakes_of_the_caller_are_user_errors(
    arguments: dict[str, Any], says: str, data: bytes
) -> None:
    """What is wrong with the configuration or the source is said before any work."""
    with pytest.raises(asyncv2d.UserError, match=says):
        asyncv2d.process(**{"source": data, **arguments})


@pytest.mark.parametrize(
    ("source", "arguments", "cause"),
    [
        (Path("/no/such/file.mp4"), {}, asyncv2d.Cause.NOT_FOUND),
        (b"", {}, asyncv2d.Cause.EMPTY),
        (b"<html>" * 99, {}, asyncv2d.Cause.NOT_MEDIA),
        (None, {"clips": "soon"}, asyncv2d.Cause.BAD_CLIPS),
        (None, {"clips": []}, asyncv2d.Cause.NO_CLIPS),
        (None, {"clips": [[50, 60]]}, asyncv2d.Cause.NO_CLIPS),
    ],
)
def test_what_cannot_be_processed_has_a_cause(
    source: Any, arguments: dict[str, Any], cause: asyncv2d.Cause, data: bytes
) -> None:
    """A file, or its clips, that cannot be processed raises an error that says why."""
    with pytest.raises(asyncv2d.ItemError) as caught:
        asyncv2d.process(data if source is None else source, SMALL, **arguments)
    assert caught.value.cause is cause
    assert caught.value.detail


def test_work_is_counted(data: bytes) -> None:
    """The figures of the work come with the samples, and also with an error."""
    assert asyncv2d.process(data, SMALL).facts == {"frames_decoded": 100}
    broken = bytearray(data)
    begin = data.index(b"mdat") + 8000
    broken[begin : begin + 6000] = b"\xff" * 6000
    with pytest.raises(asyncv2d.ItemError) as caught:
        asyncv2d.process(bytes(broken), SMALL)
    assert caught.value.cause is asyncv2d.Cause.CORRUPT
    assert 0 < caught.value.facts["frames_decoded"] < 100
