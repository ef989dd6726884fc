"""The blocking Python call, with video2dataset's argument names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncv2d.job import make_job
from asyncv2d.report import Summary
from asyncv2d.run import PrintedOutcomes, run_job


class UnpublishedError(RuntimeError):
    """Some shards could not be published; ``summary`` says which and why."""

    def __init__(self, summary: Summary) -> None:
        super().__init__("\n".join(summary.lines()))
        self.summary = summary


def download(
    url_list: str | Path | Sequence[str | Path],
    output_folder: str | Path = "dataset",
    output_format: str = "files",
    input_format: str | None = None,
    encode_formats: Mapping[str, str] | None = None,
    stage: str = "download",
    url_col: str = "url",
    caption_col: str | None = None,
    clip_col: str | None = None,
    save_additional_columns: Sequence[str] | None = None,
    enable_wandb: bool = False,
    wandb_project: str = "video2dataset",
    incremental_mode: str = "incremental",
    retry_causes: Sequence[str] | None = None,
    allow_changed: bool = False,
    outcomes: str | None = None,
    max_shard_retry: int = 1,
    tmp_dir: str | Path = "/tmp",
    config: str | Path | Mapping[str, Any] = "default",
) -> Summary:
    """Make a dataset from a table of video URLs; returns when it is done.

    ``config`` is the path of a YAML file or its content as a mapping; the other arguments are those
    of the command. Failed rows are counted in the summary and described in the ledger. Raises
    UserError for a mistake in the arguments, the configuration or the input, UnpublishedError where
    shards could not be published, and KeyboardInterrupt when interrupted.
    """
    arguments: dict[str, Any] = dict(locals())
    config = arguments.pop("config")
    for name in ("output_folder", "tmp_dir"):
        arguments[name] = str(arguments[name])
    if isinstance(url_list, str | Path):
        arguments["url_list"] = str(url_list)
    else:
        arguments["url_list"] = [str(table) for table in url_list]
    summary = run_job(make_job(arguments, config), PrintedOutcomes(sys.stdout))
    if summary.interrupted:
        raise KeyboardInterrupt
    if summary.unpublished:
        raise UnpublishedError(summary)
    return summary


video2dataset = download
