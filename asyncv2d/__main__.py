"""The command ``asyncv2d``, also as ``python -m asyncv2d``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from asyncv2d.lasting import Lasting

if TYPE_CHECKING:
    from asyncv2d.nursery_start import Begun


_INTERRUPTED = 130


def main() -> None:
    """Run the program, having begun with what takes it longest to get ready, if it needs that."""
    _open_standard_streams()
    try:
        if not _downloads(sys.argv[1:]):
            _run(None)
        elif (begun := _fork_nursery()) is not None:
            _run(begun)
    except KeyboardInterrupt:  # before there is anybody who would heed it
        sys.exit(_INTERRUPTED)


def _fork_nursery() -> Begun | None:
    """What loop processes will be forked from; None in these."""
    # What both need is made once, before the fork. It stays: to look through it for garbage takes
    # a tenth of the time that it takes to import it, and the same again when the program ends.
    gc.disable()
    import_module("asyncv2d.run")
    import anyio

    from asyncv2d.job import prepare
    from asyncv2d.nursery_start import LOOP, fork

    prepare()
    anyio.run(anyio.sleep, 0)  # imports what event loops need
    gc.freeze()
    try:
        return fork(LOOP)
    except OSError as error:
        sys.exit(f"asyncv2d: no process can be started: {error.strerror}")


def _run(begun: Begun | None) -> None:
    from asyncv2d.cli import main as run

    gc.freeze()
    gc.enable()
    run(begun)


def _open_standard_streams() -> None:
    """Some programs start others with these closed: other files would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(opened, True)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = Lasting.of(sys.stderr or os.fdopen(2, "w"))


def _downloads(words: Sequence[str]) -> bool:
    """Whether it looks like a download in loop processes; what is typed may still be wrong."""
    return words[:1] == ["download"] and len(words) > 1 and not {"-", "--help"} & set(words)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # files in the user's folder are not to be imported
    main()
