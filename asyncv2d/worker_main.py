"""The program of a worker process: take a call from stdin, answer on stdout, until stdin closes."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH = struct.Struct(">Q")
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve calls. Each message is its length (8 bytes) and a pickle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool decides
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    _send(answers, ("ready", None))
    while (call := _receive(sys.stdin.buffer)) is not None:
        _send(answers, _answer(*call))


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "value", function(*args)
    except Exception as error:  # noqa: BLE001 — the pool raises it again
        error.add_note("".join(traceback.format_exception(error)))
        return "error", _portable(error)


def _portable(error: Exception) -> Exception:
    """The error, or its traceback as text where it would not survive the way."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 — any class can fail at this in its own way
        return RuntimeError("".join(error.__notes__))
    return error


def _receive(stream: BinaryIO) -> Any:
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    return pickle.loads(stream.read(LENGTH.unpack(header)[0]))


def _send(stream: BinaryIO, message: tuple[str, Any]) -> None:
    try:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 — an answer that cannot be pickled is an error too
        data = pickle.dumps(("error", RuntimeError(f"cannot send {message!r:.500}: {error!r}")))
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, so a killed run leaves nothing running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
