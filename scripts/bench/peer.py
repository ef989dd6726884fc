"""Makes the virtual environment that video2dataset 1.3.0 runs in.

Its own requirements cannot be installed together any more; these versions were found to work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PEER = "video2dataset==1.3.0"
_PYTHON = "python3.11"  # the last one that all of these have wheels for
_PINS = (
    "torch==2.13.0",
    "torchdata==0.7.1",
    "numpy==1.26.4",
    "pyarrow==15.0.2",
    "pandas==2.2.3",
    "scipy==1.13.1",
    "opencv-python==4.11.0.86",
    "scenedetect==0.6.2",
    "decord==0.6.0",
    "webdataset==1.0.2",
    "transformers==4.37.1",
    "fire",
    "ffmpeg-python",
    "webvtt-py",
    "omegaconf",
    "tqdm",
    "timeout-decorator",
    "langdetect",
    "einops",
    "soundfile",
    "wandb",
    "yt-dlp",
    "fsspec",
)
# Imported with the package, used by its data loader only, which no job here touches.
_EMPTY_MODULES = ("torchaudio/__init__.py", "torchaudio/functional.py")


def make_peer(folder: Path) -> Path:
    """Make the environment in ``folder``; gives the path of its Python."""
    python = folder / "bin" / "python"
    _make_venv(folder)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", PEER], check=True)
    subprocess.run([*pip, *_PINS], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_output([str(python), "-c", where]))
    for name in _EMPTY_MODULES:
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).touch()
    subprocess.run([str(python), "-c", "import video2dataset"], check=True)
    return python


def _make_venv(folder: Path) -> None:
    python = shutil.which(_PYTHON)
    if python is None or sys.version_info[:2] == (3, 11):
        venv.create(folder, with_pip=True)
    else:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)


def peer_version(python: Path) -> str:
    """The version of video2dataset in the environment of ``python``, and of that Python."""
    code = (
        "import platform; from importlib.metadata import version;"
        "print(version('video2dataset'), 'on Python', platform.python_version())"
    )
    return _output([str(python), "-c", code])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
