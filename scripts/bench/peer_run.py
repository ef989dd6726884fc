"""Runs video2dataset 1.3.0 with the arguments in a JSON file: ``python peer_run.py FILE``.

Executed by the Python of video2dataset's own virtual environment; needs nothing of asyncv2d.
What would keep a released subsampler from working at all is put right here, from outside. Nothing
is changed in what it does, or in how fast it does it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Only there in the environment that this file is run in, where its pins keep it apart from ours;
# never where types are checked.
from video2dataset import video2dataset
from video2dataset.data_reader import WebFileDownloader
from video2dataset.subsamplers import (
    AudioRateSubsampler,
    FrameSubsampler,
    ResolutionSubsampler,
)


def patch() -> None:
    """Make the subsamplers and the sound-only downloads work."""
    # The worker reads this attribute of the first subsampler; no subsampler has it.
    ResolutionSubsampler.encode_formats = {"video": "mp4"}
    FrameSubsampler.encode_formats = {"video": "mp4"}
    AudioRateSubsampler.encode_formats = {"audio": "mp3"}
    # They take their stream out of the dictionary that the worker is iterating over.
    for subsampler in (FrameSubsampler, AudioRateSubsampler):
        subsampler.__call__ = _on_a_copy(subsampler.__call__)
    WebFileDownloader.__call__ = _without_what_is_not_asked(WebFileDownloader.__call__)


def _on_a_copy(call: Callable[..., Any]) -> Callable[..., Any]:
    def patched(self: Any, streams: Any, metadata: Any = None) -> Any:
        return call(self, dict(streams), metadata)

    return patched


def _without_what_is_not_asked(call: Callable[..., Any]) -> Callable[..., Any]:
    """Where the picture is not wanted, the downloader trips over removing it; do that for it."""

    def patched(self: Any, url: str) -> Any:
        both = WebFileDownloader(
            self.timeout, self.tmp_dir, {"video": "mp4", **self.encode_formats}
        )
        paths, error = call(both, url)
        for modality in set(paths) - set(self.encode_formats):
            Path(paths.pop(modality)).unlink()
        return paths, error

    return patched


patch()  # also where its pool imports this file anew, in each of its processes

if __name__ == "__main__":
    video2dataset(**json.loads(Path(sys.argv[1]).read_text()))
