"""The program of a worker process: take a call from stdin, answer on stdout, until stdin closes."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from asyncv2d.types import ItemError, RunError, WorkerError

LENGTH = struct.Struct(">Q")


def main() -> None:
    """Serve calls. Each message is its length (8 bytes) and a pickle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    while (call := _receive(sys.stdin.buffer)) is not None:
        _send(answers, _answer(*call))


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Call ``function``; its value, or what it raised, as a message.

    The errors that stages are to raise travel as they are. Any other, and a value that cannot be
    sent, is a bug here, and its traceback travels as text: its class may mean something else to the
    parent (a TimeoutError), or not survive pickling.
    """
    try:
        return _message("value", function(*args))
    except (ItemError, RunError) as error:
        return _message("error", error)
    except Exception:  # noqa: BLE001 — the parent raises it, and the row is ``bug`` with a traceback
        return _message("error", WorkerError(traceback.format_exc()))


def _message(kind: str, content: Any) -> bytes:
    return pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL)


def _receive(stream: BinaryIO) -> Any:
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    return pickle.loads(stream.read(LENGTH.unpack(header)[0]))


def _send(stream: BinaryIO, message: bytes) -> None:
    stream.write(LENGTH.pack(len(message)) + message)
    stream.flush()
