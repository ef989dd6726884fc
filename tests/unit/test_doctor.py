"""What the doctor says of this machine, and of worse ones."""

from __future__ import annotations

import importlib.util
import resource
import shutil
import sys
from collections import namedtuple
from datetime import date
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from asyncv2d import doctor

Usage = namedtuple("Usage", "total used free")
NAMES = ["Python", "encoders", "temporary space", "shared memory", "open files"]
PAGES = ["yt-dlp", "yt-dlp's helpers", "JavaScript runtime"]


def grades() -> dict[str, str]:
    """The grade of everything that is looked at."""
    return {finding.name: finding.grade for finding in doctor.examine()}


def test_a_machine_that_runs_these_tests() -> None:
    """Has everything that a job needs, and each thing has its line."""
    text, code = doctor.main()
    assert code == 0
    assert [finding.name for finding in doctor.examine()] == [*NAMES, *PAGES]
    assert all(f" {name}: " in text for name in NAMES)
    assert text.splitlines()[-1].startswith("ready")


def test_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a remedy each, and the exit code says so."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 1, "final", 0))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(doctor, "_can_encode", lambda name: name != "libx264")
    text, code = doctor.main()
    found = grades()
    assert code == 1
    assert [name for name in found if found[name] == "problem"] == [
        *("Python", "encoders", "temporary space", "open files")
    ]
    assert found["shared memory"] == "note"
    assert "missing libx264" in text
    assert "ulimit -n" in text
    assert text.splitlines()[-1] == "4 problems to mend before a job can run"
    assert all(finding.mend for finding in doctor.examine() if finding.grade != "ok")


def test_without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but web pages works: no problem, but said."""

    def missing(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    text, code = doctor.main()
    assert code == 0
    assert [grades()[name] for name in PAGES] == ["note"] * 3
    assert "pip install 'asyncv2d[ytdlp]'" in text


@pytest.mark.parametrize(
    ("release", "days"),
    [("2026.01.31", 59), ("2026.3.31.123456", 0), ("unknown", None), ("2026.13.01", None)],
)
def test_age(release: str, days: int | None) -> None:
    """Releases of yt-dlp are named by their day."""
    assert doctor._age_days(release, date(2026, 3, 31)) == days
