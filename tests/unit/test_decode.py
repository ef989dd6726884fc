"""Tests of the one decode loop and of the times it gives to frames."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import av
import numpy as np
import pytest

from asyncv2d.decode import Making, decode_all, decode_needed
from asyncv2d.index import read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.media import CutWatch, SmallView, Span, VideoInfo
from asyncv2d.plan import make_plan
from asyncv2d.probe import open_media
from asyncv2d.take import Take
from asyncv2d.types import Blob, Cause, ItemError, Processed

NOTHING = make_plan([])
VIDEOS = {
    "mp4": MadeVideo(scenes(1, 1), b_frames=2),
    "uneven": MadeVideo(scenes(1, 1), uneven=True),
    "clock-at-10-s": MadeVideo(scenes(1, 1), start=10.0, audio=None),
    "late-picture": MadeVideo(scenes(1, 1), video_delay=0.4),
    "matroska": MadeVideo(scenes(1, 1), container="matroska", audio="libopus"),
    "avi": MadeVideo(scenes(1, 1), codec="mpeg4", audio="pcm_s16le", container="avi"),
}


@dataclass(frozen=True)
class Recorder:
    """A cut detector that remembers what it was shown and finds a cut where it is told to."""

    cut: int
    source: Literal["video", "metadata"] = "video"
    cuts_are_clips: bool = True
    immediate: bool = True
    allows_gaps: bool = False
    scenes: Literal["all", "longest"] = "all"
    seen: list[tuple[int, int]] = field(default_factory=list)

    def watch(self, video: VideoInfo) -> CutWatch:
        """Begin."""
        return self

    def push(self, view: SmallView, index: int) -> bool:
        """Remember a view's number."""
        self.seen.append((index, read_number(view.shrunk(64))))
        return index == self.cut

    def finish(self, times: Sequence[float], end: float) -> Mapping[str, Any]:
        """Hand on what the engine says."""
        return {"times": list(times), "end": end}


@pytest.mark.parametrize("name", VIDEOS)
def test_every_frame_has_its_time(name: str) -> None:
    """Times are presentation times counted from the start of the file, whatever its clock says."""
    made = VIDEOS[name]
    with open_media(Blob.of(made.data())) as media:
        decoded = decode_all(media, NOTHING, read_index(media), None)
    assert np.allclose(decoded.times, made.frame_times, atol=2e-3)
    assert decoded.end == pytest.approx(made.duration, abs=0.1)


def test_a_detector_sees_every_frame_in_order() -> None:
    """Each frame is shown once, in order, and the scene it begins is a clip of its own."""
    made, detector = MadeVideo(scenes(2), (128, 96), audio=None), Recorder(cut=20)
    with open_media(Blob.of(made.data())) as media:
        decoded = decode_all(
            media,
            make_plan([detector]),
            read_index(media),
            Making("encoded", None, read_index(media)),
        )
    assert detector.seen == [(number, number) for number in range(50)]
    assert np.allclose([take.span for take in decoded.takes], [[0, 0.8], [0.8, 2]])
    assert decoded.facts == {"times": decoded.times, "end": decoded.end}


def test_given_spans_come_before_scenes() -> None:
    """Spans that are given decide, also where a detector watches."""
    made = MadeVideo(scenes(1), audio=None)
    with open_media(Blob.of(made.data())) as media:
        decoded = decode_needed(
            media, NOTHING, Making("encoded", [Span(0.2, 0.6)], read_index(media))
        )
    assert [take.frames for take in decoded.takes if isinstance(take, Take)] == [10]


def test_damage_in_the_middle_is_corrupt() -> None:
    """A file of full length whose frames cannot be decoded is corrupt."""
    data = bytearray(MadeVideo(scenes(1), audio=None).data())
    middle = data.index(b"mdat") + 2000
    data[middle : middle + 3000] = b"\xff" * 3000
    with open_media(Blob.of(bytes(data))) as media, pytest.raises(ItemError) as caught:
        decode_all(media, NOTHING, read_index(media), None)
    assert caught.value.cause is Cause.CORRUPT


