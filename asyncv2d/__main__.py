"""The command ``asyncv2d``, also as ``python -m asyncv2d``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main() -> None:
    """Run the program, having begun with what takes it longest to get ready, if it needs that."""
    begun = None
    if _downloads(sys.argv[1:]):
        from asyncv2d.nursery_start import LOOP, begin

        begun = begin(LOOP)
    from asyncv2d.cli import main as run

    run(begun)


def _downloads(words: Sequence[str]) -> bool:
    """Whether it looks like a download in loop processes; what is typed may still be wrong."""
    return words[:1] == ["download"] and len(words) > 1 and not {"-", "--help"} & set(words)


if __name__ == "__main__":
    main()
