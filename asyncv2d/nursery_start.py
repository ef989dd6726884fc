"""Starts the process that others are forked from: as a program, or as a fork of this one."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from asyncv2d.forked import Forked
from asyncv2d.nursery_main import DIES_WITH_PARENT, PREPARES, serve

# numpy would start a thread for each core, in every process, for linear algebra that nobody does.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
_FIRST_OWN_FD = 3


class Kind(Struct, frozen=True):
    """What the processes of a nursery run: the ``main`` of ``module``.

    ``prepares``: its ``prepare`` is called before they are forked.
    With ``dies_with_parent`` they are killed when the process ends that had them started; else they
    see that their standard input ends. ``own_session`` keeps Ctrl-C in the terminal from them.
    ``keeps_stderr``: what they say there can be read, and does not go where this process's does.
    """

    module: str
    dies_with_parent: bool
    own_session: bool
    keeps_stderr: bool
    prepares: bool = False

    @property
    def words(self) -> list[str]:
        """The arguments of the process that others are forked from."""
        words = [self.module]
        words += [DIES_WITH_PARENT] if self.dies_with_parent else []
        return [*words, PREPARES] if self.prepares else words


WORKER = Kind("asyncv2d.worker_main", dies_with_parent=True, own_session=False, keeps_stderr=True)
LOOP = Kind(
    "asyncv2d.launch.loop",
    dies_with_parent=False,
    own_session=True,
    keeps_stderr=False,
    prepares=True,
)


class Begun(Struct, frozen=True):
    """A process that others are to be forked from: it imports what they need.

    ``line`` is the socket to talk to it, ``said`` what it writes on stderr, where that is kept.
    """

    kind: Kind
    process: subprocess.Popen[bytes] | Forked
    line: socket.socket
    said: BinaryIO | None

    def end(self) -> None:
        """End it, and with it what it forked and has not ended."""
        self.process.kill()
        self.process.wait()
        self.line.close()
        if self.said is not None:
            self.said.close()


def begin(kind: Kind) -> Begun:
    """Start it, without waiting for anything."""
    # -u: what it prints before it dies arrives. -P: files in the user's folder are not imported.
    command = [sys.executable, "-u", "-P", "-m", "asyncv2d.nursery_main", *kind.words]
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        said = stack.enter_context(tempfile.TemporaryFile()) if kind.keeps_stderr else None
        process = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**_ENVIRONMENT, **os.environ},
            start_new_session=kind.own_session,
        )
        theirs.close()
        stack.pop_all()
    return Begun(kind, process, ours, said)


def fork(kind: Kind) -> Begun | None:
    """Start it as a fork, which saves importing again what is imported here.

    Only for a process that has no threads, no loop, and no files but the standard streams. None in
    the new process, and in all that are forked from it, once they are to end.
    """
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        said = stack.enter_context(tempfile.TemporaryFile()) if kind.keeps_stderr else None
        pid = os.fork()
        if pid != 0:
            theirs.close()
            stack.pop_all()
            return Begun(kind, Forked(pid), ours, said)
        _take_streams(kind, theirs, said)
    os.closerange(_FIRST_OWN_FD, os.sysconf("SC_OPEN_MAX"))
    serve(kind.words)
    return None


def _take_streams(kind: Kind, orders: socket.socket, said: BinaryIO | None) -> None:
    """What ``Popen`` does for a program."""
    if kind.own_session:
        os.setsid()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(orders.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
        if said is not None:
            os.dup2(said.fileno(), 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(write_through=True)  # what it prints before it dies arrives
