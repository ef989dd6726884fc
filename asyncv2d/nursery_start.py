"""Starts the process that others are forked from, with few imports: a command begins with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from asyncv2d.nursery_main import DIES_WITH_PARENT, PREPARES

# numpy would start a thread for each core, in every process, for linear algebra that nobody does.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Kind:
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


@dataclass(frozen=True, slots=True)
class Begun:
    """A process that others are to be forked from: it imports what they need.

    ``line`` is the socket to talk to it, ``said`` what it writes on stderr, where that is kept.
    """

    kind: Kind
    process: subprocess.Popen[bytes]
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
