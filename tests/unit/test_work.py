"""Tests of all the work on one video, from bytes to samples."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from asyncv2d import plan
from asyncv2d.made_media import MadeVideo, demo_videos, read_number, scenes
from asyncv2d.plan import make_plan
from asyncv2d.samples import PART_INLINE_BYTES
from asyncv2d.task import Task, sendable
from asyncv2d.types import Blob, Cause, ItemError, LocalFile, Processed, Sample
from asyncv2d.work import process

Run = Callable[..., Processed]
SMALL = {"Resolution": {"video_size": 64, "resize_mode": "scale,crop,pad"}}
SCENES = {"CutDetection": {"cuts_are_clips": True}}
MAIN: dict[str, dict[str, Any]] = {
    **SCENES,
    "Clipping": {"min_length": 0.5, "max_length": 1.5},
    **SMALL,
    "Frame": {"frame_rate": 5},
    "FFProbe": {},
}
VARIANTS = {
    "plain": MadeVideo(scenes(2, 2)),
    "b-frames": MadeVideo(scenes(2, 2), b_frames=2),
    "vp9-opus": MadeVideo(scenes(2, 2), codec="libvpx-vp9", audio="libopus", container="webm"),
    "hevc": MadeVideo(scenes(2, 2), codec="libx265", b_frames=2),
    "avi": MadeVideo(scenes(2, 2), codec="mpeg4", audio="pcm_s16le", container="avi"),
    "uneven": MadeVideo(scenes(2, 2), uneven=True),
    "rotated": MadeVideo(scenes(2, 2), (120, 160), rotation=90),
    "wide-pixels": MadeVideo(scenes(2, 2), pixel_aspect=Fraction(4, 3)),
    "odd-size": MadeVideo(scenes(2, 2), (161, 121), pixel_format="yuv444p"),
    "ten-bit": MadeVideo(scenes(2, 2), pixel_format="yuv420p10le"),
    "silent": MadeVideo(scenes(2, 2), audio=None),
}


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_main_job_gives_the_frames_it_promises(name: str, run: Run) -> None:
    """Scenes become clips of 64 × 64 at 5 fps that show exactly the frames of their spans."""
    made = VARIANTS[name]
    samples = run(made.data(), MAIN).samples
    receipts = [sample.meta["receipt"] for sample in samples]
    starts = [receipt["asked"][0] for receipt in receipts]
    assert all(np.isclose(starts, begin, atol=2e-3).any() for begin in (0, made.cut_times[0]))
    for sample, receipt in zip(samples, receipts, strict=True):
        ticks = [receipt["asked"][0] + n / 5 for n in range(receipt["frames"])]
        on_screen = np.searchsorted(made.frame_times, np.array(ticks) + 2e-3, side="right") - 1
        assert numbers(sample) == on_screen.tolist()


def test_cuts_become_clips_of_allowed_length(run: Run) -> None:
    """Scenes are cut into pieces of max_length; the rest is kept if longer than min_length."""
    samples = run(MadeVideo(scenes(2, 1.8, 1.2)).data(), MAIN).samples
    asked = [sample.meta["receipt"]["asked"] for sample in samples]
    assert np.allclose(asked, [[0, 1.5], [2, 3.5], [3.8, 5.0]], atol=2e-3)
    assert [sample.key for sample in samples] == [f"00007_0000{n}" for n in range(3)]


def test_facts_are_plain_json(two_scenes_file: bytes, run: Run) -> None:
    """All facts of a sample can be written as JSON and read back."""
    for sample in run(two_scenes_file, MAIN).samples:
        assert json.loads(json.dumps(sample.meta))["receipt"]["precision"] == "exact"


def test_all_is_decoded_once(two_scenes_file: bytes, run: Run) -> None:
    """However many subsamplers there are, each frame is decoded one time."""
    assert run(two_scenes_file, MAIN).facts["frames_decoded"] == 100


def test_the_same_video_gives_the_same_bytes(two_scenes_file: bytes, run: Run) -> None:
    """A row that is done again, by whichever worker, gives the same files byte for byte."""
    first = [sample.parts["mp4"].read() for sample in run(two_scenes_file, MAIN).samples]
    for _ in range(4):
        again = [sample.parts["mp4"].read() for sample in run(two_scenes_file, MAIN).samples]
        assert again == first


def test_a_job_without_media_work_hands_the_file_on(two_scenes_file: bytes, run: Run) -> None:
    """Facts alone change no byte of the video."""
    (sample,) = run(two_scenes_file, {"FFProbe": {}}).samples
    assert sample.parts["mp4"].read() == two_scenes_file
    assert sample.key == "00007"


@pytest.mark.parametrize(
    ("video", "jobs", "cause"),
    [
        (MadeVideo(scenes(0.5), codec=None), MAIN, Cause.NO_VIDEO_STREAM),
        (MadeVideo(scenes(0.3), audio=None), MAIN, Cause.NO_CLIPS),
    ],
)
def test_what_gives_no_clip_is_an_error(
    video: MadeVideo, jobs: dict[str, Any], cause: Cause, run: Run
) -> None:
    """Sound alone, or a video too short, fails with the cause that says so."""
    with pytest.raises(ItemError) as caught:
        run(video.data(), jobs)
    assert caught.value.cause is cause


def test_bad_clips_fail_before_the_work(two_scenes_file: bytes, run: Run) -> None:
    """A clips column that cannot be read is refused."""
    with pytest.raises(ItemError) as caught:
        run(two_scenes_file, SMALL, "soon")
    assert caught.value.cause is Cause.BAD_CLIPS


@pytest.mark.parametrize(
    ("precision", "span", "reason"),
    [
        ("keyframe_adjusted", [0.5, 1.4], "begins and ends at keyframes"),
        ("exact", [1.003, 1.036], "a frame begins"),
        ("low", [4.5, 5.0], "within the 4.00 s of the file"),
    ],
)
def test_the_reason_why_there_is_no_clip_is_true(
    precision: str, span: list[float], reason: str, run: Run
) -> None:
    """It names what a clip needs, which may be lacking within the file too."""
    made = MadeVideo(scenes(2, 2), (64, 48), audio=None, keyframe_interval=25)
    with pytest.raises(ItemError) as caught:
        run(made.data(), {"Clipping": {"precision": precision}}, [span])
    assert caught.value.cause is Cause.NO_CLIPS
    assert reason in caught.value.detail


def test_clips_past_the_end_are_no_clips(two_scenes_file: bytes, run: Run) -> None:
    """Spans that begin after the end give no clip; one that ends after it is shortened."""
    with pytest.raises(ItemError) as caught:
        run(two_scenes_file, SMALL, [[50, 60]])
    assert caught.value.cause is Cause.NO_CLIPS
    (sample,) = run(two_scenes_file, SMALL, [[3, 60]]).samples
    assert sample.meta["receipt"]["asked"] == pytest.approx((3, 4))


def test_a_span_within_the_last_frame_is_a_clip_of_it(two_scenes_file: bytes, run: Run) -> None:
    """The last picture is on the screen until the end, also where it alone is asked for."""
    (sample,) = run(two_scenes_file, {"Clipping": {"precision": "exact"}}, [[3.99, 9]]).samples
    assert numbers(sample) == [99]


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(240)])
@pytest.mark.parametrize("digits", [3, 6])
@pytest.mark.parametrize("frame_rate", [None, 10])
def test_spans_may_be_rounded(
    rate: Fraction, digits: int, frame_rate: int | None, run: Run
) -> None:
    """A clip begins and ends at the frames that its times in milliseconds stand for."""
    frames = range(0, round(2 * rate), 7)
    video = MadeVideo(scenes(2), (64, 48), rate=rate, audio=None)
    spans = [(first, first + 5) for first in frames if first + 5 <= 2 * rate]
    clips = [[round(float(frame / rate), digits) for frame in span] for span in spans]
    subsampling: dict[str, Any] = {"Clipping": {"precision": "exact"}}
    if frame_rate is not None:
        subsampling["Frame"] = {"frame_rate": frame_rate}
    samples = run(video.data(), subsampling, clips=clips).samples
    shown = [numbers(sample) for sample in samples]
    if frame_rate is None:
        assert shown == [list(range(first, end)) for first, end in spans]
    else:
        assert [clip[0] for clip in shown] == [first for first, _ in spans]
        assert all(
            first <= number < end
            for (first, end), clip in zip(spans, shown, strict=True)
            for number in clip
        )


@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_of_one_frame_is_a_video(frames: int, run: Run) -> None:
    """The shortest video there is becomes a clip of at least one frame."""
    data = MadeVideo(scenes(frames / 25), audio=None).data()
    (sample,) = run(data, {**SMALL, "Frame": {"frame_rate": 5}}).samples
    assert len(numbers(sample)) == 1


def test_large_parts_go_through_the_spool(tmp_path: Path) -> None:
    """A part too large for a pipe lies in the spool, with the same bytes."""
    made = MadeVideo(scenes(3), (640, 480), pixel_format="yuv444p", options=())
    noisy = make_noise(made)
    (sample,) = process(
        Task("k", Blob.of(noisy), {"clips": [[0, 9]]}, make_plan([]), tmp_path)
    ).samples
    part = sample.parts["mp4"]
    assert isinstance(part, Blob)
    assert part.size > PART_INLINE_BYTES
    assert part.path is not None
    assert part.path.parent == tmp_path
    assert len(part.read()) == part.size


def make_noise(made: MadeVideo) -> bytes:
    """A video that cannot be compressed: more than a megabyte of random pixels."""
    buffer, generator = io.BytesIO(), np.random.default_rng(5)
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = made.size
        stream.codec_context.bit_rate = 40_000_000
        for _ in range(20):
            pixels = generator.integers(0, 255, (480, 640, 3), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


DAMAGE = {
    "mp4": MadeVideo(scenes(1, 1), b_frames=2),
    "fragmented": MadeVideo(scenes(1, 1), options=(("movflags", "frag_keyframe+empty_moov"),)),
    "matroska": MadeVideo(scenes(1, 1), container="matroska"),
    "webm": MadeVideo(scenes(1, 1), codec="libvpx", audio="libopus", container="webm"),
    "avi": MadeVideo(scenes(1, 1), codec="mpeg4", audio="pcm_s16le", container="avi"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_lost_its_end_is_truncated(name: str, run: Run) -> None:
    """Wherever a file was cut off, the cause is truncated."""
    data, chosen = DAMAGE[name].data(), random.Random(7)
    for _ in range(6):
        with pytest.raises(ItemError) as caught:
            run(data[: chosen.randrange(200, len(data))], MAIN)
        assert caught.value.cause in (Cause.TRUNCATED, Cause.NOT_MEDIA)


@pytest.mark.parametrize("name", [*DAMAGE, "mpegts", "flv"])
def test_damage_never_escapes_as_another_error(name: str, run: Run) -> None:
    """Random bytes in a file give clips that play or an ItemError, and nothing else."""
    other = MadeVideo(scenes(1, 1), container=name, sample_rate=44100)
    data, chosen = DAMAGE.get(name, other).data(), random.Random(11)
    for _ in range(12):
        damaged = bytearray(data)
        for _ in range(chosen.choice([1, 8, 60])):
            damaged[chosen.randrange(len(damaged))] = chosen.randrange(256)
        try:
            samples = run(bytes(damaged), MAIN).samples
        except ItemError:
            continue
        assert all(numbers(sample) for sample in samples)


def test_sendable_bodies_leave_the_duties_behind(tmp_path: Path) -> None:
    """What goes to a worker does not carry the owner's clean-up along."""
    local = LocalFile(tmp_path)
    assert sendable(local) is local
    sent = sendable(Blob(1, [b"x"], on_close=lambda: None))
    assert isinstance(sent, Blob)
    assert sent.on_close is None


