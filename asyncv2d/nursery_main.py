"""The program that processes of one kind are forked from, which all have the same to import.

It imports what they need once, and then forks as often as it is told to: each starts within
milliseconds and shares most of its memory with the others. It never runs a thread or a loop of its
own, so there is nothing that a fork could break. It is a program, or itself the fork of a process
that has imported a part of that already.

It is talked to over the socket that is its standard input, in messages of fixed length. The orders
are FORK, with the file descriptors that are to be the new process's 0, 1 and perhaps 2, and KILL;
the news are READY, BORN and DEAD.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Sequence

ORDER = struct.Struct(">ci")
FORK, KILL = b"F", b"K"
NEWS = struct.Struct(">cii")
READY, BORN, DEAD = b"R", b"B", b"D"
LENGTH = struct.Struct(">Q")
DIES_WITH_PARENT, PREPARES = "dies-with-parent", "prepares"
MOST_FDS = 3

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_LAST_GOODBYE_S = 60
_STOPS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Serve as a program: the words are the arguments."""
    serve(sys.argv[1:])


def serve(words: Sequence[str]) -> None:
    """Import the module that the first word names, and fork processes that run its ``main``.

    Where a word says so, its ``prepare`` is called beforehand. Returns in each of the processes.
    """
    gc.disable()  # looking for garbage in what is shared would copy it
    _be_called("nursery")
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)  # whoever started this decides
    if DIES_WITH_PARENT in words:
        _die_with_parent()
    orders = socket.socket(fileno=os.dup(0))
    module = importlib.import_module(words[0])
    if PREPARES in words:
        module.prepare()
    _warm_up(orders)
    gc.freeze()
    if _Nursery(orders).forks():
        gc.enable()
        _be_called(module.__name__.rpartition(".")[2])
        module.main()


def _warm_up(orders: socket.socket) -> None:
    """Call what every process would have to call first; it comes as a pickle with its length."""
    (length,) = LENGTH.unpack(_exactly(orders, LENGTH.size))
    function = pickle.loads(_exactly(orders, length))
    if function is not None:
        function()


def _exactly(orders: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = orders.recv(size - len(content))
        if not piece:
            raise SystemExit  # the parent is gone already
        content += piece
    return content


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, so a killed run leaves nothing running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_called(name: str) -> None:
    """What ``top`` shows of it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, f"asyncv2d {name}".encode())


class _Nursery:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children = set[int]()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()

    def forks(self) -> bool:
        """Serve until the parent is gone. True in each process that is forked meanwhile."""
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._orders, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._tell(READY)
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._woken:
                    os.read(self._woken, 1024)
                    self._reap()
                    continue
                order, fds = self._listen()
                if not order:
                    self._say_goodbye()
                    return False
                kind, pid = ORDER.unpack(order)
                if kind == KILL:
                    self._kill(pid)
                elif self._fork(fds):
                    return True

    def _listen(self) -> tuple[bytes, Sequence[int]]:
        """The next order; none where the parent is gone."""
        try:
            return socket.recv_fds(self._orders, ORDER.size, MOST_FDS)[:2]
        except ConnectionResetError:
            return b"", ()

    def _fork(self, fds: Sequence[int]) -> bool:
        nursery, code = os.getpid(), 0
        try:
            with warnings.catch_warnings():
                # If there is a thread, it is that of pyarrow's allocator, which knows of forks.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid: int | None = os.fork()
        except OSError as error:
            pid, code = None, error.errno or 0
        if pid == 0:
            self._grow_up(nursery, fds)
            return True
        for fd in fds:
            os.close(fd)
        if pid is None:
            self._tell(BORN, 0, code)
        else:
            self._children.add(pid)
            self._tell(BORN, pid)
        return False

    def _grow_up(self, nursery: int, fds: Sequence[int]) -> None:
        """Let go of all that is the nursery's."""
        signal.set_wakeup_fd(-1)
        for number in (*_STOPS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _die_with_parent()
        if os.getppid() != nursery:  # it died before that was asked for
            raise SystemExit
        if "numpy.random" in sys.modules:  # all would draw the same; Python's own sees to that
            sys.modules["numpy.random"].seed()
        self._selector.close()
        self._orders.close()
        os.close(self._woken)
        os.close(self._waker)
        for place, fd in enumerate(fds):
            os.dup2(fd, place)
            os.close(fd)

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._tell(DEAD, pid, os.waitstatus_to_exitcode(status))

    def _kill(self, pid: int) -> None:
        if pid in self._children:  # until it is waited for, nobody else can have its number
            os.kill(pid, signal.SIGKILL)

    def _tell(self, kind: bytes, pid: int = 0, code: int = 0) -> None:
        try:
            self._orders.sendall(NEWS.pack(kind, pid, code))
        except (BrokenPipeError, ConnectionResetError):  # of which ``_listen`` will hear
            return

    def _say_goodbye(self) -> None:
        """Wait until all have ended: they see by themselves that nobody talks to them any more."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LAST_GOODBYE_S)
        for pid in self._children:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
