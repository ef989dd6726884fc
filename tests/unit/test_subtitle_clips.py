"""Tests of making a clip of every subtitle."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from asyncv2d.config import build
from asyncv2d.made_media import MadeVideo, read_number, scenes
from asyncv2d.task import Task
from asyncv2d.types import Blob, Cause, ItemError, Sample
from asyncv2d.work import process

EXACT = {"ClippingSubsampler": {"args": {"precision": "exact"}}}
SUBTITLES = {
    "en": [
        {"start": "00:00:00.400", "end": "00:00:01.200", "lines": ["Good", "morning"]},
        {"start": "00:00:01.000", "end": "00:00:02.000", "lines": ["Hello"]},
        {"start": "00:00:03.000", "end": "00:00:03.600", "lines": ["Bye"]},
    ],
    "de": [{"start": "00:00:03.000", "end": "00:00:03.600", "lines": ["Ade"]}],
}
SPANS = [(0.4, 1.2), (1.0, 2.0), (3.0, 3.6)]


@pytest.fixture(scope="module")
def data() -> bytes:
    """A video of four seconds with sound and without subtitles."""
    return MadeVideo(scenes(2, 2), (64, 48)).data()


def made(
    data: bytes,
    folder: Path,
    metadata: dict[str, Any],
    subsampling: dict[str, Any] | None = None,
    formats: dict[str, str] | None = None,
    *,
    as_clips: bool = True,
) -> Sequence[Sample]:
    """The samples of a video; ``as_clips``: subtitles are clips."""
    config = build(
        {
            "subsampling": EXACT if subsampling is None else subsampling,
            "storage": {"captions_are_subtitles": as_clips},
        }
    )
    plan = config.plan(formats)
    return process(Task("00007", Blob.of(data), metadata, plan, folder)).samples


def of_site(subtitles: Any) -> dict[str, Any]:
    """The metadata of a row with subtitles."""
    return {"yt_meta_dict": {"subtitles": subtitles}}


def numbers(sample: Sample) -> list[int]:
    """The numbers of the frames in a sample's video."""
    with av.open(io.BytesIO(sample.parts["mp4"].read()), "r") as container:
        return [read_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def test_each_subtitle_is_a_clip(data: bytes, tmp_path: Path) -> None:
    """Clips hold exactly the frames during which a subtitle is seen, also where they overlap."""
    samples = made(data, tmp_path, of_site(SUBTITLES))
    assert [numbers(sample) for sample in samples] == [
        list(range(round(start * 25), round(end * 25))) for start, end in SPANS
    ]
    assert [sample.key for sample in samples] == [f"00007_0000{n}" for n in range(3)]
    assert [sample.meta["clips"] for sample in samples] == [[list(span)] for span in SPANS]


def test_what_is_said_is_the_caption(data: bytes, tmp_path: Path) -> None:
    """Of a clip: the text of its own subtitle in the first language, also where others overlap."""
    samples = made(data, tmp_path, of_site(SUBTITLES))
    assert [sample.caption for sample in samples] == ["Good\nmorning", "Hello", "Bye"]
    halves = {"ClippingSubsampler": {"args": {"precision": "exact", "max_length": 0.5}}}
    samples = made(data, tmp_path, of_site({"en": SUBTITLES["en"][1:2]}), halves)
    assert [sample.caption for sample in samples] == ["Hello", "Hello"]
    (whole,) = made(data, tmp_path, of_site(SUBTITLES), {}, as_clips=False)
    assert whole.caption is None


def test_a_clip_lists_what_is_seen_in_it(data: bytes, tmp_path: Path) -> None:
    """A clip's JSON has its subtitle, those that overlap it, and all languages."""
    samples = made(data, tmp_path, of_site(SUBTITLES))
    seen = [[record["lines"] for record in s.meta["clip_subtitles"]] for s in samples]
    first, second = {"en": ["Good", "morning"]}, {"en": ["Hello"]}
    assert seen == [[first, second], [first, second], [{"en": ["Bye"], "de": ["Ade"]}]]
    record = samples[2].meta["clip_subtitles"][0]
    assert (record["start"], record["end"]) == ("00:00:03.000", "00:00:03.600")


@pytest.mark.parametrize("milliseconds", [600, 800])
def test_subtitles_inside_the_file_are_clips_too(milliseconds: int, tmp_path: Path) -> None:
    """Where the row brings none, the track inside the file says what the clips are."""
    source, buffer = MadeVideo(scenes(2), (64, 48), audio=None).data(), io.BytesIO()
    with av.open(io.BytesIO(source), "r") as silent, av.open(buffer, "w", format="mp4") as output:
        picture = output.add_stream_from_template(silent.streams.video[0], opaque=True)
        track = output.add_mux_stream("mov_text")
        track.time_base = Fraction(1, 1000)
        packets: list[Packet[Any]] = [packet for packet in silent.demux() if packet.size]
        for packet in packets:
            packet.stream = picture
        text = Packet(b"\0\5Hello")
        text.stream, text.time_base = track, Fraction(1, 1000)
        text.pts, text.dts, text.duration = 400, 400, milliseconds
        for packet in sorted([*packets, text], key=lambda p: (p.dts or 0) * p.time_base):
            output.mux(packet)
    (sample,) = made(buffer.getvalue(), tmp_path, {})
    assert numbers(sample) == list(range(10, 10 + milliseconds // 40))
    assert sample.meta["clip_subtitles"][0]["lines"] == {"und": ["Hello"]}


def test_subtitles_stand_above_clips(data: bytes, tmp_path: Path) -> None:
    """A row that lists clips too is cut at its subtitles."""
    samples = made(data, tmp_path, {**of_site(SUBTITLES), "clips": [[0, 4]]})
    assert len(samples) == 3


def test_allowed_lengths_hold_for_subtitles(data: bytes, tmp_path: Path) -> None:
    """A subtitle seen too briefly gives no clip."""
    args = {"precision": "exact", "min_length": 0.7}
    samples = made(data, tmp_path, of_site(SUBTITLES), {"ClippingSubsampler": {"args": args}})
    assert [sample.meta["clips"] for sample in samples] == [[list(span)] for span in SPANS[:2]]


def test_sound_is_cut_at_subtitles(data: bytes, tmp_path: Path) -> None:
    """Sound alone, as for training speech recognition, has the length of its subtitle."""
    samples = made(data, tmp_path, of_site(SUBTITLES), {}, {"audio": "wav"})
    lengths = []
    for sample in samples:
        assert sample.parts.keys() == {"wav"}
        with av.open(io.BytesIO(sample.parts["wav"].read()), "r") as container:
            lengths.append(sum(frame.samples for frame in container.decode(audio=0)) / 48000)
    assert lengths == pytest.approx([end - start for start, end in SPANS], abs=1e-3)


def test_both_texts_of_one_time_are_in_the_clip(data: bytes, tmp_path: Path) -> None:
    """Two subtitles at the very same times are one clip, whose JSON has the lines of both."""
    entries = [{"start": 1, "end": 2, "lines": [line]} for line in ("up", "down")]
    (sample,) = made(data, tmp_path, of_site({"en": entries}))
    (record,) = sample.meta["clip_subtitles"]
    assert record["lines"] == {"en": ["up", "down"]}


def test_subtitles_as_text_are_clips(data: bytes, tmp_path: Path) -> None:
    """A row from a table of text gives the same samples."""
    text = json.dumps({"subtitles": SUBTITLES})
    samples = made(data, tmp_path, {"yt_meta_dict": text})
    assert [sample.meta["clips"] for sample in samples] == [[list(span)] for span in SPANS]
    assert samples[0].meta["clip_subtitles"][0]["lines"] == {"en": ["Good", "morning"]}


@pytest.mark.parametrize("metadata", [{}, of_site({}), {"yt_meta_dict": None}])
def test_a_video_without_subtitles_gives_no_clips(
    metadata: dict[str, Any], data: bytes, tmp_path: Path
) -> None:
    """It fails with the cause that says so."""
    with pytest.raises(ItemError, match="no subtitles") as caught:
        made(data, tmp_path, metadata)
    assert caught.value.cause is Cause.NO_CLIPS


def test_subtitles_that_cannot_be_read_are_bad_clips(data: bytes, tmp_path: Path) -> None:
    """As spans that cannot be read are."""
    with pytest.raises(ItemError) as caught:
        made(data, tmp_path, of_site({"en": "Hello"}))
    assert caught.value.cause is Cause.BAD_CLIPS


def test_clips_have_their_subtitles_without_being_made_of_them(data: bytes, tmp_path: Path) -> None:
    """Where a row has clips and subtitles, each clip lists those that are seen in it."""
    metadata = {**of_site(SUBTITLES), "clips": [[0, 0.9], [2.0, 3.0], [2.5, 3.1]]}
    samples = made(data, tmp_path, metadata, as_clips=False)
    assert [
        [record["lines"]["en"] for record in sample.meta["clip_subtitles"]] for sample in samples
    ] == [[["Good", "morning"]], [], [["Bye"]]]
    (whole,) = made(data, tmp_path, of_site(SUBTITLES), {}, as_clips=False)
    assert "clip_subtitles" not in whole.meta
