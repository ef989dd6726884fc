"""Finding the input: files, folders and patterns, here and elsewhere, and their formats."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import known_implementations

from asyncv2d.inputs import find_inputs, format_of
from asyncv2d.types import UserError


def make(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")


def found(folder: Path, pattern: str, input_format: str | None = None) -> tuple[str, list[str]]:
    """The format, and the files by their names in the folder."""
    kind, paths = find_inputs(str(folder / pattern), input_format)
    return kind, [str(Path(path).relative_to(folder)) for path in paths]


def refused(*given: str, input_format: str | None = None) -> str:
    """Why there is no such input, in one line."""
    with pytest.raises(UserError) as caught:
        find_inputs(given, input_format)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.TSV", "tsv"),
        ("a.tab", "tsv"),
        ("a.txt", "txt"),
        ("a.text", "txt"),
        ("a.json", "json"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.pq", "parquet"),
        ("a.tar", "webdataset"),
        ("a.tsv.gz", "tsv"),
        ("a.jsonl.zst", "jsonl"),
        ("a.b.txt.BZ2", "txt"),
        ("a.json.xz", "json"),
        ("a", "csv"),
        ("a.b", "csv"),
        ("a.gz", "csv"),
        ("a.txt/b", "csv"),
        ("-", "csv"),
        ("https://host/a.txt?b=c.parquet", "txt"),
        ("s3://bucket.txt/a", "csv"),
    ],
)
def test_the_format(name: str, kind: str) -> None:
    """Is what the name says, csv where it says nothing."""
    assert format_of(name) == kind


def test_a_file(tmp_path: Path) -> None:
    """Is taken as it is, whatever its name; also one that looks like a pattern."""
    make(tmp_path, "a.tsv", "b[1].csv", "{1..2}.txt")
    assert found(tmp_path, "a.tsv") == ("tsv", ["a.tsv"])
    assert found(tmp_path, "a.tsv", "txt") == ("txt", ["a.tsv"])
    assert found(tmp_path, "b[1].csv") == ("csv", ["b[1].csv"])
    assert found(tmp_path, "{1..2}.txt") == ("txt", ["{1..2}.txt"])


def test_standard_input() -> None:
    """Is no file to look for."""
    assert find_inputs("-", None) == ("csv", ["-"])
    assert find_inputs("-", "txt") == ("txt", ["-"])
    assert "'-' (stdin) cannot be read together with files" in refused("-", "a.csv")


def test_a_folder(tmp_path: Path) -> None:
    """All its tables are read in order of name, but no hidden files and no folders."""
    make(tmp_path, "b.csv.gz", "a.csv", "notes.md", "c.CSV", ".d.csv", "e.csv/x.csv")
    assert found(tmp_path, "") == ("csv", ["a.csv", "b.csv.gz", "c.CSV"])


def test_a_folder_without_tables(tmp_path: Path) -> None:
    """Says what was looked for."""
    make(tmp_path, "a.md")
    assert "csv or json or jsonl or parquet" in refused(str(tmp_path))
    assert "no tsv file in this folder" in refused(str(tmp_path), input_format="tsv")


def test_a_folder_of_several_formats(tmp_path: Path) -> None:
    """Which one is meant has to be said."""
    make(tmp_path, "a.csv", "a.txt.gz")
    assert "csv and txt files; choose with --input_format" in refused(str(tmp_path))
    assert found(tmp_path, "", "txt") == ("txt", ["a.txt.gz"])


class TestPattern:
    """Names with wildcards."""

    def test_of_tables(self, tmp_path: Path) -> None:
        """Takes the files that match, in order, and none that is no table."""
        make(tmp_path, "10.csv", "9.csv", "readme.md", "x/a.csv", "x/b.csv")
        assert found(tmp_path, "*") == ("csv", ["10.csv", "9.csv"])
        assert found(tmp_path, "?.csv") == ("csv", ["9.csv"])
        assert found(tmp_path, "**/*.csv") == ("csv", ["10.csv", "9.csv", "x/a.csv", "x/b.csv"])

    def test_of_names_that_say_nothing(self, tmp_path: Path) -> None:
        """Takes them all, of the format that is given."""
        make(tmp_path, "part-0", "part-1")
        assert found(tmp_path, "part-*", "jsonl") == ("jsonl", ["part-0", "part-1"])

    def test_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Counts from the working directory."""
        make(tmp_path, "a.csv", "x/b.csv")
        monkeypatch.chdir(tmp_path)
        assert find_inputs("*.csv", None) == ("csv", ["a.csv"])
        assert find_inputs("x/*", None) == ("csv", ["x/b.csv"])

    def test_that_matches_nothing(self, tmp_path: Path) -> None:
        """Is a mistake."""
        assert "no file matches this pattern" in refused(str(tmp_path / "*.csv"))
        assert "cannot read the input" in refused(str(tmp_path / "a**b"))

    def test_with_numbers(self, tmp_path: Path) -> None:
        """Stands for every name, with as many digits; each must be there."""
        make(tmp_path, *(f"{number:02d}.tar" for number in range(12)))
        names = [f"{number:02d}.tar" for number in range(8, 12)]
        assert found(tmp_path, "{08..11}.tar") == ("webdataset", names)
        assert "12.tar: no such input file" in refused(str(tmp_path / "{10..13}.tar"))


