"""A YAML file whose every part knows its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncv2d.problems import Location, Problem
from asyncv2d.yaml_source import YamlSource

TEXT = """\
# a comment
reading:
    timeout: 60
    list: [a, {b: c}]
"anchored": &x {key: 1}
alias: *x
"""


@pytest.fixture
def source(tmp_path: Path) -> YamlSource:
    """That file."""
    path = tmp_path / "f.yaml"
    path.write_text(TEXT)
    return YamlSource.read(path)


@pytest.mark.parametrize(
    ("location", "at_key", "place"),
    [
        (("reading",), True, "2:1"),
        (("reading", "timeout"), True, "3:5"),
        (("reading", "timeout"), False, "3:14"),
        (("reading", "list", 1, "b"), False, "4:19"),
        (("reading", "list", 7), False, "4:11"),
        (("reading", "not there"), False, "3:5"),
        (("anchored", "key"), False, "5:22"),
        (("alias", "key"), False, "5:22"),
        (("elsewhere", "deep"), False, "2:1"),
        ((), False, "2:1"),
    ],
)
def test_places(
    source: YamlSource, tmp_path: Path, location: Location, at_key: bool, place: str
) -> None:
    """A problem is placed at its key or value, or at the nearest part that was written."""
    (line,) = source.located([Problem(location, "x", at_key=at_key)])
    assert line.startswith(f"{tmp_path}/f.yaml:{place}: ")


def test_in_the_order_of_the_file(source: YamlSource) -> None:
    """Problems are sorted by place, those of overrides last."""
    source.override("reading.timeout=5")
    found = source.located(
        [Problem(("reading", "timeout"), "c"), Problem(("alias",), "b"), Problem(("reading",), "a")]
    )
    assert [line[-1] for line in found] == ["a", "b", "c"]
    assert found[2].startswith("--set reading.timeout: ")


def test_twice(tmp_path: Path) -> None:
    """A key given twice is a problem at its second place, at any depth."""
    path = tmp_path / "f.yaml"
    path.write_text("a: {b: 1, c: 2, b: 3}\na: 4\n")
    source = YamlSource.read(path)
    lines = [line.removeprefix(f"{path}:") for line in source.located(source.problems)]
    assert len(lines) == 2
    assert any("a.b: this key is given twice" in line for line in lines)
    assert any("a: this key is given twice" in line for line in lines)


def test_a_mapping_has_no_places() -> None:
    """Problems of a configuration given in Python stand without a place."""
    source = YamlSource.of_mapping({"a": 1})
    assert source.located([Problem(("a",), "x")]) == ["a: x"]
