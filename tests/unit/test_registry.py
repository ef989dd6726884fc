"""From a name to a class."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncv2d import registry
from asyncv2d.registry import did_you_mean, load, load_subsampler, names, subsampler_names
from asyncv2d.types import UserError


@pytest.mark.parametrize("kind", ["read", "fetch", "write", "subsample"])
def test_every_stage_can_be_loaded(kind: registry.Kind) -> None:
    """Each file defines one class, found by the file's name."""
    assert names(kind)
    assert all(load(kind, name).__module__.endswith(name) for name in names(kind))


def test_every_subsampler_can_be_named() -> None:
    """The name in YAML leads to the class of that name."""
    assert [load_subsampler(name).__name__ for name in subsampler_names()] == subsampler_names()


@pytest.mark.parametrize("name", ["FrameSubsample", "Frame", "framesubsampler", ""])
def test_an_unknown_subsampler(name: str) -> None:
    """Is refused with what there is: names are exact."""
    with pytest.raises(UserError, match=r"no subsampler is called .*(did you mean|expected one)"):
        load_subsampler(name)


@pytest.mark.parametrize("name", ["_lines", "../csv", "csv.csv", "cvs", ""])
def test_an_unknown_stage(name: str) -> None:
    """Is refused, and nothing is imported for it."""
    with pytest.raises(UserError, match="no read stage is called"):
        load("read", name)


def test_suggestions() -> None:
    """A near miss is named, else all there are."""
    assert did_you_mean("timeot", ["timeout", "retries"]) == "; did you mean 'timeout'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; expected one of: a, b"


def test_two_classes_in_a_file() -> None:
    """A stage file with two public classes is refused with its name."""
    members = (load("read", "csv"), load("read", "tsv"))
    module = members[0].__module__
    with pytest.raises(UserError, match="must define exactly one public stage class, not 0"):
        registry._stage_class("another", members)
    assert registry._stage_class(module, members) is members[0]


def test_an_incomplete_installation() -> None:
    """Without any stages the program says what to do."""
    with pytest.raises(UserError, match="not installed completely"):
        registry._packages("asyncv2d.no_such_group")


def install(folder: Path) -> str:
    """Put a plug-in beside what is installed, and give what a plan says with it on stderr."""
    info = folder / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asyncv2d.stages]\nplug = plug\n")
    planned = subprocess.run(
        [sys.executable, "-P", "-m", "asyncv2d", "plan"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert planned.returncode == 2
    return planned.stderr


@pytest.mark.parametrize("fault", ["it is not there", "raise RuntimeError('no licence')"])
def test_a_plug_in_that_cannot_be_imported(tmp_path: Path, fault: str) -> None:
    """Is named in one line, in which its own error is told."""
    package = tmp_path / "plug" if "raise" in fault else None
    if package is not None:
        package.mkdir()
        (package / "__init__.py").write_text(fault)
    said = install(tmp_path)
    assert said.startswith("error: plug, which names itself in asyncv2d.stages, cannot be imported")
    assert ("no licence" if package else "ModuleNotFoundError") in said
    assert said.count("\n") == 1


def test_a_plug_in_with_a_name_that_is_taken(tmp_path: Path) -> None:
    """It does not stand for the other one without a word."""
    (tmp_path / "plug" / "write").mkdir(parents=True)
    (tmp_path / "plug" / "write" / "dummy.py").touch()
    said = install(tmp_path)
    assert said == (
        "error: asyncv2d_stages.write.dummy and plug.write.dummy have one name;"
        " uninstall one's package\n"
    )
