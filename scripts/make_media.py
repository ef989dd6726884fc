"""Writes the demo videos into a folder: ``python scripts/make_media.py FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from asyncv2d.made_media import demo_videos


def main() -> None:
    """Make the folder and the videos, and print their paths."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, video in demo_videos().items():
        print(video.write(folder / name))


if __name__ == "__main__":
    main()
