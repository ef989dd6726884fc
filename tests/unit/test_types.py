"""Tests of the words of the program."""

from __future__ import annotations

import io
import math
import pickle
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncv2d.types import (
    Blob,
    Body,
    Cause,
    Failed,
    Fetched,
    FileSlice,
    ItemError,
    KeyFormat,
    LocalFile,
    Row,
    Sample,
    UserError,
)


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60), st.data())
def test_a_stretch_of_a_file_is_read_as_a_file(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    start: int,
    size: int,
    data: st.DataObject,
) -> None:
    """It begins and ends where the stretch does, whatever is read and sought."""
    path = tmp_path_factory.getbasetemp() / "whole"
    path.write_bytes(content)
    part = FileSlice(path, start, max(0, min(size, len(content) - start)))
    assert_reads_as(part, content[start : start + size], data)


@given(st.lists(st.binary(max_size=30), max_size=5), st.data())
def test_pieces_are_read_as_a_file(pieces: list[bytes], data: st.DataObject) -> None:
    """They follow each other without a seam, whatever is read and sought."""
    assert_reads_as(Blob(sum(map(len, pieces)), pieces), b"".join(pieces), data)


def assert_reads_as(body: Body, content: bytes, data: st.DataObject) -> None:
    """``body`` behaves as a file with this content."""
    same = io.BytesIO(content)
    assert body.read() == content
    with body.open() as file:
        for _ in range(data.draw(st.integers(0, 5))):
            count = data.draw(st.integers(-1, 70))
            assert file.read(count) == same.read(count)
            place = data.draw(st.integers(0, 70))
            assert file.seek(place) == same.seek(place)
        assert file.seek(0, io.SEEK_END) == len(content)


@given(st.integers(1, 10**6), st.integers(1, 8), st.data())
def test_key_is_the_formula_of_video2dataset(samples: int, oom: int, data: st.DataObject) -> None:
    """A key is shard × 10^⌈log10 n⌉ + index, padded to ⌈log10 n⌉ + oom digits."""
    shard = data.draw(st.integers(0, 10**oom - 1))
    index = data.draw(st.integers(0, samples - 1))
    digits = math.ceil(math.log10(samples))
    key = KeyFormat(samples, oom).key(shard, index)
    assert key == str(shard * 10**digits + index).rjust(digits + oom, "0")


@given(st.integers(1, 300), st.integers(1, 3))
def test_keys_of_two_shards_never_meet(samples: int, oom: int) -> None:
    """All keys of two shards are different and of one length."""
    form = KeyFormat(samples, oom)
    keys = [form.key(shard, index) for shard in (3, 4) for index in range(samples)]
    assert len(set(keys)) == 2 * samples
    assert {len(key) for key in keys} == {form.index_digits + oom}


def test_shard_name_is_padded() -> None:
    """A shard's name is its number with the digits of oom_shard_count."""
    assert KeyFormat(1000, 5).shard_name(42) == "00042"


def test_every_cause_says_what_it_means() -> None:
    """Each cause is a word of its own with a meaning and an answer on retrying."""
    assert len({cause.value for cause in Cause}) == len({cause.meaning for cause in Cause})
    assert all(cause.meaning and isinstance(cause.worth_retrying, bool) for cause in Cause)


@pytest.mark.parametrize("cause", list(Cause))
def test_cause_survives_pickling_and_text(cause: Cause) -> None:
    """A cause is the same object after a trip to another process or through its word."""
    assert pickle.loads(pickle.dumps(cause)) is cause
    assert {member.value: member for member in Cause}[cause.value] is cause


def test_item_error_survives_pickling() -> None:
    """An ItemError keeps all it knows on its way out of a worker."""
    error = ItemError(Cause.HTTP_5XX, "busy", http_status=503)
    error.attempts = 3
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.cause, copy.detail, copy.attempts) == (Cause.HTTP_5XX, "busy", 3)
    assert copy.facts == {"http_status": 503}
    assert str(copy) == "http_5xx: busy"


def test_user_error_lists_its_problems() -> None:
    """A UserError prints one line for each problem."""
    assert str(UserError("a", "b")) == "a\nb"


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        ("read", "failed_to_download"),
        ("fetch", "failed_to_download"),
        ("subsample", "failed_to_subsample"),
    ],
)
def test_failed_says_it_in_video2dataset_words(stage: str, status: str) -> None:
    """The ledger's status follows from the stage that failed."""
    assert Failed(Row(0, "k", "u"), stage, Cause.EMPTY, "").status == status


def test_caption_is_text_or_nothing() -> None:
    """A caption that is no text becomes text; a missing one stays None."""
    assert Row(0, "k", "u", {"caption": 7}).caption == "7"
    assert Row(0, "k", "u", {"caption": None}).caption is None
    assert Row(0, "k", "u").caption is None


def test_blob_reads_from_memory_or_file(tmp_path: Path) -> None:
    """A body gives the same bytes wherever it is kept."""
    path = tmp_path / "body"
    path.write_bytes(b"abc")
    bodies = Blob.of(b"abc"), Blob(3, path=path), LocalFile(path)
    assert [(body.read(), body.size) for body in bodies] == [(b"abc", 3)] * 3


def test_closing_closes_every_body() -> None:
    """Closing what was fetched or made closes all of its bodies."""
    closed: list[int] = []
    bodies = [Blob(1, [b"x"], on_close=partial(closed.append, n)) for n in range(2)]
    Fetched(Row(0, "k", "u"), {"video": bodies[0]}).close()
    Sample("k", {"mp4": bodies[1]}, {}).close()
    assert closed == [0, 1]
