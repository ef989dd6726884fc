"""YAML text: what it says, and where each part of it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from asyncv2d.problems import Location, Problem
from asyncv2d.types import UserError

# What is wrong with text: PyYAML itself, bad dates, endless nesting.
_WRONG = (yaml.YAMLError, ValueError, RecursionError)


def parse(text: str, name: str) -> tuple[Any, Node | None, list[Problem]]:
    """The content, its nodes, and the keys that are given twice. Raises UserError for no YAML."""
    try:
        return _parse(text)
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(name, error) from None
    except _WRONG as error:
        raise UserError(f"{name}: no valid YAML: {str(error).splitlines()[0]}") from None


def value_of(text: str) -> Any:
    """The value that ``text`` means. Raises ValueError for no YAML."""
    try:
        return yaml.safe_load(text)
    except _WRONG:
        raise ValueError(text) from None


def place(root: Node, location: Location, *, at_key: bool) -> tuple[int, int]:
    """Line and column, from 1, of what is at ``location``, or of what should hold it."""
    mark = _find(root, location, at_key=at_key).start_mark
    return mark.line + 1, mark.column + 1


def _parse(text: str) -> tuple[Any, Node | None, list[Problem]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        # First: constructing copies the entries of merged mappings (<<) into the nodes.
        twice = list(_duplicates(root)) if root else []
        content = loader.construct_document(root) if root else None
    finally:
        loader.dispose()
    json.dumps(content, default=str, skipkeys=True)  # an alias inside its own anchor has no end
    return content, root, twice


def _no_yaml(name: str, error: yaml.MarkedYAMLError) -> UserError:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    return UserError(f"{where}: no valid YAML: {error.problem or error.context}")


def _find(node: Node, location: Location, *, at_key: bool) -> Node:
    """The node at ``location``, or the nearest one above it that was written."""
    for depth, part in enumerate(location):
        entry = _entry(node, part)
        if entry is None:
            return node
        key, value = entry
        node = key if at_key and depth == len(location) - 1 else value
    return node


def _entry(node: Node, part: str | int) -> tuple[Node, Node] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        element = cast(Node, node.value[part])
        return element, element
    return None


def _duplicates(node: Node, location: Location = ()) -> Iterator[Problem]:
    """Keys written twice in one mapping: YAML parsers keep the last one without a word."""
    if not isinstance(node, MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            continue
        here = (*location, key.value)
        if key.value in seen:
            yield Problem(here, "this key is given twice; keep one", at_key=True)
        seen.add(key.value)
        yield from _duplicates(value, here)