@pytest.mark.parametrize("b_frames", [0, 2])
def test_what_an_edit_list_trims_is_not_missed(b_frames: int) -> None:
    """A file that shows only a part of its frames is whole, and begins where the part begins."""
    data = bytearray(MadeVideo(scenes(2), audio=None, b_frames=b_frames).data())
    entry = data.index(b"elst") + 12
    _, media_time, rate = struct.unpack(">IiI", data[entry : entry + 12])
    with open_media(Blob.of(bytes(data))) as media:
        assert media.video is not None
        one_frame = round(1 / 25 / (media.video.time_base or 1))
    begin = media_time + 15 * one_frame
    data[entry : entry + 12] = struct.pack(">IiI", 1000, begin, rate)  # one second of it
    with open_media(Blob.of(bytes(data))) as media:
        times = decode_all(media, NOTHING, read_index(media), None).times
    assert np.allclose(times[:25], np.arange(25) / 25, atol=1e-3)
    assert len(times) - 25 <= b_frames


def test_a_clock_that_jumps_for_hours_is_corrupt() -> None:
    """A gap that no still picture would fill is damage, not hours of the same frame."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = 64, 48
        for tick in (0, 1, 25 * 7200, 25 * 7200 + 1):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = tick
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with open_media(Blob.of(buffer.getvalue())) as media, pytest.raises(ItemError) as caught:
        decode_all(media, NOTHING, read_index(media), None)
    assert caught.value.cause is Cause.CORRUPT


@pytest.mark.parametrize("name", VIDEOS)
def test_keyframe_times_are_those_of_the_keyframes(name: str) -> None:
    """Keyframes are found without decoding, and the file can be decoded afterwards."""
    made = VIDEOS[name]
    with open_media(Blob.of(made.data())) as media:
        found = read_index(media).keyframe_times
        assert decode_all(media, NOTHING, read_index(media), None).times
    assert np.allclose(found, made.frame_times[:: made.keyframe_interval], atol=2e-3)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize(
    ("job", "most"),
    [({"downsample_method": "first_frame"}, 3), ({"frame_rate": 5}, 32)],
    ids=["one image", "a clip"],
)
def test_decoding_ends_when_all_is_made(
    codec: str, job: dict[str, Any], most: int, run: Callable[..., Processed]
) -> None:
    """What comes after the last clip is not decoded, whatever the codec."""
    data = MadeVideo(scenes(4), codec=codec, audio=None, container="webm").data()
    spans = None if "downsample_method" in job else [[0.2, 1.2]]
    assert run(data, {"Frame": job}, spans).facts["frames_decoded"] <= most


@pytest.mark.parametrize("job", ["clips", "stills", "scenes"])
def test_a_clip_has_the_shape_of_its_own_frames(job: str, run: Callable[..., Processed]) -> None:
    """Where the size changes in the middle, a clip's does not depend on the row's other clips."""
    parts = [
        MadeVideo(scenes(*lengths), size, container="mpegts", audio=None, start=start).data()
        for lengths, size, start in [((1.0,), (64, 48), 0.0), ((0.04, 0.96), (48, 64), 1.0)]
    ]
    subsamplers: dict[str, dict[str, Any]] = {"Clipping": {"precision": "exact"}}
    if job == "stills":
        subsamplers = {"Frame": {"downsample_method": "first_frame", "encode_format": "png"}}
    if job == "scenes":
        subsamplers["CutDetection"] = {"cuts_are_clips": True}
    spans = None if job == "scenes" else [[0.2, 0.8], [0.6, 1.4], [1.2, 1.8]]
    shapes = []
    for sample in run(b"".join(parts), subsamplers, spans).samples:
        (picture,) = sample.parts.values()
        with av.open(io.BytesIO(picture.read()), "r") as container:
            shapes.append({(f.width, f.height) for f in container.decode(video=0)})
    lying, upright = {(64, 48)}, {(48, 64)}
    assert shapes == ([lying, upright] if job == "scenes" else [lying, lying, upright])
