"""asyncv2d: a table of video URLs goes in, a machine-learning dataset comes out.

The command is ``asyncv2d download urls.csv --config cfg.yaml``. In Python, ``download`` does the
same and blocks; ``open`` gives an engine for your own event loop::

    async with asyncv2d.open("cfg.yaml") as v2d:
        async with v2d.stream(["https://example.org/a.mp4"]) as outcomes:
            async for outcome in outcomes:
                ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Only type checkers see these names here, ``open`` too; others get them by ``__getattr__``.
if TYPE_CHECKING:
    from asyncv2d.api import UnpublishedError, download, video2dataset
    from asyncv2d.report import Summary
    from asyncv2d.session import Session
    from asyncv2d.session import open_session as open  # noqa: A004 — users call asyncv2d.open
    from asyncv2d.standalone import process
    from asyncv2d.types import (
        Blob,
        Cause,
        Failed,
        ItemError,
        Ok,
        Outcome,
        Processed,
        Row,
        RunError,
        Sample,
        UserError,
    )

__all__ = [
    "Blob",
    "Cause",
    "Failed",
    "ItemError",
    "Ok",
    "Outcome",
    "Processed",
    "Row",
    "RunError",
    "Sample",
    "Session",
    "Summary",
    "UnpublishedError",
    "UserError",
    "download",
    "open",
    "process",
    "video2dataset",
]

# Each name is imported when it is first used: `import asyncv2d` costs milliseconds.
_HOMES = {
    "Session": "session",
    "Summary": "report",
    "UnpublishedError": "api",
    "download": "api",
    "process": "standalone",
    "video2dataset": "api",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'asyncv2d' has no attribute {name!r}")
    if name == "open":
        return import_module("asyncv2d.session").open_session
    return getattr(import_module(f"asyncv2d.{_HOMES.get(name, 'types')}"), name)


def __dir__() -> list[str]:
    return __all__
