"""Tests of files whose clock starts anew in their middle."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Stream
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asyncv2d.continuity import Continuity
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.types import Body, Processed, Sample

Run = Callable[..., Processed]
FRAME, SAMPLES = 3600, 1920  # how long packets of picture and sound last, in 1/90000 s
SECOND = 90_000
PICTURE, SOUND = 0, 1
Times = dict[int, list[int]]


@pytest.fixture(scope="module")
def streams() -> Iterator[Sequence[Stream]]:
    """One of pictures and one of sound."""
    with av.open(io.BytesIO(), "w", format="mpegts") as file:
        yield file.add_stream("mpeg4", rate=25), file.add_stream("aac", rate=48000)


def packet(stream: Stream, time: int) -> Packet[Any]:
    """A packet that is decoded and shown at ``time``."""
    made: Packet[Any] = Packet(b"-")
    made.stream, made.pts, made.dts = stream, time, time
    made.duration = SAMPLES if stream.index == SOUND else FRAME
    return made


def part(start: float, seconds: float, lag: float = 0.3) -> list[tuple[int, int]]:
    """Streams and times of a recording's packets; those of the sound come ``lag`` later."""
    begin = round(start * SECOND)
    pictures = [begin + number * FRAME for number in range(round(seconds * 25))]
    sounds = [begin + number * SAMPLES for number in range(round(seconds * SECOND / SAMPLES))]
    places = [(time, PICTURE, time) for time in pictures]
    places += [(time + round(lag * SECOND), SOUND, time) for time in sounds]
    return [(number, time) for _, number, time in sorted(places)]


def followed(streams: Sequence[Stream], stamps: Sequence[tuple[int, int]]) -> Times:
    """The times that the packets with these stamps get, by their streams."""
    times: Times = {PICTURE: [], SOUND: []}
    coded = (packet(streams[number], time) for number, time in stamps)
    for moved in Continuity((PICTURE, SOUND), set()).follow(coded):
        assert moved.pts is not None
        assert moved.pts == moved.dts
        times[moved.stream_index].append(moved.pts)
    return times


def stamped(stamps: Sequence[tuple[int, int]]) -> Times:
    """The stamps by their streams."""
    return {
        number: [time for stream, time in stamps if stream == number] for number in (PICTURE, SOUND)
    }


@pytest.mark.parametrize("start", [0, 5, 9.95, 100, 700, 36_000, 95_000])
@pytest.mark.parametrize("lag", [-0.5, 0, 0.7])
def test_the_second_part_follows_the_first(
    start: float, lag: float, streams: Sequence[Stream]
) -> None:
    """Wherever its clock begins; picture and sound are moved alike, and none overlaps."""
    first, second = part(10, 4, lag), part(start, 4, lag)
    times = followed(streams, first + second)
    lengths = {number: len(stamped(first)[number]) for number in times}
    shifts = set()
    for number, expected in stamped(second).items():
        assert times[number][: lengths[number]] == stamped(first)[number]
        moved = np.subtract(times[number][lengths[number] :], expected)
        shifts |= set(moved.tolist())
    (shift,) = shifts
    gap = start * SECOND + shift - 14 * SECOND
    assert (shift == 0) == (start == 100)  # a minute without signal
    assert start == 100 or 0 <= gap <= SAMPLES


@pytest.mark.parametrize("seconds", [11, 300, 599])
def test_where_the_signal_was_lost_a_gap_stays(seconds: float, streams: Sequence[Stream]) -> None:
    """A clock that goes on after minutes tells how long they were."""
    stamps = part(10, 4) + part(14 + seconds, 4)
    assert followed(streams, stamps) == stamped(stamps)


@pytest.mark.parametrize("number", [PICTURE, SOUND])
def test_one_stream_may_pause(number: int, streams: Sequence[Stream]) -> None:
    """Nothing is moved where the other one goes on, however long that lasts."""
    stamps = [
        (stream, time)
        for stream, time in part(0, 800, lag=0)
        if stream != number or not 20 * SECOND < time < 700 * SECOND
    ]
    assert followed(streams, stamps) == stamped(stamps)


@pytest.mark.parametrize("wrong", [-(10**7), -(10**5), 10**6, 10**8])
@pytest.mark.parametrize("place", [60, 61, 62, -1])
@pytest.mark.parametrize("before", [[], part(20, 4)])
def test_a_wrong_stamp_moves_nothing_else(
    wrong: int, place: int, before: list[tuple[int, int]], streams: Sequence[Stream]
) -> None:
    """A clock that is back with the next packets did not start anew."""
    right = part(20, 4)
    stamps = list(right)
    stamps[place] = (right[place][0], right[place][1] + wrong)
    times, expected = followed(streams, before + stamps), followed(streams, before + right)
    for number in times:
        assert sum(a != b for a, b in zip(times[number], expected[number], strict=True)) <= 1


def test_packets_are_not_read_before_their_time(streams: Sequence[Stream]) -> None:
    """Of an ordinary file none is held back."""
    asked: list[int] = []

    def coded() -> Iterator[Packet[Any]]:
        for number, time in part(0, 2):
            asked.append(time)
            yield packet(streams[number], time)

    for count, _ in enumerate(Continuity((PICTURE, SOUND), set()).follow(coded()), 1):
        assert len(asked) == count


