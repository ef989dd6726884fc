"""What the fields of a configured class mean: the strings below them in its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise

from pydantic import BaseModel


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstring of each field of ``model``, its bases' fields among them, by name."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found.update(_documented(kind))
    return {name: found[name] for name in model.model_fields if name in found}


def _documented(kind: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The fields in the class's own source, if there is one, that have a string right below."""
    try:
        source = inspect.getsource(kind)
        (definition,) = ast.parse(textwrap.dedent(source)).body
    except (OSError, TypeError, SyntaxError):  # made by a program, or in a notebook
        return
    assert isinstance(definition, ast.ClassDef)
    for field, below in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _text(below)
            if text is not None:
                yield field.target.id, text


def _text(statement: ast.stmt) -> str | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return inspect.cleandoc(ast.literal_eval(value)) if value is not None and is_text else None