def test_several(tmp_path: Path) -> None:
    """Are one input: sorted, and no file twice."""
    make(tmp_path, "a.csv", "b.csv", "x/c.csv")
    given = [str(tmp_path / name) for name in ("x", "b.csv", "*.csv")]
    kind, paths = find_inputs(given, None)
    assert kind == "csv"
    assert paths == [str(tmp_path / name) for name in ("a.csv", "b.csv", "x/c.csv")]
    make(tmp_path, "d.txt")
    assert "csv and txt files" in refused(given[0], str(tmp_path / "d.txt"))


@pytest.mark.parametrize("given", [[""], ["no such.csv"], []])
def test_nothing(given: list[str]) -> None:
    """Is a mistake."""
    assert "no input" in refused(*given) or "no such input file" in refused(*given)


class TestElsewhere:
    """URLs that fsspec knows."""

    @pytest.fixture
    def bucket(self) -> str:
        """A folder with files."""
        for name in ("a.csv", "b.csv.gz", "notes.md", "x/c.csv"):
            with fsspec.open(f"memory://inputs/{name}", "w") as file:
                file.write("url\nu\n")
        return "memory://inputs"

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("/a.csv", ["a.csv"]),
            ("", ["a.csv", "b.csv.gz"]),
            ("/*.csv", ["a.csv"]),
            ("/**/*.csv", ["a.csv", "x/c.csv"]),
        ],
    )
    def test_found(self, bucket: str, pattern: str, names: list[str]) -> None:
        """As on this machine; what is found can be opened."""
        kind, urls = find_inputs(bucket + pattern, None)
        assert kind == "csv"
        assert [url.partition("inputs/")[2] for url in urls] == names
        for url in urls:
            with fsspec.open(url) as file:
                assert file.read() == b"url\nu\n"

    def test_a_web_address(self) -> None:
        """Is one file, which is not asked for yet; a question mark is no pattern there."""
        url = "https://host/a.txt?list=[1]*"
        assert find_inputs(url, None) == ("txt", [url])
        urls = ["https://host/0.tar", "https://host/1.tar"]
        assert find_inputs("https://host/{0..1}.tar", None) == ("webdataset", urls)

    def test_not_found(self, bucket: str) -> None:
        """Is a mistake."""
        assert refused(f"{bucket}/c.csv") == f"{bucket}/c.csv: no such input file"
        assert "no file matches this pattern" in refused(f"{bucket}/*.txt")

    def test_an_unknown_scheme(self) -> None:
        """Is told."""
        assert "Protocol not known: nosuch" in refused("nosuch://a/b.csv")

    def test_a_missing_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is told with the command that installs it."""
        driver = {"class": "no_such_package.FileSystem", "err": "Install it"}
        monkeypatch.setitem(known_implementations, "nodriver", driver)
        problem = refused("nodriver://a/b.csv")
        assert problem.startswith(
            "nodriver://a/b.csv: nodriver:// needs the driver no_such_package"
        )
        assert problem.endswith("pip install no_such_package")


def test_what_one_process_alone_can_read(tmp_path: Path) -> None:
    """Is refused: each loop process opens the input itself."""
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (str(tmp_path / "pipe.csv"), "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
        expected = f"{path}: this can be read by one process alone; use - for standard input"
        assert refused(path) == expected
