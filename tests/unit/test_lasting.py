"""A stream that may be lost."""

from __future__ import annotations

import os
import pty

from asyncv2d.lasting import Lasting


def test_a_full_disk() -> None:
    """What does not fit is lost, and nothing is raised, then and later."""
    stream = Lasting.of(os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
    stream.write("one\n")
    stream.write("no end of a line")
    stream.flush()
    stream.close()


def test_a_terminal_that_goes_away() -> None:
    """It is one as long as it is there."""
    ours, theirs = pty.openpty()
    stream = Lasting.of(os.fdopen(theirs, "w", encoding="latin-1"))
    assert stream.isatty()
    stream.write("é\n")
    assert os.read(ours, 10) == b"\xe9\r\n"
    os.close(ours)
    stream.write("lost\n")
    assert not stream.isatty()
    stream.close()


def test_a_reader_who_is_slow() -> None:
    """Gets what is written once there is room again, if not all of it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stream = Lasting.of(os.fdopen(writing, "w"))
    stream.write("much\n" * (1 << 16))
    os.read(reading, 1 << 20)
    stream.write("the last\n")
    stream.close()
    assert os.read(reading, 1 << 20).endswith(b"the last\n")
    os.close(reading)
