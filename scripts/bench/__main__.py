"""Measures asyncv2d beside ffmpeg and video2dataset: ``python scripts/bench --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a folder, Python puts the folder itself there; the files here import each other by their
# full names, as mypy and `python -m scripts.bench` know them.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.command_line import main

if __name__ == "__main__":
    main()
