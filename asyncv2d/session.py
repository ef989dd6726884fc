"""The library face: an engine inside somebody else's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from anyio.streams.memory import MemoryObjectReceiveStream

from asyncv2d.config import Config, build, load
from asyncv2d.engine import Engine, open_engine
from asyncv2d.spool_folders import spool_folders
from asyncv2d.types import Outcome, Processed, Row

RowLike = str | Mapping[str, Any] | Row
_TMP_DIR = Path("/tmp")


class Session:
    """An open engine. Use ``asyncv2d.open``."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config
        self._numbers = count()

    @asynccontextmanager
    async def stream(
        self, rows: Iterable[RowLike] | AsyncIterable[RowLike]
    ) -> AsyncIterator[MemoryObjectReceiveStream[Outcome[Processed]]]:
        """Send rows through; gives a stream of their outcomes, in the order they are done.

        A row is a URL, or a mapping with ``url`` and, as wanted, ``caption``, ``clips`` and further
        columns. No more rows are taken than can be worked on. Close each ``Ok.value`` after use.
        """
        with single_errors():
            async with self._engine.pipeline.run(self._numbered(rows)) as outcomes:
                yield outcomes

    async def _numbered(
        self, rows: Iterable[RowLike] | AsyncIterable[RowLike]
    ) -> AsyncIterator[Row]:
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                yield self._row(row)
        else:
            for row in rows:
                yield self._row(row)

    def _row(self, row: RowLike) -> Row:
        """The row with the session's next number, so that no two streams share a key."""
        if isinstance(row, Row):
            return row
        number = next(self._numbers)
        columns = {"url": row} if isinstance(row, str) else dict(row)
        keys = self._config.storage.key_format
        shard, index = divmod(number, keys.samples_per_shard)
        url = str(columns.get("url") or "")
        return Row(index, keys.key(shard, index), url, columns, shard)


@asynccontextmanager
async def open_session(
    config: str | Path | Mapping[str, Any] = "default",
    *,
    encode_formats: Mapping[str, str] | None = None,
    save_caption: bool = False,
    tmp_dir: str | Path = _TMP_DIR,
) -> AsyncIterator[Session]:
    """Open an engine for ``config`` (a YAML file, a mapping, or ``"default"``).

    The workers start at once, unless files are stored as they came, and are gone, like all
    temporary files, when the context is left, however it is left. Raises UserError where the
    configuration is wrong.
    """
    built = build(load(config))
    built = built.model_copy(update={"distribution": built.distribution.in_one_loop()})
    plan = built.plan(encode_formats)
    with single_errors(), spool_folders(Path(tmp_dir), built.distribution.byte_budget) as folders:
        async with open_engine(built, plan, folders, save_caption=save_caption) as engine:
            yield Session(engine, built)


@contextmanager
def single_errors() -> Iterator[None]:
    """Raise an error as itself, not inside the groups that task groups make of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__
