"""Tests of the package as it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncv2d


def test_the_wheel_is_what_is_tested() -> None:
    """Where the built wheel is to be tested, the source folder is out of the way."""
    installed = "site-packages" in Path(asyncv2d.__file__).parts
    assert installed or "ASYNCV2D_TEST_WHEEL" not in os.environ


def test_importing_the_package_is_cheap() -> None:
    """Nothing heavy is imported before it is used."""
    heavy = "torch cv2 pandas yt_dlp av numpy pyarrow aiohttp scenedetect pydantic typer"
    program = f"import asyncv2d, sys; print(sorted(set(sys.modules) & set({heavy.split()!r})))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """``__all__`` is sorted, and each name in it can be had."""
    assert asyncv2d.__all__ == sorted(asyncv2d.__all__)
    assert all(hasattr(asyncv2d, name) for name in asyncv2d.__all__)
