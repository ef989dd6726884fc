"""A process that was forked here, to be ended and waited for."""

from __future__ import annotations

import os
import signal
import threading
import time

_LOOK_EVERY_S = 0.005


class Forked:
    """What is needed of ``subprocess.Popen``, which cannot fork without starting a program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        with self._lock:
            return self._look()

    def kill(self) -> None:
        """End it, if it runs."""
        with self._lock:
            if self._look() is None:  # not waited for yet: nobody else can have its number
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit code, when it has ended. Others may look at it, or kill it, meanwhile."""
        while (code := self.poll()) is None:
            time.sleep(_LOOK_EVERY_S)
        return code

    def _look(self) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # who started us had SIGCHLD ignored: nobody knows the code
                pid, status = self.pid, 0
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code
