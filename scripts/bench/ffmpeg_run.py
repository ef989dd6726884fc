"""Runs the commands of a JSON file, so many at a time: ``python ffmpeg_run.py FILE NUMBER``.

A command that fails is one video that fails, as with the other tools. Nothing is imported that
need not be: this process is counted as part of ffmpeg's tree.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main() -> None:
    """Run them all."""
    commands: list[list[str]] = json.loads(Path(sys.argv[1]).read_text())
    with ThreadPoolExecutor(int(sys.argv[2])) as pool:
        for _ in pool.map(subprocess.call, commands):
            pass


if __name__ == "__main__":
    main()
