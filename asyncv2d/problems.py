"""Mistakes in a configuration: where they are, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from asyncv2d.registry import did_you_mean

Location = tuple[str | int, ...]

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "keys with values",
    "mapping_type": "keys with values",
    "dict_type": "keys with values",
}

# Keys whose values are not repeated: they may hold passwords.
_SECRETS = frozenset[str | int]({"proxy", "headers", "ydl_opts"})


class Problem(Struct, frozen=True):
    """One mistake. ``at_key`` says that the key itself is wrong, not its value."""

    location: Location
    text: str
    at_key: bool = False

    @property
    def key(self) -> str | int | None:
        """The first key of the location."""
        return self.location[0] if self.location else None

    def under(self, parent: Location) -> Problem:
        """The same problem, deeper in the tree."""
        return replace(self, location=(*parent, *self.location))

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.location)), self.text)))


def of_validation(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """All problems in what pydantic found wrong with data for ``model``.

    The alternatives of a union count as one problem each location.
    """
    found: dict[Location, Problem] = {}
    for details in error.errors():
        problem = _problem(details, model)
        found.setdefault(problem.location, problem)
    return list(found.values())


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    location = _in_document(details["loc"], model)
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        known = _model_at(location[:-1], model).model_fields
        return Problem(
            location, f"unknown key{did_you_mean(str(location[-1]), known)}", at_key=True
        )
    if kind == "missing":
        return Problem(location, "missing; this key must be given")
    if kind == "literal_error":
        return Problem(location, _not_one_of(value, str(details["ctx"]["expected"])))
    given = "" if _SECRETS & set(location) else f", not {value!r:.60}"
    if kind in _EXPECTED:
        return Problem(location, f"expected {_EXPECTED[kind]}{given}")
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    is_told = kind == "value_error" or isinstance(value, Mapping)
    return Problem(location, message if is_told else f"{message}{given}")


def _not_one_of(value: Any, expected: str) -> str:
    choices = [choice.strip() for choice in expected.replace(" or ", ",").split(",")]
    # Where some are no texts, the way in which they are written tells.
    are_texts = isinstance(value, str) and all(choice.startswith("'") for choice in choices)
    texts = [choice.strip("'") for choice in choices]
    hint = did_you_mean(value, texts) if are_texts else f"; expected {expected}"
    return f"{value!r:.60} is not allowed{hint}"


def _in_document(location: Location, model: type[BaseModel]) -> Location:
    """Pydantic's location without the parts that name the alternatives of a union."""
    kept: list[str | int] = []
    current: type[BaseModel] | None = model
    for part in location:
        if current is not None or isinstance(part, int):
            kept.append(part)
        if current is not None:
            current = _submodel(current, str(part))
    return tuple(kept)


def _model_at(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    for part in location:
        model = _submodel(model, str(part)) or model
    return model


def _submodel(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model that field ``name`` holds, also where it may be null."""
    field = model.model_fields.get(name)
    annotation = field.annotation if field else None
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
