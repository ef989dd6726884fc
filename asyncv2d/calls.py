"""What worker processes are asked to do.

The work itself is imported where it is done: a loop process only sends tasks.
"""

from __future__ import annotations

from asyncv2d.plan import Plan
from asyncv2d.task import Task
from asyncv2d.types import Processed


def prepare(plan: Plan) -> None:
    """Import what the first video will need, in a new worker and while downloads begin."""
    from asyncv2d import work

    work.prepare(plan)


def process(task: Task) -> Processed:
    """Probe, decode, cut, encode: the samples of one video.

    Each sample has its media parts and its own facts; captions and the row's columns are added by
    the caller. Raises ItemError where the video cannot be processed.
    """
    from asyncv2d import work

    return work.process(task)
