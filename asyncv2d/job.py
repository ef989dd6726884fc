"""One run of the program: video2dataset's arguments, with the configuration inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from asyncv2d import config as configuration
from asyncv2d.codecs import check_formats
from asyncv2d.config import Config
from asyncv2d.plan import Plan
from asyncv2d.ports import Reader, Settings, Writer
from asyncv2d.problems import of_validation
from asyncv2d.registry import did_you_mean, load, names
from asyncv2d.types import UserError

_SUFFIX_FORMATS = {"tab": "tsv", "pq": "parquet", "ndjson": "jsonl", "text": "txt"}


class Job(Settings):
    """What to do; can be sent to another process as JSON."""

    url_list: str
    """The input table: a file, or a folder of files of one format."""
    output_folder: str = "dataset"
    """Folder of the dataset."""
    output_format: str = "files"
    """How samples are stored: files, webdataset or dummy."""
    input_format: str | None = None
    """Format of the table; guessed from the file's name if not given."""
    encode_formats: Mapping[str, str] | None = None
    """Extension of each modality to write: ``{"video": "mp4", "audio": "m4a"}``; one that is not
    named is dropped. Sound may be m4a, mp3, wav, flac or opus."""
    stage: Literal["download"] = "download"
    """What kind of work this is."""
    url_col: str = "url"
    """Column of the URL."""
    caption_col: str | None = None
    """Column of the caption, stored as .txt."""
    clip_col: str | None = None
    """Column of the clips to cut, as [[start, end], …]."""
    save_additional_columns: tuple[str, ...] | None = None
    """Further columns to keep in each sample's .json and in the ledger."""
    enable_wandb: Literal[False] = False
    """Log to Weights & Biases; not available in this version."""
    wandb_project: str = "video2dataset"
    """Project to log to."""
    incremental_mode: Literal["incremental", "overwrite"] = "incremental"
    """``incremental``: published shards are left as they are. ``overwrite``: begin anew."""
    max_shard_retry: int = Field(default=1, ge=0)
    """How often a shard that could not be published is tried again."""
    tmp_dir: str = "/tmp"
    """Folder for temporary files, used where shared memory has no room."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """The configuration, as its YAML file says it."""

    @field_validator("output_format")
    @classmethod
    def _known_output(cls, value: str) -> str:
        return _known_stage("write", value)

    @field_validator("input_format")
    @classmethod
    def _known_input(cls, value: str | None) -> str | None:
        return None if value is None else _known_stage("read", value)

    @field_validator("encode_formats")
    @classmethod
    def _known_extensions(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        check_formats(value or {})
        return value

    @field_validator("caption_col", "clip_col")
    @classmethod
    def _column_of_its_own(cls, value: str | None, info: ValidationInfo) -> str | None:
        for other in ("url_col", "caption_col"):
            if value is not None and value == info.data.get(other):
                raise ValueError(f"{value!r} is the {other} already; one column has one role")
        return value

    @field_validator("save_additional_columns")
    @classmethod
    def _free_names(cls, value: Sequence[str] | None, info: ValidationInfo) -> Sequence[str] | None:
        taken = {"url": "url_col", "caption": "caption_col", "clips": "clip_col"}
        for name in taken.keys() & set(value or ()):
            column = info.data.get(taken[name])
            if column != name and (column is not None or name == "clips"):
                raise ValueError(
                    f"{name!r} is what the {taken[name]} is called in the dataset; rename the"
                    " column of your table"
                )
        return value

    @field_validator("output_folder")
    @classmethod
    def _local_output(cls, value: str) -> str:
        if "://" in value:
            raise ValueError("only folders of this machine are available in this version")
        if not value:
            raise ValueError("the output folder has no name")
        return value

    @cached_property
    def built(self) -> Config:
        """The validated configuration."""
        return configuration.build(self.config)

    @cached_property
    def plan(self) -> Plan:
        """The passes over each video."""
        return self.built.plan(self.encode_formats)

    @property
    def save_caption(self) -> bool:
        """Whether samples get a .txt part."""
        return self.caption_col is not None or self.built.storage.captions_are_subtitles

    def renamed_columns(self) -> dict[str, str]:
        """Input columns to read, and their names in the output, in the order of the ledger."""
        renamed = {name: name for name in self.save_additional_columns or ()}
        if self.clip_col is not None:
            renamed[self.clip_col] = "clips"
        if self.caption_col is not None:
            renamed[self.caption_col] = "caption"
        renamed.pop(self.url_col, None)  # the URL is the last one, also where it is named twice
        renamed[self.url_col] = "url"
        return renamed

    def writer(self) -> Writer:
        """The writer of the output format."""
        return cast(Writer, load("write", self.output_format)())

    def reader(self) -> Reader:
        """The reader of the input. Raises UserError where there is no such input."""
        paths = _input_files(Path(self.url_list), self.input_format)
        name = self.input_format or _format_of(paths[0])
        settings = {"paths": [str(path) for path in paths], "columns": [*self.renamed_columns()]}
        return cast(Reader, load("read", name).model_validate(settings))


def make_job(arguments: Mapping[str, Any], config: Any, overrides: Sequence[str] = ()) -> Job:
    """Check arguments and configuration together. Raises UserError with all mistakes at once."""
    problems: list[str] = []
    raw: Mapping[str, Any] = {}
    try:
        raw = configuration.load(config, overrides)
    except UserError as error:
        problems += error.problems
    try:
        job = Job.model_validate({**arguments, "config": raw})
    except ValidationError as error:
        problems += [f"--{problem}" for problem in of_validation(error, Job)]
    if problems:
        raise UserError(*problems)
    _ = job.plan  # raises where the formats and the subsamplers do not go together
    return job


def _known_stage(kind: Literal["read", "write"], name: str) -> str:
    known = names(kind)
    if name not in known:
        raise ValueError(f"{name!r} is no known format{did_you_mean(name, known)}")
    return name


def _input_files(path: Path, input_format: str | None) -> list[Path]:
    if not path.exists():
        raise UserError(f"{path}: no such input file")
    if not path.is_dir():
        return [path]
    wanted = [input_format] if input_format else names("read")
    files = sorted(file for file in path.iterdir() if _format_of(file, default="") in wanted)
    if not files:
        raise UserError(f"{path}: no {' or '.join(wanted)} file in this folder")
    formats = sorted({_format_of(file) for file in files})
    if len(formats) > 1:
        raise UserError(f"{path}: {' and '.join(formats)} files; choose with --input_format")
    return files


def _format_of(path: Path, default: str = "csv") -> str:
    suffix = path.suffix.removeprefix(".").lower()
    suffix = _SUFFIX_FORMATS.get(suffix, suffix)
    return suffix if suffix in names("read") else default
