"""Causes, and how long a server asks to wait."""

from __future__ import annotations

import errno
from email.utils import formatdate
from time import time

import pytest

from asyncv2d.types import Cause, RunError
from asyncv2d_stages.fetch._http.causes import explained, of_status, retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("3", 3), ("0.5", 0.5), ("-3", 0), ("nan", 0), ("soon", None), ("", None)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """A number of seconds; what makes no sense is not there."""
    assert retry_after(header) == seconds


def test_retry_after_a_date() -> None:
    """Is the time until then."""
    assert 50 < (retry_after(formatdate(time() + 60, usegmt=True)) or 0) <= 60
    assert retry_after(formatdate(time() - 60, usegmt=True)) == 0


def test_every_status() -> None:
    """Has a cause."""
    assert {of_status(status) for status in range(300, 400)} == {Cause.REDIRECTS}
    assert of_status(418) is Cause.HTTP_4XX
    assert of_status(502) is Cause.HTTP_5XX
    assert of_status(999) is Cause.HTTP_5XX


def test_too_many_open_files() -> None:
    """End the run: no row would fare better."""
    with pytest.raises(RunError, match="ulimit"):
        explained(OSError(errno.EMFILE, "Too many open files"), None)


def test_a_broken_connection() -> None:
    """Cuts off a body that began."""
    assert explained(ConnectionResetError(), None).cause is Cause.CONNECT
    assert explained(ConnectionResetError(), 200).cause is Cause.TRUNCATED
