"""Tests of reading subtitles: those of a row, and those inside a file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.made_media import MadeVideo, scenes
from asyncv2d.media import Span
from asyncv2d.probe import open_media
from asyncv2d.subtitles import Subtitle, clip_subtitles, read_subtitles
from asyncv2d.types import Blob, Cause, ItemError

Line = tuple[float, float, str]
LINES: list[Line] = [(0.5, 1.25, "Good morning."), (1.5, 2.0, "Is it?"), (2.5, 3.0, "Well …")]
# The containers that carry subtitles as text, and the codec of each.
INSIDE = [("mp4", "mov_text"), ("matroska", "subrip"), ("matroska", "webvtt"), ("matroska", "ass")]


def with_subtitles(
    container: str, codec: str, lines: Sequence[Line], language: str | None = "eng"
) -> bytes:
    """A video of four seconds with a track of subtitles."""
    buffer = io.BytesIO()
    packets: list[Packet[Any]] = []
    with av.open(buffer, "w", format=container) as output:
        picture = output.add_stream("mpeg4", rate=25)
        assert isinstance(picture, VideoStream)
        picture.width, picture.height = 64, 48
        track = output.add_mux_stream(codec)
        track.time_base = Fraction(1, 1000)
        if language is not None:
            track.metadata["language"] = language
        for number in range(100):
            frame = VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            packets += picture.encode(frame)
        packets += picture.encode(None)
        for number, (start, end, text) in enumerate(lines):
            packet = Packet(stored(codec, text, number))
            packet.stream, packet.time_base = track, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((end - start) * 1000)
            packets.append(packet)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            output.mux(packet)
    return buffer.getvalue()


def stored(codec: str, text: str, number: int) -> bytes:
    """A subtitle as the codec stores it."""
    if codec == "mov_text":
        return len(text.encode()).to_bytes(2, "big") + text.encode()
    if codec == "ass":
        text = f"{number},0,Default,,0,0,0,," + text.replace("\n", "\\N")
    return text.encode()


def inside(data: bytes, metadata: Mapping[str, Any] | None = None) -> list[Subtitle]:
    """The subtitles of a file."""
    with open_media(Blob.of(data)) as media:
        return read_subtitles(metadata or {}, media)


@pytest.fixture(scope="module")
def silent() -> bytes:
    """A video without subtitles."""
    return MadeVideo(scenes(0.2), (64, 48), audio=None).data()


def of_site(data: bytes, subtitles: Any) -> list[Subtitle]:
    """The subtitles that came with a row."""
    return inside(data, {"yt_meta_dict": {"subtitles": subtitles}})


def entry(start: Any, end: Any, *lines: str) -> dict[str, Any]:
    """One subtitle as it stands in ``yt_meta_dict``."""
    return {"start": start, "end": end, "lines": list(lines)}


@pytest.mark.parametrize(("container", "codec"), INSIDE)
def test_subtitles_inside_a_file_are_read(container: str, codec: str) -> None:
    """Each has its span, its times as on a clock, and its text in the track's language."""
    found = inside(with_subtitles(container, codec, LINES))
    assert [subtitle.span for subtitle in found] == [Span(a, b) for a, b, _ in LINES]
    assert [subtitle.text for subtitle in found] == [text for _, _, text in LINES]
    assert found[0].record == {
        "start": "00:00:00.500",
        "end": "00:00:01.250",
        "lines": {"eng": ["Good morning."]},
    }


@pytest.mark.parametrize(
    ("container", "codec", "text"),
    [
        ("mp4", "mov_text", "<i>So</i> it\nis, 2 < 3"),
        ("matroska", "subrip", '<font color="red">So</font> it\n{\\an8}is, 2 < 3'),
        ("matroska", "webvtt", "<v Ann>So</v> <b>it</b>\nis, 2 &lt; 3"),
        ("matroska", "ass", "{\\i1}So{\\i0} it\n{\\pos(1,2)}is, 2\\h< 3"),
    ],
)
def test_markup_is_no_text(container: str, codec: str, text: str) -> None:
    """Italics, colours and places are left out, and lines stay lines; what is empty is left out."""
    found = inside(with_subtitles(container, codec, [(1, 2, text), (2, 3, " ")]))
    assert [subtitle.lines for subtitle in found] == [{"eng": ["So it", "is, 2 < 3"]}]


def test_a_track_that_says_no_language_is_undetermined() -> None:
    """The code for that is the one of ISO 639."""
    (found,) = inside(with_subtitles("mp4", "mov_text", LINES[:1], None))
    assert found.lines == {"und": ["Good morning."]}


def test_a_file_without_subtitles_has_none(silent: bytes) -> None:
    """Neither in the row nor in the file."""
    assert inside(silent) == []
    assert inside(silent, {"yt_meta_dict": None}) == []
    assert of_site(silent, {}) == []


def test_those_of_the_row_come_first() -> None:
    """Where a row brings subtitles, those inside the file are not used."""
    data = with_subtitles("mp4", "mov_text", LINES)
    assert [subtitle.text for subtitle in of_site(data, {"en": [entry(1, 2, "Hello")]})] == [
        "Hello"
    ]
    assert [subtitle.text for subtitle in of_site(data, {})] == [text for _, _, text in LINES]


