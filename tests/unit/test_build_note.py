"""Tests of videos whose decoding depends on the note of what made them."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from asyncv2d.frames import shown_frames
from asyncv2d.index import choose, read_index
from asyncv2d.probe import from_start, open_media
from asyncv2d.types import Blob, Processed

COUNT, GROUP, SIZE = 75, 12, (64, 48)
MARK = b"x264 - core "
VIDEOS = [
    (container, codec)
    for container in ("mp4", "matroska", "mpegts")
    for codec in ("libx264", "libx264rgb")
]
Pictures = NDArray[np.uint8]


@cache
def naming_build(build: bytes, container: str, codec: str) -> bytes:
    """A video by a new x264 whose note names this build: read as of an old one it is noise."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    options = {"preset": "veryfast", "threads": "1", "bf": "0", "qp": "0"}
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt = pixels = "yuv444p" if codec == "libx264" else "rgb24"
        stream.codec_context.gop_size = GROUP
        for number in range(COUNT):
            blocks = rng.integers(0, 256, (SIZE[1] // 8, SIZE[0], 3), np.uint8).repeat(8, axis=0)
            frame = VideoFrame.from_ndarray(blocks, "rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    data = file.getvalue()
    assert data.count(MARK) == 1
    begin = data.index(MARK) + len(MARK)
    return data[:begin] + build + data[begin + len(build) :]


def decoded(data: bytes) -> Pictures:
    """The pictures of all frames, decoded from the start."""
    with av.open(io.BytesIO(data), "r") as container:
        return np.array([frame.to_ndarray() for frame in container.decode(video=0)])


def keyframes_read_as_new(container: str, codec: str) -> Pictures:
    """What all keyframes look like to a decoder that does not see the note of an old build."""
    new = decoded(naming_build(b"164", container, codec))[::GROUP]
    old = decoded(naming_build(b"142", container, codec))[::GROUP]
    assert not any(map(np.array_equal, new, old))
    return new


@pytest.mark.parametrize(("container", "codec"), VIDEOS)
def test_the_decoder_sees_the_note_wherever_decoding_begins(container: str, codec: str) -> None:
    """Frames of a later group are read as the first ones are, which are left out."""
    new = keyframes_read_as_new(container, codec)
    with open_media(Blob.of(naming_build(b"142", container, codec))) as media:
        index = read_index(media)
        for number in range(1, len(new)):
            time = index.shown[number * GROUP]
            choice = choose(index, "h264", np.array([time]))
            assert choice is not None
            efforts = choice.efforts(lambda *_: True)
            with from_start(media, media.video) as source:
                found = {time: frame for frame, time, _ in shown_frames(media, source, efforts)}
            assert len(found) < GROUP
            assert not np.array_equal(found[float(time)].to_ndarray(), new[number])


@pytest.mark.parametrize(("container", "codec"), VIDEOS)
def test_a_copy_takes_the_note_along(
    container: str, codec: str, run: Callable[..., Processed]
) -> None:
    """Once, also where units come after start codes."""
    new = keyframes_read_as_new(container, codec)
    spans = [[number * GROUP / 25, COUNT / 25] for number in range(len(new))]
    data = naming_build(b"142", container, codec)
    samples = run(data, {"Clipping": {"precision": "low"}}, spans).samples
    for sample, keyframe in zip(samples, new, strict=True):
        copied = sample.parts["mp4"].read()
        assert copied.count(MARK) == 1
        assert not np.array_equal(decoded(copied)[0], keyframe)
