"""What drivers raise is put into words; what a mistake in a program raises is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from asyncv2d.inputs import _readable
from asyncv2d.remote_errors import MISTAKES, in_clear_words, missing_driver, status_of
from asyncv2d.types import ItemError, RunError, UserError
from asyncv2d_stages.fetch._remote_causes import explaining
from asyncv2d_stages.read._open import reading

Translator = Callable[[], AbstractContextManager[None]]
TRANSLATORS: dict[str, tuple[Translator, type[Exception]]] = {
    "a store": (lambda: in_clear_words(lambda: "x://a"), OSError),
    "the place of an input": (lambda: _readable("x://a"), UserError),
    "an input": (lambda: reading("x://a"), UserError),
    "a row": (lambda: explaining("x://a"), ItemError),
}


class DriverError(Exception):
    """Of no known kind, as drivers' are; they keep what they know of the answer in such places."""

    response: object = None
    code: object = None


@pytest.mark.parametrize("place", TRANSLATORS)
def test_trouble(place: str) -> None:
    """Is told in one line, with the driver's error as its cause."""
    translator, kind = TRANSLATORS[place]
    with pytest.raises(kind, match="far away") as caught, translator():
        raise DriverError("far\naway")
    assert isinstance(caught.value.__cause__, DriverError)


@pytest.mark.parametrize("place", TRANSLATORS)
@pytest.mark.parametrize("mistake", [*MISTAKES, KeyError, IndexError, UnboundLocalError])
def test_a_mistake_in_the_program(place: str, mistake: type[Exception]) -> None:
    """Passes as it is, so that nobody looks for it in the network."""
    translator, _ = TRANSLATORS[place]
    with pytest.raises(mistake, match="ours") as caught, translator():
        raise mistake("ours")
    assert not isinstance(caught.value, UserError | ItemError | RunError)


def test_a_missing_driver() -> None:
    """Is named with what to install, also where another package wraps the error."""
    plain = ImportError("no", name="gcsfs.core")
    wrapped = ImportError("install it")
    wrapped.__cause__ = plain
    for error in (plain, wrapped):
        assert missing_driver("gs", error).endswith(
            "driver gcsfs, which is not installed: pip install gcsfs"
        )


def test_the_status_behind_an_error() -> None:
    """Is found wherever drivers keep it, and no other number is taken for it."""
    error = DriverError("x")
    assert status_of(error) is None
    error.__cause__ = cause = DriverError("y")
    cause.response = {"ResponseMetadata": {"HTTPStatusCode": 403}}
    assert status_of(error) == 403
    other = DriverError("z")
    other.code = 5  # an errno, say
    assert status_of(other) is None
