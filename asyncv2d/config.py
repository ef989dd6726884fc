"""The whole configuration as one validated tree.

The four sections and their keys are video2dataset's; what asyncv2d adds are further optional keys.
All mistakes of a file are reported at once, each with its place and a remedy.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, InstanceOf, ValidationError, field_validator

from asyncv2d.codecs import Encoder
from asyncv2d.http_args import HttpArgs
from asyncv2d.plan import Output, Plan, make_plan
from asyncv2d.ports import Settings
from asyncv2d.problems import Location, Problem, of_validation
from asyncv2d.registry import did_you_mean, load_subsampler, names
from asyncv2d.types import KeyFormat, UserError
from asyncv2d.yaml_source import YamlSource
from asyncv2d.yt_args import YtArgs

_PER_THREAD = 16
_ENOUGH_DOWNLOADS = 512
_DOWNLOADS_PER_LOOP = 64
_CORES_PER_LOOP = 8
_BESIDE = {"cuts_are_clips"}  # what video2dataset has beside args
_MOST = 1024  # of one kind on one machine: more is a slip of the keyboard


class Reading(HttpArgs):
    """How rows are fetched. A fetcher's settings are the keys here that it has too."""

    fetcher: str = "auto"
    """What fetches the rows: ``auto``: by each URL, and yt-dlp for pages that show a video.
    ``http`` or ``ytdlp``: that one takes all URLs that it can."""
    yt_args: YtArgs | None = None
    """What to take from sites that need yt-dlp, and how."""
    on_corrupt: Literal["fail", "keep"] = "fail"
    """What to do with a file that is cut off or damaged: ``keep`` uses what comes before the
    damage."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    """What to do with a line of the input that cannot be read: ``fail`` stops the run, ``skip``
    makes it a failed row (cause ``bad_row``) that says which line it was, and goes on."""
    sampler: None = None
    """Kept for video2dataset's files, which have null here."""

    @field_validator("fetcher")
    @classmethod
    def _known(cls, value: str) -> str:
        known = ["auto", *names("fetch")]
        if value not in known:
            raise ValueError(f"no fetcher is called {value!r}{did_you_mean(value, known)}")
        return value


class Storage(Settings):
    """How samples are named and stored."""

    number_sample_per_shard: int = Field(default=1000, gt=0, le=1_000_000_000)
    """Rows of the input in one shard."""
    oom_shard_count: int = Field(default=5, gt=0, le=18)
    """Digits of a shard's number in file names and keys."""
    max_shard_bytes: int | None = Field(default=None, gt=0)
    """Bytes of samples at which a shard of rows from stdin is closed; null: no limit. Shards of a
    table are fixed slices of it."""
    max_shard_age: float | None = Field(default=None, gt=0)
    """Seconds after its first row at which a shard of rows from stdin is closed; null: no limit."""
    captions_are_subtitles: bool = False
    """Make a clip of every subtitle, with its text as caption."""
    encoder: Encoder = Field(default_factory=Encoder)
    """How clips are encoded, where they have to be."""
    parquet_media: Literal["binary", "struct"] = "binary"
    """Media in Parquet: ``binary``: columns of bytes. ``struct``: of bytes and path, which Hugging
    Face's ``datasets`` opens as Video, Audio and Image."""

    @property
    def key_format(self) -> KeyFormat:
        """How keys are written."""
        return KeyFormat(self.number_sample_per_shard, self.oom_shard_count)


