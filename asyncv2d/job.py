"""One run of the program: video2dataset's arguments, with the configuration inside."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from asyncv2d import config as configuration
from asyncv2d.codecs import Encoder, check_formats
from asyncv2d.config import Config, Reading, Storage
from asyncv2d.inputs import STDIN, find_inputs
from asyncv2d.plan import Plan
from asyncv2d.ports import Reader, Settings, StreamWriter, Writer
from asyncv2d.problems import of_validation
from asyncv2d.registry import KINDS, did_you_mean, load, names
from asyncv2d.types import Cause, UserError

STDOUT = "-"
_STREAMS = ("files", "webdataset")  # the first is the default, which stdout does not take as such
_STREAMED = ("txt", "jsonl", "csv", "tsv")
RETRY_OF = "retry_of"
"""Column with the key of the row of which this one is another try."""
RETRY_TABLE = "retry.parquet"
"""What the table of rows to try again is called, in the folder for unfinished work."""
_WRITTEN = ("key", "status", "error_message")  # what every sample's JSON has of its own


class Job(Settings):
    """What to do; can be sent to another process as JSON."""

    url_list: str | tuple[str, ...]
    """The input table: a file, a folder, or a pattern such as ``data/*.parquet``; local, or a URL
    such as ``s3://…``; or several of those. All files are of one format. ``-``: rows from stdin, as
    they arrive."""
    output_folder: str = "dataset"
    """Folder of the dataset: local, or a URL such as ``s3://…``. ``-``: no folder, but a stream of
    samples on stdout, as one WebDataset tar."""
    output_format: str = "files"
    """How samples are stored: files, webdataset, parquet, tfrecord or dummy."""
    input_format: str | None = None
    """Format of the table; guessed from the file's name if not given."""
    encode_formats: Mapping[str, str] | None = None
    """Extension of each modality to write: ``{"video": "mp4", "audio": "m4a"}``; one that is not
    named is dropped. Sound may be m4a, mp3, wav, flac or opus."""
    stage: Literal["download", "subset", "optical_flow", "whisper", "caption"] = "download"
    """Taken for video2dataset's sake: what is to be done follows from the input."""
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
    incremental_mode: Literal["incremental", "overwrite", "retry_failed"] = "incremental"
    """``incremental``: published shards are left as they are. ``overwrite``: begin anew.
    ``retry_failed``: try failed rows of published shards again, as new shards."""
    retry_causes: tuple[Cause, ...] | None = None
    """Causes of the rows that ``retry_failed`` tries again; null: those where that may help."""
    allow_changed: bool = False
    """Go on with a dataset that was made from another table, or with another configuration."""
    outcomes: Literal["jsonl"] | None = None
    """Tell what became of each row, as a line of JSON."""
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
    def _named_output(cls, value: str) -> str:
        if not value:
            raise ValueError("the output folder has no name")
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes that Python could not read, which pyarrow does not take
            raise ValueError(f"the name {value!r} is no UTF-8; choose another") from None
        return value

    @cached_property
    def built(self) -> Config:
        """The validated configuration, as this job is run."""
        config = configuration.build(self.config)
        distribution = config.distribution.for_plan(config.plan(self.encode_formats))
        if config.reading.host_connections is not None:
            # Each loop may ask a host for one thing at least.
            distribution = distribution.in_loops(config.reading.host_connections)
        if self.reads_stdin or self.writes_stdout:
            distribution = distribution.in_one_loop()
        return config.model_copy(update={"distribution": distribution})

    @cached_property
    def plan(self) -> Plan:
        """The passes over each video."""
        return self.built.plan(self.encode_formats)

    @property
    def save_caption(self) -> bool:
        """Whether samples get a .txt part."""
        return self.caption_col is not None or self.built.storage.captions_are_subtitles

    @cached_property
    def inputs(self) -> tuple[str, list[str]]:
        """Format and files of the input. Raises UserError where there is no such input."""
        if not self.reads_stdin:
            return find_inputs(self.url_list, self.input_format)
        if self.input_format not in _STREAMED:
            raise UserError(f"--input_format: rows from stdin need one of: {', '.join(_STREAMED)}")
        if sys.stdin is None or sys.stdin.closed:
            raise UserError("-: stdin is closed")
        return self.input_format, [STDIN]

    @property
    def reads_stdin(self) -> bool:
        """Whether rows arrive on stdin."""
        return self.url_list == STDIN

    @property
    def writes_stdout(self) -> bool:
        """Whether samples go to stdout."""
        return self.output_folder == STDOUT

    @cached_property
    def takes_all_columns(self) -> bool:
        """Whether rows are samples of an earlier dataset that keep whatever is known of them."""
        if self.save_additional_columns is not None or self.reads_stdin:
            return False
        try:
            return self.inputs[0] == "webdataset"
        except UserError:  # raised again where the input is needed
            return False

    def renamed_columns(self, known: Sequence[str] = ()) -> dict[str, str]:
        """Input columns to read, and their names in the output, in the order of the ledger.

        ``known`` are those that the input has, where all of them are kept.
        """
        kept = known if self.takes_all_columns else self.save_additional_columns or ()
        written = _WRITTEN if self.takes_all_columns else ()
        renamed = {name: name for name in kept if name not in written}
        if self.clip_col is not None:
            renamed[self.clip_col] = "clips"
        if self.caption_col is not None:
            renamed[self.caption_col] = "caption"
        renamed.pop(self.url_col, None)  # the URL is the last one, also where it is named twice
        renamed[self.url_col] = "url"
        return renamed

    def named(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of one record, by their names in the output."""
        renamed = self.renamed_columns([*columns] if self.takes_all_columns else ())
        return {new: columns.get(old) for old, new in renamed.items()}

    def writer(self) -> Writer:
        """The writer of the output format, with the keys of ``storage`` that it has too.

        Raises UserError where it lacks a package.
        """
        plan, cls = self.plan, load("write", self.output_format)
        known = {
            **self.built.storage.model_dump(),
            "extensions": [
                *filter(None, (plan.image_format or plan.video_format, plan.audio_format))
            ],
            "captions": self.save_caption,
        }
        if "facts" in cls.model_fields:
            from asyncv2d.record import fact_schema  # brings pyarrow, which others need not

            as_given = plan.stills is not None and plan.stills.needs_subtitles
            known["facts"] = fact_schema(times_as_given=as_given)
        settings = {key: value for key, value in known.items() if key in cls.model_fields}
        return cast(Writer, cls.model_validate(settings))

    def stream_writer(self) -> StreamWriter:
        """What writes samples to stdout."""
        return cast(StreamWriter, load("write", "webdataset")())

    def reader(self) -> Reader:
        """The reader of the input. Raises UserError where there is no such input."""
        name, paths = self.inputs
        known = {
            "paths": paths,
            "columns": ["*"] if self.takes_all_columns else self._read_columns(),
            "on_bad_row": self.built.reading.on_bad_row,
        }
        cls = load("read", name)
        settings = {key: value for key, value in known.items() if key in cls.model_fields}
        return cast(Reader, cls.model_validate(settings))

    def _read_columns(self) -> list[str]:
        return [*([RETRY_OF] if self.retries_rows else ()), *self.renamed_columns()]

    @cached_property
    def retries_rows(self) -> bool:
        """Whether the input is a table of failed rows."""
        name = Path(self.url_list).name if isinstance(self.url_list, str) else ""
        return name.startswith(f"{RETRY_TABLE}-")


def prepare() -> None:
    """Build and find now what all jobs need: forks of this process need not each do so."""
    for model in (Encoder, Storage, Reading, Config, Job):
        model.model_rebuild()
    with suppress(UserError):  # an incomplete installation, of which the job will tell
        for kind in KINDS:
            names(kind)


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
    if not problems:
        problems += _at_odds(job)
    if problems:
        raise UserError(*problems)
    _ = job.plan  # raises where the formats and the subsamplers do not go together
    job.writer()  # raises where a package is missing
    return job


def _at_odds(job: Job) -> Iterator[str]:
    """Arguments that do not go together."""
    if job.writes_stdout and job.output_format not in _STREAMS:
        yield f"--output_format: {job.output_format!r} cannot be written to stdout; use webdataset"
    if job.incremental_mode != "incremental" and (job.writes_stdout or job.reads_stdin):
        yield f"--incremental_mode: {job.incremental_mode!r} needs a table and a folder, not '-'"
    if job.incremental_mode == "retry_failed" and job.takes_all_columns:
        yield (
            "--incremental_mode: 'retry_failed' works on tables; to make samples of an earlier"
            " dataset again use 'overwrite'"
        )


def _known_stage(kind: Literal["read", "write"], name: str) -> str:
    known = names(kind)
    if name not in known:
        raise ValueError(f"{name!r} is no known format{did_you_mean(name, known)}")
    return name