@pytest.mark.parametrize("name", demo_videos())
def test_demo_videos_are_what_they_claim(name: str, run: Run) -> None:
    """The main job gives the demo's scenes of more than 4 s, or says why there are none."""
    made = demo_videos()[name]
    jobs = {**MAIN, "Clipping": {"min_length": 4, "max_length": 20}}
    long_enough = [scene for scene in made.scenes if scene.seconds > 4]
    if made.codec is None or not long_enough:
        with pytest.raises(ItemError):
            run(made.data(), jobs)
    else:
        assert len(run(made.data(), jobs).samples) == len(long_enough)


def test_many_clips_that_overlap_are_made_a_few_at_a_time(
    two_scenes_file: bytes, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many spans overlap, each becomes the clip it would be alone, in order."""
    spans = [[n / 10, n / 10 + 1.5] for n in range(20)]
    at_once = run(two_scenes_file, SMALL, spans).samples
    monkeypatch.setattr(plan, "_OPEN_BYTES", 1)
    one_by_one = run(two_scenes_file, SMALL, spans).samples
    assert [clip.meta["receipt"] for clip in one_by_one] == [
        clip.meta["receipt"] for clip in at_once
    ]
    assert [numbers(clip) for clip in one_by_one] == [numbers(clip) for clip in at_once]
