"""A pipeline joined wrongly is a type error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def check(path: Path) -> list[str]:
    """What mypy says of a file, one error a line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)]
    folder = path.parent
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not result.stderr
    return result.stdout.splitlines()


def test_right_joins(tmp_path: Path) -> None:
    """What fits is accepted."""
    copy = tmp_path / "right_join.py"
    copy.write_text((HERE / "right_join.py").read_text())
    assert check(copy) == []


def test_wrong_joins(tmp_path: Path) -> None:
    """Each wrong join is refused, and nothing else is."""
    text = (HERE / "wrong_join.py").read_text()
    wrong = [n for n, line in enumerate(text.splitlines(), 1) if "type: ignore" in line]
    copy = tmp_path / "wrong_join.py"
    copy.write_text(re.sub("  # type: ignore.*", "", text))
    errors = [line for line in check(copy) if ": error: " in line]
    assert [int(line.split(":")[1]) for line in errors] == wrong
    assert all("Stage[" in line or "Pipeline[" in line for line in errors)
