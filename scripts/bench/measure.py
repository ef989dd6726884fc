"""Runs a command and says what its whole process tree used. Linux only: prctl, /proc.

``python measure.py RESULT.json COMMAND …`` is a small process of its own. It makes itself the
process that orphans of the tree fall to (a child subreaper), so that whatever the command leaves
behind is waited for and counted too. Its own time, with that of looking at the memory, is not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_INTERVAL = 0.05
# Reading a large process's memory map takes milliseconds of the cores that are measured.
_LARGEST_SHARE = 0.1
_TIME_LIMIT = 3 * 3600
_PATIENCE_WITH_ORPHANS = 10
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree used: seconds, bytes, and how it ended."""

    cpu: float
    wall: float
    peak: int
    exit_code: int
    killed: int


def measure(command: Sequence[str], folder: Path) -> Usage:
    """Run ``command`` in ``folder``, where its output becomes ``log.txt``."""
    result = folder / "usage.json"
    watch = [sys.executable, "-P", __file__, str(result), *command]
    with (folder / "log.txt").open("wb") as log:
        # Unchecked: a tool that fails is shown by what it wrote, one that cannot start just below.
        subprocess.run(
            watch, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    if not result.exists():
        raise SystemExit(f"not measured: {(folder / 'log.txt').read_text(errors='replace')}")
    return Usage(**json.loads(result.read_text()))


def main() -> None:
    """Measure the command that is given as arguments, and write what it used."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this kernel has no child subreapers")
    Path(sys.argv[1]).write_text(json.dumps(asdict(_watch(sys.argv[2:]))))


def _watch(command: Sequence[str]) -> Usage:
    killer = _Killer()
    memory = _Memory()
    begin = time.monotonic()
    root = os.posix_spawnp(command[0], list(command), os.environ)
    memory.start()
    cpu = wall = 0.0
    exit_code = -1
    with suppress(ChildProcessError):  # nobody is left
        while True:
            pid, status, usage = os.wait4(-1, 0)
            cpu += usage.ru_utime + usage.ru_stime  # with its descendants that it waited for
            if pid == root:
                wall = time.monotonic() - begin
                exit_code = os.waitstatus_to_exitcode(status)
                signal.alarm(_PATIENCE_WITH_ORPHANS)
    return Usage(cpu, wall, memory.stop(), exit_code, killer.killed)


class _Killer:
    """Ends what runs too long: the command, or orphans that it left behind."""

    def __init__(self) -> None:
        self.killed = 0
        signal.signal(signal.SIGALRM, self._kill)
        signal.alarm(_TIME_LIMIT)

    def _kill(self, *_: object) -> None:
        for pid in _descendants():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed += 1
        signal.alarm(1)  # what was started in between


class _Memory:
    """Looks at the tree's memory now and then; keeps the most that was seen.

    Counted are proportional set sizes, which share out pages that several processes have, and the
    growth of tmpfs, where files lie in memory that is no process's.
    """

    def __init__(self) -> None:
        self._peak = 0
        self._shared_before = _shared_memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> int:
        """Stop looking; the peak in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        pause = _INTERVAL
        while not self._ended.wait(pause):
            begin = time.thread_time()
            in_files = max(0, _shared_memory() - self._shared_before)
            self._peak = max(self._peak, in_files + sum(map(_proportional, _descendants())))
            pause = max(_INTERVAL, (time.thread_time() - begin) / _LARGEST_SHARE)


def _descendants() -> Iterator[int]:
    """The processes under this one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        entry = folder.name
        if entry.isdecimal():
            with suppress(OSError):  # it has just ended
                # The name, in brackets, may hold anything; the parent is the second word after it.
                words = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(words[1]), []).append(int(entry))
    found = children.get(os.getpid(), [])
    while found:
        yield from found
        found = [child for pid in found for child in children.get(pid, [])]


def _proportional(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _shared_memory() -> int:
    with suppress(OSError):
        volume = os.statvfs(_SHARED_MEMORY)
        return (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    return 0


if __name__ == "__main__":
    main()
