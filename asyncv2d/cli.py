"""The command line. Only what a command needs is imported when it runs: help must be instant."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncv2d.request import Request, one_table
from asyncv2d.types import RunError

if TYPE_CHECKING:
    from asyncv2d.nursery_start import Begun

_CANCELLED = 130
_ANY_TABLE = "urls.csv"  # stands in where a plan is asked for without a table

app = typer.Typer(
    name="asyncv2d",
    help="Turn a table of video URLs into a machine-learning dataset.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

UrlArgument = Annotated[
    str | None,
    typer.Argument(
        help="The input: a table (csv, tsv, txt, json, jsonl, parquet), a folder or pattern of"
        " tables or of an earlier dataset's tars; local or a URL; -: stdin."
    ),
]
UrlOption = Annotated[str | None, typer.Option("--url_list", help="The same, as an option.")]
Config = Annotated[str, typer.Option("--config", help="YAML file with the configuration.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of the configuration: section.key=value."),
]
OutputFolder = Annotated[
    str,
    typer.Option("--output_folder", help="Folder or URL of the dataset; -: a tar on stdout."),
]
OutputFormat = Annotated[
    str,
    typer.Option("--output_format", help="files, webdataset, parquet, tfrecord or dummy."),
]
InputFormat = Annotated[
    str | None,
    typer.Option("--input_format", help="Format of the table; guessed from its name if not given."),
]
EncodeFormats = Annotated[
    str | None,
    typer.Option("--encode_formats", help='Extension of each modality: {"video": "mp4"}.'),
]
StageOption = Annotated[str, typer.Option("--stage", help="Kind of work.")]
UrlCol = Annotated[str, typer.Option("--url_col", help="Column of the URL.")]
CaptionCol = Annotated[
    str | None, typer.Option("--caption_col", help="Column of the caption, stored as .txt.")
]
ClipCol = Annotated[
    str | None, typer.Option("--clip_col", help="Column of the clips: [[start, end], …].")
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--save_additional_columns", help='Further columns to keep: \'["a", "b"]\' or a,b.'
    ),
]
EnableWandb = Annotated[str, typer.Option("--enable_wandb", help="Log to Weights & Biases.")]
WandbProject = Annotated[str, typer.Option("--wandb_project", help="Project to log to.")]
IncrementalMode = Annotated[
    str,
    typer.Option(
        "--incremental_mode",
        help="incremental: keep published shards. overwrite: begin anew. retry_failed: try failed"
        " rows again.",
    ),
]
RetryCauses = Annotated[
    str | None,
    typer.Option(
        "--retry_causes",
        help="Causes to try again: timeout,http_5xx. Without it: those where that may help.",
    ),
]
AllowChanged = Annotated[
    bool,
    typer.Option("--allow_changed", help="Go on with a dataset of another table or configuration."),
]
Outcomes = Annotated[
    str | None,
    typer.Option("--outcomes", help="jsonl: print what became of each row, as a line of JSON."),
]
MaxShardRetry = Annotated[
    int, typer.Option("--max_shard_retry", help="Further tries of a shard not published.")
]
TmpDir = Annotated[str, typer.Option("--tmp_dir", help="Folder for temporary files.")]


def _with_job(action: Callable[[Request], int], *, table: str | None = None) -> Callable[..., None]:
    """Make a command of ``action`` that takes all arguments of a job.

    ``table`` stands in where no input table is given; None: one must be given.
    """

    def command(
        context: typer.Context,
        urls: UrlArgument = None,
        url_list: UrlOption = None,
        config: Config = "default",
        override: Set = None,
        output_folder: OutputFolder = "dataset",
        output_format: OutputFormat = "files",
        input_format: InputFormat = None,
        encode_formats: EncodeFormats = None,
        stage: StageOption = "download",
        url_col: UrlCol = "url",
        caption_col: CaptionCol = None,
        clip_col: ClipCol = None,
        save_additional_columns: Columns = None,
        enable_wandb: EnableWandb = "False",
        wandb_project: WandbProject = "video2dataset",
        incremental_mode: IncrementalMode = "incremental",
        retry_causes: RetryCauses = None,
        allow_changed: AllowChanged = False,
        outcomes: Outcomes = None,
        max_shard_retry: MaxShardRetry = 1,
        tmp_dir: TmpDir = "/tmp",
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name in _NAMES}
        with _errors_as_lines():
            arguments["url_list"] = one_table(urls, url_list, table)
            raise typer.Exit(action(Request(arguments, config, override or [], context.obj)))

    command.__doc__ = action.__doc__
    return command


_NAMES = {
    "output_folder",
    "output_format",
    "input_format",
    "encode_formats",
    "stage",
    "url_col",
    "caption_col",
    "clip_col",
    "save_additional_columns",
    "enable_wandb",
    "wandb_project",
    "incremental_mode",
    "retry_causes",
    "allow_changed",
    "outcomes",
    "max_shard_retry",
    "tmp_dir",
}


def _download(request: Request) -> int:
    """Download, cut, resize, describe and shard all videos of a table."""
    import anyio

    return anyio.run(_download_async, request)


async def _download_async(request: Request) -> int:
    from asyncv2d.display import display
    from asyncv2d.run import run_job_async

    job, nursery = request.job(), None
    if request.begun is not None:
        from asyncv2d.nursery import Nursery

        nursery = Nursery(request.begun.kind, begun=request.begun)
    with display(outcomes=sys.stderr if job.writes_stdout else sys.stdout) as watcher:
        summary = await run_job_async(job, watcher, nursery)
    for line in summary.lines():
        typer.echo(line, err=True)
    return summary.exit_code


def _plan(request: Request) -> int:
    """Print what `download` with the same arguments would do, and do nothing."""
    from asyncv2d.explain import explain

    job = request.job()
    if job.url_list != _ANY_TABLE and not job.reads_stdin:
        size = job.built.storage.number_sample_per_shard
        next(job.reader().shards(size), None)  # a table that was named has to be there, and right
    typer.echo(explain(job))
    return 0


app.command("download")(_with_job(_download))
app.command("plan")(_with_job(_plan, table=_ANY_TABLE))


@app.command()
def stats(
    dataset: Annotated[str, typer.Argument(help="Folder or URL of the dataset.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what a dataset holds, and which rows failed and why."""
    from asyncv2d.stats import main as describe

    with _errors_as_lines():
        typer.echo(describe(dataset, as_json=as_json))


@app.command()
def doctor() -> None:
    """Look whether this machine has what jobs need, and say how to mend what is missing."""
    from asyncv2d.doctor import main as examine

    text, code = examine()
    typer.echo(text)
    raise typer.Exit(code)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path(
        "asyncv2d-demo"
    ),
) -> None:
    """Make a few videos, serve them on this machine, and turn them into a dataset."""
    from asyncv2d.demo import run_demo

    with _errors_as_lines():
        raise typer.Exit(run_demo(folder))


def _version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"asyncv2d {version('asyncv2d')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda value: _version(wanted=value),
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Print foreseen errors one a line and exit with their code; 130 on an interruption."""
    try:
        yield
    except RunError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(_CANCELLED) from None


def main(begun: "Begun | None" = None) -> None:
    """Run the program. ``begun`` is what loop processes are forked from, for a download."""
    try:
        sys.exit(app(obj=begun))
    finally:
        if begun is not None:
            begun.end()
