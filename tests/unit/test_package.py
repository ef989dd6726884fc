"""Tests of the package as it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import asyncv2d

MEDIA = {"torch", "cv2", "av", "scenedetect", "yt_dlp", "pandas"}
EVERYTHING = MEDIA | {"numpy", "pyarrow", "aiohttp", "pydantic", "typer", "yaml"}


def test_the_wheel_is_what_is_tested() -> None:
    """Where the built wheel is to be tested, the source folder is out of the way."""
    installed = "site-packages" in Path(asyncv2d.__file__).parts
    assert installed or "ASYNCV2D_TEST_WHEEL" not in os.environ


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import asyncv2d", EVERYTHING),
        ("import asyncv2d; asyncv2d.Row", EVERYTHING),
        ("import asyncv2d.cli", EVERYTHING - {"typer"}),
        ("import asyncv2d.run, asyncv2d.config", EVERYTHING - {"pydantic"}),
        ("import asyncv2d.launch.loop", MEDIA),
    ],
)
def test_imports_are_light(statement: str, heavy: set[str]) -> None:
    """Nothing heavy is imported before it is used, and FFmpeg only where media is worked on."""
    program = f"{statement}; import sys; print(sorted(set(sys.modules) & {heavy!r}))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """``__all__`` is sorted, and each name in it can be had."""
    assert asyncv2d.__all__ == sorted(asyncv2d.__all__)
    assert all(hasattr(asyncv2d, name) for name in asyncv2d.__all__)
