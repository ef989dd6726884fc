"""Tests of AVI files in which packets and pictures are not one to one.

A packet there has its turn as its only time; picture n belongs to n / 25 s in all of these files.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asyncv2d.frames import shown_frames
from asyncv2d.index import PacketIndex, read_index
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.probe import from_start, open_media
from asyncv2d.types import Blob, Cause, ItemError, Processed

RATE = 25
VOP_START = b"\0\0\1\xb6"
I_VOP, B_VOP = 0, 2
Seen = list[tuple[float, int, bool]]
Change = Callable[[int, bytes], bytes | None]
Run = Callable[..., Processed]
made_avi = partial(MadeVideo, scenes(3), (160, 96), audio=None, container="avi")


def seen_in(data: bytes) -> tuple[PacketIndex, Seen]:
    """The index of a file, and of its frames their time, number and whether they are keyframes."""
    with open_media(Blob.of(data)) as media:
        index = read_index(media)
        with from_start(media, media.video) as container:
            return index, [
                (time, read_number(frame.to_ndarray(format="gray")), frame.key_frame)
                for frame, time, _ in shown_frames(media, container)
            ]


def with_packets(data: bytes, change: Change) -> bytes:
    """The file with its packets changed, each by its number; None leaves one out."""
    buffer = io.BytesIO()
    with (
        av.open(io.BytesIO(data), "r") as source,
        av.open(buffer, "w", format="avi") as output,
    ):
        stream = source.streams.video[0]
        written = output.add_stream_from_template(stream)
        coded = (packet for packet in source.demux(stream) if packet.size)
        for number, packet in enumerate(coded):
            content = change(number, bytes(packet))
            if content is None:
                continue
            changed: Packet[Any] = Packet(content)
            changed.dts = changed.pts = packet.dts
            changed.time_base, changed.is_keyframe = packet.time_base, packet.is_keyframe
            changed.stream = written
            output.mux(changed)
    return buffer.getvalue()


def vop_types(data: bytes) -> list[int]:
    """What each packet of an MPEG-4 file holds."""
    types: list[int] = []

    def note(_: int, content: bytes) -> bytes:
        types.append(content[content.index(VOP_START) + len(VOP_START)] >> 6)
        return content

    with_packets(data, note)
    return types


def not_coded(content: bytes) -> bytes:
    """A VOP that says there is no picture, in place of one: its header ends with a 0."""
    start = content.index(VOP_START) + len(VOP_START)
    bits = "".join(f"{byte:08b}" for byte in content[start : start + 8])
    seconds_end = bits.index("0", 2) + 1
    header = bits[: seconds_end + 1 + RATE.bit_length() + 1] + "0"
    padded = header + "0" + "1" * (-(len(header) + 1) % 8)
    return content[:start] + int(padded, 2).to_bytes(len(padded) // 8, "big")


@pytest.mark.parametrize("b_frames", [0, 2])
def test_packets_without_a_picture_do_not_move_those_that_follow(b_frames: int) -> None:
    """DivX and Xvid write them for frames that repeat; one that waits for a B-frame may suffer."""
    data = made_avi(codec="mpeg4", b_frames=b_frames).data()
    types = vop_types(data)
    gone = {
        number
        for number, kind in enumerate(types[:60])
        if (kind == B_VOP and number % 3 == 0)
        or (not b_frames and kind != I_VOP and I_VOP in types[number + 1 : number + 4])
    }
    index, found = seen_in(
        with_packets(data, lambda n, content: not_coded(content) if n in gone else content)
    )
    times, numbers, _ = np.array(found).T
    assert len(gone) > 10
    assert len(found) == len(types) - len(gone)
    assert times == pytest.approx(numbers / RATE, abs=1.01 / RATE if b_frames else 1e-9)
    assert times[-10:] == pytest.approx(numbers[-10:] / RATE)
    assert set(times) <= set(index.shown)
    assert index.end == pytest.approx(len(types) / RATE)


@pytest.mark.parametrize("b_frames", [0, 1, 2, 3])
def test_a_beginning_without_its_keyframe_takes_its_time(b_frames: int) -> None:
    """What cannot be decoded before the first keyframe, as where a recorder cuts anywhere."""
    data = made_avi(b_frames=b_frames).data()
    index, found = seen_in(with_packets(data, lambda n, content: content if n > 4 else None))
    times, numbers, are_keyframes = np.array(found).T
    assert numbers[0] > 5
    assert times == pytest.approx(numbers / RATE)
    assert set(times[are_keyframes == 1]) == set(index.keyframe_times)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("b_frames", [0, 1, 2])
def test_frames_that_were_left_out_leave_their_time(codec: str, b_frames: int) -> None:
    """Those before them stay where they are, though the gap between packets comes later."""
    made, buffer = made_avi(), io.BytesIO()
    with av.open(buffer, "w", format="avi") as output:
        stream = output.add_stream(codec, rate=RATE, options={"bf": str(b_frames)})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        kept = [number for number in range(75) if number not in {*range(20, 28), 40, 50, 51}]
        for number in kept:
            frame = VideoFrame.from_ndarray(made.picture(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    index, found = seen_in(buffer.getvalue())
    assert [number for _, number, _ in found] == kept
    assert [time for time, _, _ in found] == pytest.approx(np.array(kept) / RATE)
    assert index.shown.tolist() == [time for time, _, _ in found]


def joined(codec: str) -> tuple[bytes, bytes]:
    """A file without B-frames, and one that begins like it and has some from a keyframe on."""
    later: list[bytes] = []
    with_packets(made_avi(codec=codec, b_frames=2).data(), lambda _, content: later.append(content))
    begun = made_avi(codec=codec).data()
    return begun, with_packets(begun, lambda n, content: content if n < 48 else later[n])


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_b_frames_are_noticed_wherever_they_begin(codec: str) -> None:
    """As where recordings were put behind each other; the beginning, which is probed, has none."""
    for data, has_some in zip(joined(codec), (False, True), strict=True):
        with open_media(Blob.of(data)) as media:
            assert media.video is not None
            assert media.video.codec_context.has_b_frames == (codec == "mpeg2video")
            assert read_index(media).has_untimed_b_frames == has_some


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
def test_b_frames_that_begin_late_are_shown_at_their_time(precision: str, run: Run) -> None:
    """They are not copied: that would show them when they are decoded."""
    _, data = joined("libx264")
    (sample,) = run(data, {"Clipping": {"precision": precision}}, [[1.6, 2.8]]).samples
    receipt = sample.meta["receipt"]
    start = receipt["asked" if receipt["precision"] == "exact" else "real"][0]
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        found = [
            (start + (frame.time or 0), read_number(frame.to_ndarray(format="gray")))
            for frame in container.decode(video=0)
        ]
    times, numbers = np.array(found).T
    assert len(found) >= 20
    assert times == pytest.approx(numbers / RATE, abs=0.002)


@pytest.mark.parametrize("precision", ["low", "keyframe_adjusted", "exact"])
def test_packets_of_padding_are_a_damage(precision: str, run: Run) -> None:
    """To a copy as to a decoder: the row is corrupt, or has what comes before."""
    data = with_packets(
        made_avi().data(), lambda n, content: content if n not in range(40, 44) else bytes(50)
    )
    job = {"Clipping": {"precision": precision}}
    with pytest.raises(ItemError) as caught:
        run(data, job, [[0, 3]])
    assert caught.value.cause == Cause.CORRUPT
    (sample,) = run(data, job, [[0, 3]], keep_damaged=True).samples
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        found = [
            read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)
        ]
    assert found == list(range(40))
    assert sample.meta["damage"]