class Distribution(Settings):
    """How the work is spread over processes."""

    processes_count: int = Field(default=16, gt=0, le=_MOST)
    """video2dataset's processes; with ``thread_count``, how much is downloaded at a time."""
    thread_count: int = Field(default=32, gt=0, le=_MOST)
    """video2dataset's threads in each process; see ``downloads``."""
    downloads: int | None = Field(default=None, gt=0, le=_MOST**2)
    """Downloads in flight on this machine; null: 16 for each of video2dataset's threads, since one
    here takes no thread, but no more than 512, or as many as these threads."""
    subjob_size: int = Field(default=1000, gt=0)
    """Kept for video2dataset's files: shards handed out at a time by cluster launchers."""
    distributor: Literal["multiprocessing", "inline"] = "multiprocessing"
    """``multiprocessing``: loop processes on this machine. ``inline``: all in this process."""
    distributor_args: Mapping[str, Any] | None = None
    """Settings of cluster launchers; not used in this version."""
    loops: int | None = Field(default=None, gt=0, le=_MOST)
    """Loop processes; null: one for every 8 cores, or, where files are stored as they came, for
    every core and 64 downloads."""
    workers: int | None = Field(default=None, gt=0, le=_MOST)
    """Worker processes for video, over all loops; null: one for every core."""
    waiting_rows: int | None = Field(default=None, ge=0)
    """Rows of each loop that may wait for their host's turn beside those that are downloaded; null:
    eight times as many as these."""
    byte_budget: int = Field(default=1 << 30, gt=0)
    """Bytes that downloaded bodies may take in memory and tmpfs together, over all loops."""
    worker_timeout: float = Field(default=3600, gt=0)
    """Seconds that processing one video may take."""
    drain_timeout: float = Field(default=300, gt=0)
    """Seconds that work in hand gets to finish after the first Ctrl-C."""

    @field_validator("distributor", mode="before")
    @classmethod
    def _known_but_not_here(cls, value: Any) -> Any:
        if value in ("pyspark", "slurm", "ray"):
            raise ValueError(f"{value} is not available in this version; use 'multiprocessing'")
        return value

    @property
    def loop_count(self) -> int:
        """Loop processes to run on this machine."""
        if self.distributor == "inline":
            return 1
        return self.loops or min(self.processes_count, _up(_cores(), _CORES_PER_LOOP))

    @property
    def worker_count(self) -> int:
        """Worker processes of each loop."""
        return _up(self.workers or _cores(), self.loop_count)

    @property
    def all_downloads(self) -> int:
        """Downloads in flight on this machine."""
        threads = self.processes_count * self.thread_count
        return self.downloads or max(threads, min(_PER_THREAD * threads, _ENOUGH_DOWNLOADS))

    @property
    def loop_downloads(self) -> int:
        """Downloads in flight in each loop."""
        return _up(self.all_downloads, self.loop_count)

    @property
    def waiting(self) -> int:
        """Rows that wait for their host's turn in each loop."""
        return 8 * self.loop_downloads if self.waiting_rows is None else self.waiting_rows

    @property
    def loop_budget(self) -> int:
        """Bytes of bodies in flight in each loop."""
        return max(1, self.byte_budget // self.loop_count)

    def for_plan(self, plan: Plan) -> Self:
        """With as many loops as ``plan`` can use, where it is not said how many."""
        if self.loops is not None or not plan.keeps_files:
            return self
        # All work is the loops' own then.
        loops = min(_cores(), _up(self.all_downloads, _DOWNLOADS_PER_LOOP))
        return self.model_copy(update={"loops": loops})

    def in_loops(self, most: int) -> Self:
        """In no more loops than ``most``."""
        return self.model_copy(update={"loops": min(most, self.loop_count)})

    def in_one_loop(self) -> Self:
        """All of it in one loop, where there can be only one."""
        return self.in_loops(1)


class Config(Settings):
    """Everything the YAML file says."""

    subsampling: Mapping[str, InstanceOf[Settings]] = Field(default_factory=dict)
    """The media operations, by name."""
    reading: Reading = Field(default_factory=Reading)
    """How rows are fetched."""
    storage: Storage = Field(default_factory=Storage)
    """How samples are named and stored."""
    distribution: Distribution = Field(default_factory=Distribution)
    """How the work is spread over processes."""

    def plan(self, encode_formats: Mapping[str, str] | None = None) -> Plan:
        """The passes over each video. Raises UserError where the parts do not go together."""
        output = Output(
            encode_formats=encode_formats,
            encoder=self.storage.encoder,
            subtitles_are_clips=self.storage.captions_are_subtitles,
            keep_damaged=self.reading.on_corrupt == "keep",
        )
        return make_plan(self.subsampling.values(), output)


def _up(whole: int, part: int) -> int:
    """The quotient, rounded up."""
    return -(-whole // part)


def _cores() -> int:
    """Cores that this process may use; not every system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def build(raw: Mapping[str, Any]) -> Config:
    """Validate a configuration given as a mapping. Raises UserError with all mistakes at once."""
    config, problems = _check(raw)
    if config is None:
        raise UserError(*(str(problem) for problem in problems))
    return config


def load(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a configuration, apply ``section.key=value`` overrides, and check it all.

    ``source`` is the path of a YAML file, a mapping, or ``"default"``. Returns the raw mapping,
    which ``build`` takes in any process. Raises UserError with all mistakes at once.
    """
    if isinstance(source, Mapping):
        document = YamlSource.of_mapping(source)
    elif source == "default":
        document = YamlSource.of_mapping({})
    else:
        document = YamlSource.read(Path(source))
    for override in overrides:
        document.override(override)
    problems = [*document.problems, *_check(document.content)[1]]
    if problems:
        raise UserError(*document.located(problems))
    return dict(document.content)


def _check(raw: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    subsamplers, problems = _subsamplers(raw.get("subsampling"))
    rest = {name: {} if value is None else value for name, value in raw.items()}
    rest["subsampling"] = {}
    try:
        config = Config.model_validate(rest)
    except ValidationError as error:
        return None, [*problems, *of_validation(error, Config)]
    config = config.model_copy(update={"subsampling": subsamplers})
    try:
        config.plan()
    except UserError as error:
        problems.append(Problem(("subsampling",), str(error).partition(": ")[2]))
    return (None, problems) if problems else (config, [])


def _subsamplers(raw: Any) -> tuple[dict[str, Settings], list[Problem]]:
    if raw is None:
        return {}, []
    if not isinstance(raw, Mapping):
        return {}, [Problem(("subsampling",), "expected names of subsamplers with their args")]
    built, problems = {}, []
    for name, entry in raw.items():
        try:
            built[name] = _subsampler(str(name), entry)
        except UserError as error:
            problems.append(Problem(("subsampling", name), str(error), at_key=True))
        except _InvalidArgsError as error:
            problems += error.problems
    return built, problems


class _InvalidArgsError(Exception):
    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def _subsampler(name: str, entry: Any) -> Settings:
    """One subsampler from ``{args: {…}}``; keys beside args are arguments too."""
    cls = load_subsampler(name)
    here: Location = ("subsampling", name)
    entry = {} if entry is None else entry
    args = entry.get("args") if isinstance(entry, Mapping) else entry
    args = {} if args is None else args
    if not isinstance(entry, Mapping) or not isinstance(args, Mapping):
        raise _InvalidArgsError([Problem(here, "expected {args: {name: value, …}}")])
    beside = {key: value for key, value in entry.items() if key != "args"}
    if beside and "args" not in entry and not beside.keys() - _BESIDE:
        beside |= getattr(cls, "without_args", {})
    if twice := [key for key in beside if key in args]:
        text = "this key is given beside args and inside; keep one"
        raise _InvalidArgsError([Problem((*here, key), text, at_key=True) for key in twice])
    try:
        return cls.model_validate({**args, **beside})
    except ValidationError as error:
        raise _InvalidArgsError(
            [
                problem.under((*here, "args") if problem.key in args else here)
                for problem in of_validation(error, cls)
            ]
        ) from None
