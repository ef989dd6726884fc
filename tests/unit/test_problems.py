"""Mistakes as people read them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from asyncv2d.ports import Settings
from asyncv2d.problems import Problem, of_validation


class Inner(Settings):
    size: int = Field(default=1, gt=0)


class Outer(Settings):
    inner: Inner | None = None
    way: Literal["fast", "exact"] | None = None
    version: Literal["auto", 4, 6] = "auto"
    odd: int = 1
    sizes: tuple[int | str, ...] = ()

    @field_validator("odd")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("only odd numbers")
        return value


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"iner": {}}, "iner: unknown key; did you mean 'inner'?"),
        ({"inner": {"sice": 1}}, "inner.sice: unknown key; did you mean 'size'?"),
        ({"inner": {"zzz": 1}}, "inner.zzz: unknown key; expected one of: size"),
        ({"inner": {"size": "big"}}, "inner.size: expected a whole number, not 'big'"),
        ({"inner": {"size": 0}}, "inner.size: should be greater than 0, not 0"),
        ({"inner": 5}, "inner: expected keys with values, not 5"),
        ({"way": "exakt"}, "way: 'exakt' is not allowed; did you mean 'exact'?"),
        ({"way": 3}, "way: 3 is not allowed; expected 'fast' or 'exact'"),
        ({"version": "4"}, "version: '4' is not allowed; expected 'auto', 4 or 6"),
        ({"odd": 2}, "odd: only odd numbers"),
    ],
)
def test_one_line_each(content: dict[str, Any], text: str) -> None:
    """It says where, what and how to mend it."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    assert [str(problem) for problem in of_validation(caught.value, Outer)] == [text]


def test_alternatives_are_one_problem() -> None:
    """A value that fits no alternative is told once."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"sizes": [1, [], {}], "odd": 4})
    places = [problem.location for problem in of_validation(caught.value, Outer)]
    assert places == [("odd",), ("sizes", 1), ("sizes", 2)]


def test_moved_deeper() -> None:
    """A problem found in a part is told with the way to that part."""
    assert str(Problem(("size",), "wrong").under(("a", "args"))) == "a.args.size: wrong"


def test_a_problem_of_the_whole() -> None:
    """Has no key before it."""
    assert str(Problem((), "wrong")) == "wrong"
