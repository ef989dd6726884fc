"""From a name to a class."""

from __future__ import annotations

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
