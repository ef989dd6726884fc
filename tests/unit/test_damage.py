"""Tests of files that are cut off or damaged: they fail, or what comes before is kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import av
import cv2
import numpy as np
import pytest

from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Cause, ItemError, Processed, Sample

Run = Callable[..., Processed]
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
VIDEOS = {
    "matroska": MadeVideo(scenes(2, 2), (64, 48), container="matroska"),
    "fragmented mp4": MadeVideo(scenes(2, 2), (64, 48), options=FRAGMENTED),
    "webm": MadeVideo(scenes(2, 2), (64, 48), codec="libvpx", audio="libopus", container="webm"),
}
SMALL = {"Resolution": {"video_size": 32, "resize_mode": "scale,crop,pad"}}
JOBS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "facts": {"FFProbe": {"extract_keyframes": True}},
    "size": SMALL,
    "rate": {"Frame": {"frame_rate": 5}},
    "images": {"Frame": {"downsample_method": "keyframe", "encode_format": "png"}},
    "sound": {"AudioRate": {"sample_rate": 16000}},
}


@cache
def half(name: str) -> bytes:
    """The first half of a video: about 50 of its 100 frames."""
    data = VIDEOS[name].data()
    return data[: len(data) // 2]


@cache
def scarred() -> bytes:
    """A video of full length whose pictures cannot be read from somewhere in its middle on."""
    data = bytearray(MadeVideo(scenes(2, 2), (64, 48), audio=None).data())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = b"\xff" * (end - middle)
    return bytes(data)


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("clips", [None, [[0.2, 0.6]]], ids=["whole", "clip"])
def test_a_cut_off_file_fails(name: str, job: str, clips: Any, run: Run) -> None:
    """Whatever is to be made, also of the part that is there, the cause is truncated."""
    with pytest.raises(ItemError) as caught:
        run(half(name), JOBS[job], clips)
    assert caught.value.cause is Cause.TRUNCATED


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("clips", [None, [[0.2, 0.6]]], ids=["whole", "clip"])
def test_a_cut_off_file_can_be_kept(name: str, job: str, clips: Any, run: Run) -> None:
    """A job that keeps such files gets samples, each of which says what is wrong."""
    samples = run(half(name), JOBS[job], clips, keep_damaged=True).samples
    assert samples
    assert all(sample.meta["damage"].startswith("truncated: ") for sample in samples)


@pytest.mark.parametrize("name", VIDEOS)
def test_what_is_kept_are_the_frames_before(name: str, run: Run) -> None:
    """The kept half has its own frames, in order and complete; the last one may have suffered."""
    (sample,) = run(half(name), SMALL, keep_damaged=True).samples
    found = numbers(sample)
    assert 30 < len(found) < 70
    assert found[:-1] == list(range(len(found) - 1))
    assert sample.meta["receipt"]["frames"] == len(found)


@pytest.mark.parametrize("name", VIDEOS)
def test_clips_before_the_damage_are_whole(name: str, run: Run) -> None:
    """Clips of the part that is there are complete; those behind it are left out."""
    clips = [[0.2, 0.6], [0.4, 1.2], [3.0, 3.5]]
    exact = {"Clipping": {"precision": "exact"}}
    samples = run(half(name), exact, clips, keep_damaged=True).samples
    assert [numbers(sample) for sample in samples] == [list(range(5, 15)), list(range(10, 30))]
    with pytest.raises(ItemError) as caught:
        run(half(name), exact, clips[2:], keep_damaged=True)
    assert caught.value.cause is Cause.NO_CLIPS


def test_a_file_that_is_not_changed_is_kept_as_it_is(run: Run) -> None:
    """Where there is nothing to do the part that is there is handed on byte for byte."""
    (sample,) = run(half("matroska"), {}, keep_damaged=True).samples
    assert sample.parts["mp4"].read() == half("matroska")


def test_sound_before_the_damage_is_kept(run: Run) -> None:
    """Sound reaches as far as the file does."""
    (sample,) = run(half("matroska"), {}, None, {"audio": "wav"}, keep_damaged=True).samples
    with av.open(io.BytesIO(sample.parts["wav"].read()), "r") as container:
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert 1.2 < seconds < 2.8


@pytest.mark.parametrize("job", ["size", "rate"])
def test_pictures_that_cannot_be_read_are_corrupt(job: str, run: Run) -> None:
    """A file of full length whose pictures are damaged fails with that cause."""
    with pytest.raises(ItemError) as caught:
        run(scarred(), JOBS[job])
    assert caught.value.cause is Cause.CORRUPT


def test_pictures_before_the_damage_can_be_kept(run: Run) -> None:
    """The clip ends where the damage begins, and says what it is."""
    (sample,) = run(scarred(), SMALL, keep_damaged=True).samples
    found = numbers(sample)
    assert 30 < len(found) < 70
    assert found[:-1] == list(range(len(found) - 1))
    assert sample.meta["damage"].startswith("corrupt: ")


def test_keyframes_before_the_damage_can_be_kept(run: Run) -> None:
    """Images of keyframes are those of the keyframes that can be decoded."""
    samples = run(scarred(), JOBS["images"], keep_damaged=True).samples
    shown = []
    for sample in samples:
        data = np.frombuffer(sample.parts["png"].read(), np.uint8)
        shown.append(read_number(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))))
    assert shown == list(range(0, 12 * len(shown), 12))
    assert 2 < len(shown) < 6


@pytest.mark.parametrize("keep", [False, True])
def test_a_sound_file_has_nothing_to_do_with_it(
    keep: bool, two_scenes_file: bytes, run: Run
) -> None:
    """A file without damage gives the same samples either way, and says nothing of damage."""
    (sample,) = run(two_scenes_file, SMALL, keep_damaged=keep).samples
    assert "damage" not in sample.meta
    assert numbers(sample) == list(range(100))


@pytest.mark.parametrize(
    ("data", "cause"), [(b"", Cause.EMPTY), (b"<html></html>" * 20, Cause.NOT_MEDIA)]
)
def test_what_has_nothing_to_keep_fails_all_the_same(data: bytes, cause: Cause, run: Run) -> None:
    """Keeping damaged files makes no video of what is none."""
    with pytest.raises(ItemError) as caught:
        run(data, SMALL, keep_damaged=True)
    assert caught.value.cause is cause


@pytest.mark.parametrize("job", ["nothing", "size"])
def test_a_file_without_one_good_frame_fails(job: str, run: Run) -> None:
    """Where not even the first frame can be decoded, there is nothing to keep."""
    data = bytearray(scarred())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = b"\xff" * (end - begin)
    with pytest.raises(ItemError) as caught:
        run(bytes(data), JOBS[job], [[0, 1]] if job == "nothing" else None, keep_damaged=True)
    assert caught.value.cause is Cause.CORRUPT


FLASH = {
    "h264": MadeVideo(scenes(2), (64, 48), container="flv", sample_rate=44100),
    "silent": MadeVideo(scenes(2), (64, 48), container="flv", audio=None),
    "b-frames": MadeVideo(scenes(2), (64, 48), container="flv", audio=None, b_frames=2),
    "flv1": MadeVideo(scenes(2), (64, 48), codec="flv", container="flv", audio=None),
}


@cache
def flash(name: str) -> bytes:
    """The whole file of one of them."""
    return FLASH[name].data()


@cache
def within_a_packet(name: str) -> Sequence[tuple[int, bytes]]:
    """FLV files that end in the middle of a packet, with how many pictures come before it."""
    data, place, pictures, cut = flash(name), 13, 0, list[tuple[int, bytes]]()
    while place + 11 < len(data):
        kind, size = data[place], int.from_bytes(data[place + 1 : place + 4], "big")
        if 12 < pictures < 48 and kind in (8, 9):
            cut.append((pictures, data[: place + 11 + max(9, size * 3 // 4)]))
        pictures += kind == 9 and not (size < 60 and data[place + 12] == 0)  # no header of H.264
        place += 11 + size + 4
    return cut[::9]


@pytest.mark.parametrize("name", FLASH)
@pytest.mark.parametrize("job", ["size", "rate"])
def test_a_file_that_ends_within_a_packet_is_truncated(name: str, job: str, run: Run) -> None:
    """A format without a length of its own ends too soon where its last packet is not whole."""
    for _, data in within_a_packet(name):
        with pytest.raises(ItemError) as caught:
            run(data, JOBS[job])
        assert caught.value.cause is Cause.TRUNCATED


@pytest.mark.parametrize("name", FLASH)
def test_the_packet_that_is_not_whole_is_not_used(name: str, run: Run) -> None:
    """All frames before it are kept as they are, and nothing is made of the rest of it."""
    for pictures, data in within_a_packet(name):
        (sample,) = run(
            data, {"Clipping": {"precision": "exact"}}, [[0, 9]], keep_damaged=True
        ).samples
        found = numbers(sample)
        assert sample.meta["damage"].startswith("truncated: the file ends")
        if FLASH[name].b_frames:  # what is shown later may have come before
            assert found == sorted(set(found))
            assert pictures - 1 <= len(found) <= pictures
        else:
            assert found == list(range(pictures))


def sounds(sample: Sample) -> list[bytes]:
    """The packets of a sample's sound."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_what_a_cut_off_program_stream_ends_with_is_not_used(run: Run) -> None:
    """Its last picture and its last sound may be torn; all before them are kept as they were."""
    made = MadeVideo(scenes(3), (64, 48), codec="mpeg2video", audio="ac3", container="vob")
    data, exact = made.data(), {"Clipping": {"precision": "exact"}}
    (whole,) = run(data, exact, [[0, 9]]).samples
    for share in (0.4, 0.6, 0.8):
        cut = data[: int(len(data) * share) | 7]
        with pytest.raises(ItemError) as caught:
            run(cut, exact, [[0, 9]])
        assert caught.value.cause is Cause.TRUNCATED
        (sample,) = run(cut, exact, [[0, 9]], keep_damaged=True).samples
        assert numbers(sample) == list(range(len(numbers(sample))))
        assert len(numbers(sample)) > 75 * share - 25
        assert sounds(sample) == sounds(whole)[: len(sounds(sample))]


@pytest.mark.parametrize("name", FLASH)
def test_a_file_that_ends_with_a_packet_is_whole(name: str, run: Run) -> None:
    """The same files in full have no damage, whether damaged ones are kept or not."""
    for keep in (False, True):
        (sample,) = run(flash(name), SMALL, keep_damaged=keep).samples
        assert numbers(sample) == list(range(50))
        assert "damage" not in sample.meta