def test_languages_are_put_together_by_their_times(silent: bytes) -> None:
    """A subtitle has its lines in each language that has one at the very same times."""
    subtitles = {
        "en": [entry("00:00:01.000", "00:00:02.000", "Two", "lines"), entry(3, 4, "Bye")],
        "de": [entry("00:00:01.000", "00:00:02.000", "Zwei"), entry(3, 4.5, "Zu lang")],
        "fr": [entry(3, 4, "Adieu"), entry(7, 8, "Seul")],
    }
    first, second = of_site(silent, subtitles)
    assert first.record == {
        "start": "00:00:01.000",
        "end": "00:00:02.000",
        "lines": {"en": ["Two", "lines"], "de": ["Zwei"]},
    }
    assert (first.span, first.text) == (Span(1, 2), "Two\nlines")
    assert second.record == {"start": 3, "end": 4, "lines": {"en": ["Bye"], "fr": ["Adieu"]}}


def test_subtitles_come_by_their_start(silent: bytes) -> None:
    """Whatever their order in the row was."""
    found = of_site(silent, {"en": [entry(5, 6, "b"), entry("0:01", "0:02", "a")]})
    assert [subtitle.span for subtitle in found] == [Span(1, 2), Span(5, 6)]


def test_a_list_is_one_language(silent: bytes) -> None:
    """Subtitles without a language are undetermined; a single line need not be a list."""
    (found,) = of_site(silent, [{"start": 1, "end": 2, "lines": "Hello"}])
    assert found.lines == {"und": ["Hello"]}


@pytest.mark.parametrize(
    "subtitles",
    [
        *(5, "some text", ["text"], [[1, 2, "text"]], {"en": "text"}, {"en": [None]}),
        *({"en": [{"start": 1, "end": 2}]}, {"en": [{"start": 1, "lines": ["x"]}]}),
        *({"en": [entry("soon", 2, "x")]}, {"en": [entry(2, 1, "x")]}),
        *({"en": [entry(-1, 1, "x")]}, {"en": [entry(None, 1, "x")]}),
        *({"en": 5}, {"en": None}, {"en": {"start": 1}}, {"en": [5]}, [None], True, 1.5),
        *({"en": [{"start": 1, "end": 2, "lines": lines}]} for lines in (None, 4, {"a": 1})),
    ],
)
def test_what_are_no_subtitles_is_bad_clips(subtitles: Any, silent: bytes) -> None:
    """A row whose subtitles cannot be read fails, in a message of bearable length."""
    with pytest.raises(ItemError) as caught:
        of_site(silent, subtitles)
    assert caught.value.cause is Cause.BAD_CLIPS
    assert len(caught.value.detail) < 250


def test_subtitles_of_one_time_stand_together(silent: bytes) -> None:
    """Where a language has two subtitles at the very same times, neither text is lost."""
    subtitles = {
        "en": [entry(1, 2, "up"), entry(1, 2, "down", "below"), entry(2, 3, "other")],
        "de": [entry(1, 2, "oben"), entry(1, 2, "unten")],
    }
    first, second = of_site(silent, subtitles)
    assert first.lines == {"en": ["up", "down", "below"], "de": ["oben", "unten"]}
    assert second.lines == {"en": ["other"]}


def test_subtitles_may_come_as_text(silent: bytes) -> None:
    """A table of text has them as JSON, which means the same."""
    subtitles = {"en": [entry("00:00:01.000", "00:00:02.000", "Hello"), entry(3, 4, '7: "x"')]}
    text = json.dumps({"subtitles": subtitles})
    assert [subtitle.span for subtitle in inside(silent, {"yt_meta_dict": text})] == [
        subtitle.span for subtitle in of_site(silent, subtitles)
    ]
    assert [subtitle.lines for subtitle in inside(silent, {"yt_meta_dict": text})] == [
        {"en": ["Hello"]},
        {"en": ['7: "x"']},
    ]


@pytest.mark.parametrize("text", ['{"subtitles": 5}', '{"subtitles": {"en": 5}}', "{[", "[" * 3000])
def test_text_that_is_wrong_is_bad_clips(text: str, silent: bytes) -> None:
    """Text that is no JSON, or has no subtitles where they should be, is refused as such."""
    with pytest.raises(ItemError) as caught:
        inside(silent, {"yt_meta_dict": text})
    assert caught.value.cause is Cause.BAD_CLIPS


@pytest.mark.parametrize("text", ["", "null", "{}", '{"subtitles": {}}', '{"info": {"id": "x"}}'])
def test_text_without_subtitles_has_none(text: str, silent: bytes) -> None:
    """What says nothing of subtitles is not wrong."""
    assert inside(silent, {"yt_meta_dict": text}) == []


@pytest.mark.parametrize(("container", "codec"), INSIDE)
def test_an_embedded_subtitle_ends_exactly(container: str, codec: str) -> None:
    """Its end is the float nearest to the time in the file, not the sum of two of them."""
    lines = [(0.4, 1.2, "a"), (1.2, 1.9, "b"), (2.3, 2.6, "c")]
    found = inside(with_subtitles(container, codec, lines))
    assert [subtitle.span for subtitle in found] == [Span(a, b) for a, b, _ in lines]


halves = st.integers(0, 40).map(lambda number: number / 2)
spans = st.tuples(halves, st.integers(1, 10)).map(lambda pair: Span(pair[0], sum(pair)))


@given(st.lists(spans, max_size=8), spans)
def test_a_clip_has_the_subtitles_seen_in_it(found: list[Span], clip: Span) -> None:
    """A subtitle that only ends or begins where the clip begins or ends is not seen in it."""
    subtitles = [Subtitle(span, *span, {"en": ["x"]}) for span in found]
    ticks = [number / 4 for number in range(round(clip.start * 4), round(clip.end * 4))]
    seen = [
        subtitle
        for subtitle in subtitles
        if any(subtitle.span.start <= tick < subtitle.span.end for tick in ticks)
    ]
    assert clip_subtitles(subtitles, clip) == seen
