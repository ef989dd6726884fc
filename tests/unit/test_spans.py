"""Tests of reading what a row says of its clips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.media import Span
from asyncv2d.spans import clock_time, read_cuts, read_spans, says_clock_times
from asyncv2d.types import Cause, ItemError

quarters = st.integers(0, 4000).map(lambda number: number / 4)
spans = st.tuples(quarters, st.integers(1, 400).map(lambda number: number / 4)).map(
    lambda pair: Span(pair[0], pair[0] + pair[1])
)


def clock(seconds: float) -> str:
    """Seconds as HH:MM:SS.mmm."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:06.3f}"


@given(st.lists(spans, min_size=1))
def test_numbers_are_read_as_they_are(given_spans: list[Span]) -> None:
    """Lists, tuples, arrays and their text all give the spans that they list."""
    listed = [list(span) for span in given_spans]
    forms: list[Any] = [listed, tuple(map(tuple, listed)), np.array(listed), json.dumps(listed)]
    assert all(read_spans(form) == given_spans for form in forms)


@given(st.lists(spans, min_size=1))
def test_clock_times_are_read(given_spans: list[Span]) -> None:
    """HH:MM:SS.mmm means the same as seconds, also in text with or without quotes."""
    listed = [[clock(start), clock(end)] for start, end in given_spans]
    bare = str(listed).replace("'", "")
    forms: list[Any] = [listed, json.dumps(listed), bare, np.array(listed, dtype=object)]
    for form in forms:
        assert np.allclose(read_spans(form), given_spans, atol=1e-9)


@pytest.mark.parametrize(
    "value",
    [[1, 2.5], ["1", "2.5"], "[1, 2.5]", ["00:01", "00:02.5"], np.array([1, 2.5]), [[1, 2.5]]],
)
def test_one_pair_is_one_span(value: Any) -> None:
    """A single pair need not be wrapped in another list."""
    assert read_spans(value) == [Span(1, 2.5)]


def test_minutes_are_not_a_number_in_base_60() -> None:
    """``1:30`` in text is a minute and a half."""
    assert read_spans("[[1:30, 2:00]]") == [Span(90, 120)]


@pytest.mark.parametrize(
    "value",
    [
        *("nonsense", "[[1, 2]", "{a: b}", 7, 3.5, b"[[1, 2]]", {"a": 1}, [1], [1, 2, 3]),
        *([[1]], [[1, 2, 3]], [[2, 1]], [[1, 1]], [[-1, 2]], [[float("nan"), 2]], [["a", "b"]]),
        *([[0, float("inf")]], [[None, 1]], [[[0, 1], [2, 3]]], [[1, 2], 3], np.array(5.0)),
        *([[0, 10**400]], [["9" * 5000 + ":00", "1"]], "[" * 3000, np.array([[[1, 2]]])),
    ],
)
def test_what_is_no_list_of_spans_is_bad_clips(value: Any) -> None:
    """Anything else is refused with cause bad_clips, in a message of bearable length."""
    with pytest.raises(ItemError) as caught:
        read_spans(value)
    assert caught.value.cause is Cause.BAD_CLIPS
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize("value", [[], (), "[]", "", " ", np.zeros((0, 2))])
def test_an_empty_list_is_no_clips(value: Any) -> None:
    """A row that lists no clip gives none, which is a cause of its own."""
    with pytest.raises(ItemError) as caught:
        read_spans(value)
    assert caught.value.cause is Cause.NO_CLIPS


@given(spans)
def test_a_written_clock_time_is_read_back(span: Span) -> None:
    """What is written as HH:MM:SS.mmm means the same time when it is read."""
    assert read_spans([[clock_time(span.start), clock_time(span.end)]]) == [span]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([["00:00:01.000", "00:00:02.000"]], True),
        ("[['00:00:01.000', '00:00:02.000']]", True),
        (["0:01", "0:02"], True),
        ([[1, 2]], False),
        ("[[1, 2]]", False),
        (np.array([[1.0, 2.0]]), False),
        ([], False),
    ],
)
def test_the_way_times_are_written_is_seen(value: Any, says: bool) -> None:
    """Clips written as clock times are told from those in seconds."""
    assert says_clock_times(value) == says


@pytest.mark.parametrize("as_text", [False, True])
def test_cuts_of_an_earlier_job_are_spans(as_text: bool) -> None:
    """Scenes in frames become seconds at their frame rate, from a mapping or its text."""
    cuts: Any = {"original_fps": 25.0, "cuts_original_fps": [[0, 50], [50, 125]]}
    read = read_cuts(json.dumps(cuts) if as_text else cuts)
    assert read.spans([], 0.0, 0.0) == [Span(0, 2), Span(2, 5)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {"cuts_original_fps": [[0, 1]]},
        {"original_fps": 0.0, "cuts_original_fps": [[0, 1]]},
    ],
)
def test_what_are_no_cuts_is_bad_clips(value: Any) -> None:
    """A row whose cuts are missing or malformed fails with cause bad_clips."""
    with pytest.raises(ItemError) as caught:
        read_cuts(value)
    assert caught.value.cause is Cause.BAD_CLIPS


@given(st.lists(spans, min_size=1))
def test_text_may_have_tuples(given_spans: list[Span]) -> None:
    """What Python prints for a list of tuples, or a tuple of lists, is read as the lists are."""
    tuples = [tuple(span) for span in given_spans]
    for text in (str(tuples), str(tuple(tuples)), str(tuple(map(list, tuples)))):
        assert read_spans(text.replace(",)", ")")) == given_spans
    assert not says_clock_times(str(tuples))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[(1, 3), (4, 6.5)]", [Span(1, 3), Span(4, 6.5)]),
        ("(1, 3)", [Span(1, 3)]),
        ("((1, 3), (4, 6.5))", [Span(1, 3), Span(4, 6.5)]),
        ("[('00:01', '00:03')]", [Span(1, 3)]),
        ("[(00:01.5, 1:00:03)]", [Span(1.5, 3603)]),
    ],
)
def test_tuples_in_text(text: str, expected: list[Span]) -> None:
    """Parentheses mean the same as brackets, around numbers and around clock times."""
    assert read_spans(text) == expected
    assert says_clock_times(text) == (":" in text)


@given(st.lists(spans, min_size=1))
def test_clock_times_of_srt_are_read(given_spans: list[Span]) -> None:
    """A comma before the milliseconds, as in SRT files, is a point."""
    listed = [
        [clock(start).replace(".", ","), clock(end).replace(".", ",")] for start, end in given_spans
    ]
    for form in (listed, json.dumps(listed), str([tuple(pair) for pair in listed])):
        assert np.allclose(read_spans(form), given_spans, atol=1e-9)
        assert says_clock_times(form)


def test_a_comma_needs_a_clock() -> None:
    """Only a clock time has a comma inside; a number with one is none."""
    assert read_spans([["00:00:01,500", "00:02,25"]]) == [Span(1.5, 2.25)]
    with pytest.raises(ItemError):
        read_spans([["1,5", "2,5"]])


def test_sums_of_decimal_fractions() -> None:
    """Are what their writer meant."""
    assert read_spans([[1.2000000000000002, 0.1 + 0.2 + 2.1]]) == [Span(1.2, 2.4)]
