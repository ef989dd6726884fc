"""The command line: what it says, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from asyncv2d.cli import app
from asyncv2d.job import Job

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of one row."""
    path = tmp_path / "urls.csv"
    path.write_text("url\nhttp://127.0.0.1:1/a.mp4\n")
    return path


def run(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_has_every_argument() -> None:
    """Every argument of a job is an option of ``download`` and ``plan``."""
    for command in ("download", "plan"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert all(f"--{name}" in result.output for name in Job.model_fields)


def test_version() -> None:
    """``--version`` prints one."""
    assert run("--version").output.startswith("asyncv2d ")


def test_python_m() -> None:
    """``python -m asyncv2d`` is the command."""
    result = subprocess.run(
        [sys.executable, "-m", "asyncv2d", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("asyncv2d ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give the input table once"),
        (["a.csv", "--url_list", "b.csv"], "give the input table once"),
        (["none.csv"], "none.csv: no such input file"),
        (["none.csv", "--config", "none.yaml"], "none.yaml: cannot read the configuration"),
        (["a.csv", "--set", "reading.timeot=1"], "did you mean 'timeout'?"),
        (["a.csv", "--set", "reading"], "expected section.key=value"),
        (["a.csv", "--encode_formats", "{"], "--encode_formats: '{' is no valid JSON"),
        (["a.csv", "--save_additional_columns", "[1"], "no valid JSON"),
        (['["a.csv"'], "--url_list: '[\"a.csv\"' is no valid JSON"),
        (["a.csv", "--enable_wandb", "True"], "--enable_wandb"),
        (["a.csv", "--stage", "upload"], "--stage"),
        (["a.csv", "--no_such_option", "1"], "no_such_option"),
        (["a.csv", "--max_shard_retry", "often"], "max_shard_retry"),
    ],
)
def test_a_mistake(arguments: list[str], text: str) -> None:
    """Is exit code 2 with a line about it, and no traceback."""
    result = run("download", *arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize("form", ['["a", "b"]', "a,b", "a, b", "['a', 'b']"])
def test_lists(tmp_path: Path, form: str) -> None:
    """Additional columns may be given as JSON, as Python or with commas."""
    table = tmp_path / "urls.csv"
    table.write_text("url,c\nu,d\n")
    result = run("download", table, "--save_additional_columns", form)
    assert result.exit_code == 2
    assert "no column 'a', 'b'" in result.output


def test_plan(table: Path, tmp_path: Path) -> None:
    """Says what would be done, and does nothing."""
    config = tmp_path / "cfg.yaml"
    config.write_text("subsampling: {FrameSubsampler: {args: {frame_rate: 5}}}\n")
    output = tmp_path / "out"
    result = run(
        "plan", table, "--config", config, "--output_folder", output, "--set", "reading.timeout=7"
    )
    assert result.exit_code == 0, result.output
    for text in ("timeout: 7", "frame_rate", "decode the frames that are shown", f"{output}/00000"):
        assert text in result.output
    assert not output.exists()
    assert run("plan", "--set", "reading.timeot=7").exit_code == 2


def test_failed_rows_are_no_failure(table: Path, tmp_path: Path, server: Server) -> None:
    """Rows that fail are counted; the exit code is 0, for every shard is published."""
    output = tmp_path / "out"
    result = run(
        *("download", table, "--output_folder", output, "--tmp_dir", tmp_path / "tmp"),
        *("--set", "distribution.distributor=inline", "--set", "reading.retries=0"),
    )
    assert result.exit_code == 0, result.output
    assert "1 rows: 0 ok (0 samples), 1 failed" in result.output
    assert "connect: no connection to the host" in result.output
    assert sorted(path.name for path in output.iterdir()) == [
        "00000",
        "00000.parquet",
        "00000_stats.json",
        "_made_of.json",
    ]
