"""Tests of opening files and reading their headers."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asyncv2d.index import read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import Size
from asyncv2d.probe import from_start, open_media, packets
from asyncv2d.types import Blob, Cause, ItemError, LocalFile, Processed, Sample


def test_headers_are_read_without_decoding(two_scenes_file: bytes) -> None:
    """Size, rate, codecs and duration come from the headers."""
    with open_media(Blob.of(two_scenes_file)) as media:
        video, audio = media.probe.video, media.probe.audio
        assert video is not None
        assert audio is not None
        assert (video.codec, video.size, video.rate) == ("h264", Size(160, 120), Fraction(25))
        assert (audio.codec, audio.sample_rate, audio.channels) == ("aac", 48000, 1)
        assert media.probe.duration == pytest.approx(4, abs=0.03)
        assert not media.truncated


def test_document_speaks_ffprobe(two_scenes_file: bytes) -> None:
    """The document has the names and the spelling of ffprobe's JSON."""
    with open_media(Blob.of(two_scenes_file)) as media:
        document = media.probe.document
    assert document["format"]["nb_streams"] == 2
    assert document["format"]["size"] == str(len(two_scenes_file))
    video, audio = document["streams"]
    assert (video["codec_type"], video["width"], video["nb_frames"]) == ("video", 160, "100")
    assert video["avg_frame_rate"] == "25/1"
    assert (audio["codec_name"], audio["sample_rate"]) == ("aac", "48000")


def test_bodies_of_every_kind_open_alike(two_scenes_file: bytes, tmp_path: Path) -> None:
    """Memory, spool file and local file give the same probe."""
    path = tmp_path / "50% odd: name?.mp4"
    path.write_bytes(two_scenes_file)
    probes = []
    for body in (Blob.of(two_scenes_file), Blob(len(two_scenes_file), path=path), LocalFile(path)):
        with open_media(body) as media:
            probes.append(media.probe)
    assert probes[0] == probes[1] == probes[2]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", Cause.EMPTY),
        (b"<!doctype html><p>no video here</p>" * 9, Cause.NOT_MEDIA),
        (b'{"error": "gone"}', Cause.NOT_MEDIA),
        (b"#EXTM3U\n#EXTINF:9,\nfile:///etc/hostname\n", Cause.NOT_MEDIA),
        (b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08free", Cause.CORRUPT),
    ],
)
def test_what_is_no_video_is_named(data: bytes, cause: Cause) -> None:
    """A body that cannot be opened gets the cause that fits, and no file beside it is read."""
    with pytest.raises(ItemError) as caught, open_media(Blob.of(data)):
        pass
    assert caught.value.cause is cause


def test_a_file_without_its_index_is_truncated(two_scenes_file: bytes) -> None:
    """An MP4 that was cut before its index cannot be opened, and is called truncated."""
    with pytest.raises(ItemError) as caught, open_media(Blob.of(two_scenes_file[:9000])):
        pass
    assert caught.value.cause is Cause.TRUNCATED


def test_sound_alone_has_no_video() -> None:
    """A file of sound alone is opened, and has no video."""
    with open_media(Blob.of(MadeVideo(scenes(0.3), codec=None).data())) as media:
        assert media.video is None
        assert media.audio is not None


def test_origin_is_the_first_timestamp() -> None:
    """A recording whose clock starts at 10 s has its origin there."""
    video = MadeVideo(scenes(0.4), start=10.0, audio=None)
    with open_media(Blob.of(video.data())) as media:
        assert media.origin == 10


def test_pixel_aspect_is_read() -> None:
    """Non-square pixels are reported."""
    video = MadeVideo(scenes(0.2), pixel_aspect=Fraction(4, 3), audio=None)
    with open_media(Blob.of(video.data())) as media:
        assert media.probe.video is not None
        assert media.probe.video.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("container", "audio"), [("avi", "pcm_s16le"), ("nut", "aac")])
def test_codec_tags_that_are_no_text_are_left_out(container: str, audio: str) -> None:
    """Formats that number their codecs are opened like any other."""
    video = MadeVideo(scenes(0.3), codec="mpeg4", audio=audio, container=container)
    with open_media(Blob.of(video.data())) as media:
        sound = media.probe.document["streams"][1]
    assert sound["codec_type"] == "audio"


def test_a_second_look_is_independent(two_scenes_file: bytes) -> None:
    """A file that is open can be read a second time from its beginning to its end."""
    with open_media(Blob.of(two_scenes_file)) as media:
        assert media.video is not None
        counts = []
        for _ in range(2):
            with from_start(media, media.video) as container:
                stream = container.streams[media.video.index]
                counts.append(sum(bool(p.size) for p in packets(media, container, stream)))
    assert counts == [100, 100]


START = 95442.0  # seconds: at 2 ** 33 / 90000, 1.7 later, a transport stream begins anew
# Clocks that begin seconds before zero, as far as a demuxer can tell.
BEFORE_ZERO = {
    "a clock that wraps": MadeVideo(
        *(scenes(1.2, 1.8), (64, 48)), container="mpegts", start=START, audio=None
    ),
    "the same with sound": MadeVideo(scenes(1.2, 1.8), (64, 48), container="mpegts", start=START),
    "the same with b-frames": MadeVideo(
        *(scenes(1.2, 1.8), (64, 48)), container="mpegts", start=START, audio=None, b_frames=2
    ),
    "the same in mpeg4": MadeVideo(
        *(scenes(1.2, 1.8), (64, 48)), container="mpegts", start=START, audio=None, codec="mpeg4"
    ),
}


@pytest.mark.parametrize("name", BEFORE_ZERO)
def test_a_clock_that_begins_seconds_before_zero_counts_from_there(
    name: str, run: Callable[..., Processed]
) -> None:
    """A recording during which the clock comes to zero is whole, and begins at time 0."""
    made = BEFORE_ZERO[name]
    begins = made.frame_times[0] + (0.0214 if made.audio else 0)  # the sound's encoder comes first
    with open_media(Blob.of(made.data())) as media:
        assert media.origin < -1
        index = read_index(media)
        assert np.allclose(index.shown, begins + np.array(made.frame_times), atol=1e-3)
    for job in ({"Clipping": {"precision": "exact"}}, {"Frame": {"frame_rate": 5}}):
        first, second = run(made.data(), job, [[0.5, 1.0], [1.9, 2.9]]).samples
        assert seen(first)[0] == pytest.approx(12, abs=1)
        assert seen(second)[0] == pytest.approx(47, abs=1)
        assert seen(second)[-1] == pytest.approx(69, abs=3)  # at 5 a second the last is at 2.7 s
    (sample,) = run(made.data(), {"CutDetection": {}}).samples
    assert np.allclose(
        sample.meta["cuts_seconds"], np.array([[0, 1.2], [1.2, 3]]) + begins, atol=0.002
    )


def seen(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def test_what_an_encoder_puts_before_zero_is_no_start() -> None:
    """The few milliseconds before time 0 that sound needs to begin do not move the clock."""
    for container in ("mp4", "matroska"):
        made = MadeVideo(scenes(1), (64, 48), container=container)
        with open_media(Blob.of(made.data())) as media:
            assert media.origin == 0
            assert np.allclose(read_index(media).shown, made.frame_times, atol=1e-3)
