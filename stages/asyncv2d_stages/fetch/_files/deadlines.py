"""How long a server may take for what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from asyncv2d.types import Cause, ItemError


class Deadlines:
    """What one attempt may take in all. Waiting for room for what came is no part of it."""

    def __init__(self, total_s: float) -> None:
        self._total_s = self._left_s = total_s

    @contextmanager
    def step(
        self, limit_s: float, late: ItemError, broken: Cause = Cause.CONNECT
    ) -> Iterator[None]:
        """Something that is asked of a server: raises ``late`` if it takes longer than that.

        ``broken`` is what it means if the connection breaks.
        """
        begin = anyio.current_time()
        limit = min(limit_s, self._left_s)
        try:
            with anyio.move_on_after(limit) as scope:
                yield
        except (OSError, EOFError) as error:
            text = "the server hung up" if isinstance(error, EOFError) else str(error)
            raise ItemError(broken, text or type(error).__name__) from error
        finally:
            self._left_s -= anyio.current_time() - begin
        if scope.cancelled_caught:
            if limit < limit_s:
                detail = f"not read within total_timeout ({self._total_s:g} s)"
                raise ItemError(Cause.TIMEOUT, detail)
            raise late
