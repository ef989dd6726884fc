"""A process that was forked here, and the nursery that is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from asyncv2d.forked import Forked

IMPORTS_IN_A_FORK = """
import os, sys
import asyncv2d.run
from asyncv2d.nursery_main import LENGTH
from asyncv2d.nursery_start import WORKER, fork

held, _ = os.pipe()
begun = fork(WORKER)
if begun is None:
    sys.exit(0)
begun.line.sendall(LENGTH.pack(2) + b"N.")  # None, as a pickle: no warm-up
print(begun.line.recv(1)[:1].decode())
theirs = f"/proc/{begun.process.pid}/fd"
files = {os.readlink(f"{theirs}/{number}") for number in os.listdir(theirs)}
print(os.readlink(f"/proc/self/fd/{held}") in files)
begun.end()
print(begun.process.poll())
"""


def run(*command: str) -> int:
    """Start a process that this one has to wait for."""
    return os.posix_spawn(sys.executable, [sys.executable, "-c", *command], os.environ)


def test_a_process_that_ends_by_itself() -> None:
    """Its exit code is there, as often as it is asked for."""
    process = Forked(run("raise SystemExit(3)"))
    assert process.wait() == 3
    assert process.wait() == process.poll() == 3
    process.kill()  # nothing is left to kill


def test_a_process_that_is_killed_while_another_thread_waits_for_it() -> None:
    """The code is the signal, as in ``subprocess``."""
    process = Forked(run("input()"))
    assert process.poll() is None
    with ThreadPoolExecutor(1) as thread:
        code = thread.submit(process.wait)
        process.kill()
        assert code.result() == -9


def test_a_nursery_that_is_a_fork() -> None:
    """It gets ready, holds no file of the process that it was forked from, and can be ended."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_IN_A_FORK], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["R", "False", "-9"], done.stderr


def test_where_ends_of_processes_are_ignored() -> None:
    """As some programs leave it to those that they start: that it ended is known, and no more."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = Forked(run("raise SystemExit(3)"))
        assert process.wait() == 0
        process.kill()
    finally:
        signal.signal(signal.SIGCHLD, before)
