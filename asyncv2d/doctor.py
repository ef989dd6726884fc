"""Looks at this machine: what a job may need, whether it is there, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from msgspec import Struct

Grade = Literal["ok", "note", "problem"]

_INSTALL_YTDLP = "pip install 'asyncv2d[ytdlp]'"
_OLD_DAYS = 90
_LEAST_PYTHON = (3, 11)
_NEEDED_ENCODERS = ("libx264", "aac")
_FURTHER_ENCODERS = ("libx265", "libvpx-vp9", "libsvtav1", "libopus", "libmp3lame", "flac", "mjpeg")
_LEAST_FREE = 1 << 30
_USUAL_FREE = 20 << 30
_USUAL_SHARED = 2 << 30
_LEAST_FILES = 512
_USUAL_FILES = 4096
_JS_RUNTIMES = ("deno", "node", "bun", "qjs")
_DEADLINE_S = 20.0


class Finding(Struct, frozen=True):
    """One line: what was looked at, what was found, and how to mend it.

    A ``problem`` stops jobs from running; a ``note`` stops or slows some of them.
    """

    name: str
    grade: Grade
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.grade:8}{self.name}: {self.found}"
        return f"{line}\n{'':8}  → {self.mend}" if self.mend else line


def main() -> tuple[str, int]:
    """The findings as text, and the exit code: 1 if there is a problem."""
    findings = list(examine())
    problems = sum(finding.grade == "problem" for finding in findings)
    notes = sum(finding.grade == "note" for finding in findings)
    lines = [*map(str, findings), "", _summary(problems, notes)]
    return "\n".join(lines), 1 if problems else 0


def examine() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        _encoders,
        _temporary_space,
        _shared_memory,
        _open_files,
        _ytdlp,
        _ytdlp_parts,
        _js_runtime,
    )
    for check in checks:
        yield check()


def _summary(problems: int, notes: int) -> str:
    if problems:
        return f"{_count(problems, 'problem')} to mend before a job can run"
    return f"ready; {_count(notes, 'note')} on what does not work yet" if notes else "ready"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _python() -> Finding:
    found = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info[:2] >= _LEAST_PYTHON:
        return Finding("Python", "ok", found)
    least = ".".join(map(str, _LEAST_PYTHON))
    return Finding("Python", "problem", found, f"install Python {least} or newer")


def _encoders() -> Finding:
    try:
        import av
    except ImportError as error:
        return Finding("encoders", "problem", f"PyAV cannot be used: {error}", "pip install av")
    known = {name for name in (*_NEEDED_ENCODERS, *_FURTHER_ENCODERS) if _can_encode(name)}
    found = f"PyAV {av.__version__} with {', '.join(sorted(known)) or 'none that is needed'}"
    mend = "pip install --force-reinstall --only-binary av av"
    grades: Mapping[Grade, Sequence[str]] = {"problem": _NEEDED_ENCODERS, "note": _FURTHER_ENCODERS}
    for grade, names in grades.items():
        if missing := [name for name in names if name not in known]:
            return Finding("encoders", grade, f"{found}; missing {', '.join(missing)}", mend)
    return Finding("encoders", "ok", found)


def _can_encode(name: str) -> bool:
    import av

    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True


def _temporary_space() -> Finding:
    folder = Path(tempfile.gettempdir())
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be used: {error.strerror}"
        return Finding("temporary space", "problem", detail, "set TMPDIR, or --tmp_dir of the job")
    found = f"{_size(free)} free in {folder}"
    if free >= _USUAL_FREE:
        return Finding("temporary space", "ok", found)
    mend = "free some, or give --tmp_dir a folder on a larger disk"
    return Finding("temporary space", "problem" if free < _LEAST_FREE else "note", found, mend)


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        found = "none; large bodies go to the temporary space"
        return Finding("shared memory", "note" if sys.platform == "linux" else "ok", found)
    found = f"{_size(free)} free in {folder}"
    if free >= _USUAL_SHARED and os.access(folder, os.W_OK):
        return Finding("shared memory", "ok", found)
    mend = "in a container: --shm-size=4g; else lower distribution.byte_budget to half of it"
    return Finding("shared memory", "note", f"{found}; bodies go to the disk instead", mend)


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    endless = limit == resource.RLIM_INFINITY
    found = "no limit" if endless else f"{limit} at a time"
    if endless or limit >= _USUAL_FILES:
        return Finding("open files", "ok", found)
    grade: Grade = "problem" if limit < _LEAST_FILES else "note"
    return Finding("open files", grade, found, f"ulimit -n {_USUAL_FILES * 4}, in the same shell")


def _ytdlp() -> Finding:
    try:
        found = version("yt-dlp")
    except PackageNotFoundError:
        detail = "not installed; videos of web pages cannot be downloaded"
        return Finding("yt-dlp", "note", detail, _INSTALL_YTDLP)
    age = _age_days(found)
    if age is None or age <= _OLD_DAYS:
        return Finding("yt-dlp", "ok", found)
    detail = f"{found} is {age} days old; sites change faster than that"
    return Finding("yt-dlp", "note", detail, f"{_INSTALL_YTDLP} --upgrade --upgrade-strategy eager")


def _age_days(release: str, today: date | None = None) -> int | None:
    """Days since a release of yt-dlp, which is named by its date."""
    parts = re.match(r"(\d{4})\.(\d{1,2})\.(\d{1,2})", release)
    if parts is None:
        return None
    try:
        day = date(*map(int, parts.groups()))
    except ValueError:
        return None
    return ((today or datetime.now(UTC).date()) - day).days


def _ytdlp_parts() -> Finding:
    name = "yt-dlp's helpers"
    modules = {
        "yt_dlp_ejs": "yt-dlp-ejs",
        "Cryptodome": "pycryptodomex",
        "brotli": "brotli",
        "regex": "regex",
        "websockets": "websockets",
    }
    missing = [
        package for module, package in modules.items() if not importlib.util.find_spec(module)
    ]
    if not missing:
        return Finding(name, "ok", ", ".join(modules.values()))
    return Finding(name, "note", f"missing: {', '.join(missing)}", _INSTALL_YTDLP)


def _js_runtime() -> Finding:
    """A program that runs the JavaScript with which YouTube hides its formats."""
    name = "JavaScript runtime"
    for program in _JS_RUNTIMES:
        path = shutil.which(program, path=_search_path())
        if path is not None:
            return Finding(name, "ok", f"{program} {_program_version(path)}".rstrip())
    detail = f"none of {', '.join(_JS_RUNTIMES)}; many YouTube videos have no formats without one"
    return Finding(name, "note", detail, "pip install deno")


def _search_path() -> str:
    """The usual one, and the folder of this Python's own programs: deno comes as a package."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join([own, os.environ.get("PATH", os.defpath)])


def _program_version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else ""


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
