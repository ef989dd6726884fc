"""A job: video2dataset's arguments, checked together with the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asyncv2d.job import Job, make_job
from asyncv2d.types import UserError


def job(**arguments: Any) -> Job:
    """A job with these arguments."""
    return make_job({"url_list": "urls.csv", **arguments}, {})


def mistakes(**arguments: Any) -> list[str]:
    """What is wrong with these arguments."""
    with pytest.raises(UserError) as caught:
        job(**arguments)
    return list(caught.value.problems)


def test_it_survives_json() -> None:
    """A loop process builds the same job out of what it is sent."""
    config = {"subsampling": {"FrameSubsampler": {"args": {"frame_rate": 5}}}}
    one = make_job({"url_list": "a", "save_additional_columns": ["b"], "caption_col": "c"}, config)
    two = Job.model_validate(json.loads(json.dumps(one.model_dump(mode="json"))))
    assert two == one
    assert two.built == one.built


@pytest.mark.parametrize(
    ("arguments", "loops"),
    [
        ({}, 8),
        ({"url_list": "-", "input_format": "txt"}, 1),
        ({"output_folder": "-", "output_format": "webdataset"}, 1),
    ],
)
def test_loops(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], loops: int) -> None:
    """Where rows come from stdin or samples go to stdout, one loop has all there may be."""
    monkeypatch.setattr("asyncv2d.config._cores", lambda: 8)
    settings = job(**arguments).built.distribution
    assert (settings.loop_count, settings.loop_downloads) == (loops, 512 // loops)


def test_mistakes_in_both_at_once() -> None:
    """Arguments and configuration are checked together."""
    with pytest.raises(UserError) as caught:
        make_job({"url_list": "a", "output_format": "webdatset"}, {"reading": {"timeot": 1}})
    assert caught.value.problems == (
        "reading.timeot: unknown key; did you mean 'timeout'?",
        "--output_format: 'webdatset' is no known format; did you mean 'webdataset'?",
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"input_format": "cvs"}, "--input_format: 'cvs' is no known format"),
        ({"output_folder": ""}, "the output folder has no name"),
        ({"output_folder": "out\udcff"}, r"--output_folder: the name 'out\udcff' is no UTF-8"),
        ({"enable_wandb": True}, "--enable_wandb: True is not allowed; expected False"),
        ({"stage": "upload"}, "--stage: 'upload' is not allowed"),
        ({"incremental_mode": "overwite"}, "did you mean 'overwrite'?"),
        ({"max_shard_retry": -1}, "--max_shard_retry: should be greater than or equal to 0"),
        ({"encode_formats": {"video": "avi"}}, "video cannot be written as 'avi'; use: mp4"),
        ({"encode_formats": {"audio": "aac"}}, "cannot be written as 'aac'; use: flac, m4a"),
        ({"encode_formats": {"text": "txt"}}, "'text' is no modality; use video and audio"),
        ({"no_such": 1}, "--no_such: unknown key"),
        ({"caption_col": "url"}, "'url' is the url_col already; one column has one role"),
        ({"caption_col": "t", "clip_col": "t"}, "'t' is the caption_col already"),
        ({"save_additional_columns": ["clips"]}, "'clips' is what the clip_col is called"),
        (
            {"save_additional_columns": ["caption"], "caption_col": "text"},
            "'caption' is what the caption_col is called",
        ),
        (
            {"save_additional_columns": ["url"], "url_col": "link"},
            "'url' is what the url_col is called",
        ),
    ],
)
def test_a_mistake(arguments: dict[str, Any], text: str) -> None:
    """Is told with the argument's name and a remedy."""
    (problem,) = mistakes(**arguments)
    assert text in problem
    assert problem.startswith("--")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"output_folder": "-", "output_format": "parquet"}, "cannot be written to stdout"),
        ({"output_folder": "-", "incremental_mode": "overwrite"}, "needs a table and a folder"),
        (
            {"url_list": "-", "input_format": "txt", "incremental_mode": "retry_failed"},
            "needs a table and a folder",
        ),
    ],
)
def test_arguments_at_odds(arguments: dict[str, Any], text: str) -> None:
    """What cannot be done together is refused before anything begins."""
    (problem,) = mistakes(**arguments)
    assert text in problem


def test_columns() -> None:
    """Columns keep their order, and those with a role get its name; the URL is the last."""
    found = job(
        url_col="link", caption_col="text", clip_col="spans", save_additional_columns=["b", "a"]
    )
    assert list(found.renamed_columns().items()) == [
        ("b", "b"),
        ("a", "a"),
        ("spans", "clips"),
        ("text", "caption"),
        ("link", "url"),
    ]
    twice = job(save_additional_columns=["url", "caption", "x"], caption_col="caption")
    assert list(twice.renamed_columns()) == ["caption", "x", "url"]


@pytest.mark.parametrize("on_bad_row", ["fail", "skip"])
def test_the_reader(tmp_path: Path, on_bad_row: str) -> None:
    """Gets the files, sorted, the columns and what to do with bad rows."""
    for name in ("b.tsv", "a.tsv.gz"):
        (tmp_path / name).write_text("")
    arguments = {"url_list": [str(tmp_path / "b.tsv"), str(tmp_path / "*.gz")]}
    found: Any = make_job(arguments, {"reading": {"on_bad_row": on_bad_row}}).reader()
    assert type(found).__name__ == "TsvReader"
    assert found.paths == (str(tmp_path / "a.tsv.gz"), str(tmp_path / "b.tsv"))
    assert found.columns == ("url",)
    assert found.on_bad_row == on_bad_row


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    """Is found out before anything else is done."""
    with pytest.raises(UserError, match="no such input file"):
        job(url_list=str(tmp_path / "a.csv")).reader()