def check_parts(streams: Sequence[Stream], recorded: Sequence[list[tuple[int, int]]]) -> None:
    """In each part all is moved by the same, and no stream's time ever goes back."""
    times = followed(streams, [stamp for one in recorded for stamp in one])
    for number in times:
        assert (np.diff(times[number]) > 0).all()
    for one in recorded:
        shifts = set()
        for number, stamps in stamped(one).items():
            moved, times[number] = times[number][: len(stamps)], times[number][len(stamps) :]
            shifts |= set(np.subtract(moved, stamps).tolist())
        assert len(shifts) == 1


parts = st.tuples(st.integers(0, 95_000), st.integers(2, 5), st.floats(-0.5, 0.7))


@settings(max_examples=60, deadline=None)
@given(st.lists(parts, min_size=1, max_size=5))
def test_any_parts_follow_each_other(
    streams: Sequence[Stream], drawn: list[tuple[int, int, float]]
) -> None:
    """However many there are, and wherever their clocks begin."""
    check_parts(streams, [part(*one) for one in drawn])


@pytest.mark.parametrize("starts", [(0, 0, 0, 0), (0, 40_000, 0, 700), (90_000, 10, 4_000, 20_000)])
@pytest.mark.parametrize("missing", [PICTURE, SOUND])
@pytest.mark.parametrize("first", [0, 1])
def test_parts_may_lack_a_stream(
    starts: Sequence[int], missing: int, first: int, streams: Sequence[Stream]
) -> None:
    """One without sound, or with nothing else, is moved by what it has; those after it too."""
    recorded = [part(start, 5) for start in starts]
    for number in range(first, len(recorded), 2):
        recorded[number] = [stamp for stamp in recorded[number] if stamp[0] != missing]
    check_parts(streams, recorded)


def numbers(body: Body) -> list[int]:
    """The numbers of a clip's frames."""
    with av.open(io.BytesIO(body.read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def loudness(body: Body) -> NDArray[np.float64]:
    """How loud each tenth of a second of the sound is, from time 0 on."""
    samples = np.zeros(48_000 * 20)
    with av.open(io.BytesIO(body.read()), "r") as container:
        for frame in container.decode(audio=0):
            begin = round((frame.time or 0) * 48_000)
            sound = frame.to_ndarray()[0]
            samples[max(0, begin) : begin + len(sound)] = sound[max(0, -begin) :]
    tenths = np.abs(samples).reshape(-1, 4800).mean(axis=1)
    last = int(np.flatnonzero(tenths > 0.01)[-1])
    return np.asarray(tenths[: last + 1], np.float64)


TRANSPORT = partial(MadeVideo, scenes(3), (64, 48), container="mpegts")
PROGRAM = partial(MadeVideo, scenes(3), (64, 48), container="vob", codec="mpeg2video", audio="ac3")
JOINED = {
    "once more": [TRANSPORT(), TRANSPORT()],
    "b-frames": [TRANSPORT(b_frames=2), TRANSPORT(b_frames=3)],
    "b-frames, then none": [TRANSPORT(b_frames=3), TRANSPORT()],
    "three": [TRANSPORT(start=50.0), TRANSPORT(start=10.0), TRANSPORT()],
    "ten hours later": [TRANSPORT(), TRANSPORT(start=36_000.0)],
    "ten hours before": [TRANSPORT(start=36_000.0), TRANSPORT()],
    "a clock that wraps": [TRANSPORT(start=95_442.0), TRANSPORT(start=95_442.0)],
    "one that wraps in between": [TRANSPORT(start=95_380.0), TRANSPORT(start=700.0)],
    "sound of another codec": [TRANSPORT(audio="mp2"), TRANSPORT(audio="mp2")],
    "without sound": [TRANSPORT(audio=None), TRANSPORT(audio=None)],
    "program streams": [PROGRAM(), PROGRAM()],
}


@cache
def joined(name: str) -> bytes:
    """The files one behind the other."""
    return b"".join(made.data() for made in JOINED[name])


JOBS: dict[str, dict[str, Any]] = {
    "exact": {"Clipping": {"precision": "exact"}},
    "50 fps": {"Frame": {"frame_rate": 50}},
    "low": {"Clipping": {"precision": "low"}},
    "keyframe_adjusted": {"Clipping": {"precision": "keyframe_adjusted"}},
    "encoded sound": {"Clipping": {}, "AudioRate": {"sample_rate": 24000}},
}


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("job", JOBS)
def test_clips_of_all_parts_and_of_one(name: str, job: str, run: Run) -> None:
    """No frame or sound is lost where one part follows the other, and nothing stands still.

    A clip of the second part is found at the time that has passed since the beginning of the file.
    """
    count = len(JOINED[name])
    whole, second = run(joined(name), JOBS[job], [[0, 99], [4.1, 5.6]]).samples
    found = different_frames(whole)
    assert found == list(range(75)) * count
    assert whole.meta["receipt"]["duration"] == pytest.approx(3 * count, abs=0.08 * count)
    if JOINED[name][0].audio is not None:
        heard = loudness(whole.parts["mp4"])
        assert whole.meta["receipt"]["audio"] is not None
        assert len(heard) == pytest.approx(30 * count, abs=count)
        assert (heard[1:-1] > 0.05).all()
    found, (start, end) = different_frames(second), second.meta["receipt"]["real"]
    assert found == list(range(found[0], found[0] + len(found)))
    assert found[0] == pytest.approx((start - 3) * 25, abs=2.5)
    assert found[-1] + 1 == pytest.approx((end - 3) * 25, abs=2.5)
    assert 3.5 < start < 4.6
    assert 5 < end < 5.7


def different_frames(sample: Sample) -> list[int]:
    """The numbers of a clip's frames; at 50 fps each is shown twice, or so."""
    return [number for number, _ in groupby(numbers(sample.parts["mp4"]))]
