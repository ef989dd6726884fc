"""A YAML file that remembers the line and column of everything in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from asyncv2d.problems import Location, Problem
from asyncv2d.types import UserError


class YamlSource:
    """The content of a configuration, and where each part of it was written."""

    def __init__(
        self, name: str, content: Any, root: Node | None, problems: Iterable[Problem] = ()
    ) -> None:
        self._name = name
        self._root = root
        self._overrides: dict[Location, str] = {}
        self.problems = list(problems)
        if content is None:
            content = {}
        if not isinstance(content, Mapping):
            self.problems.append(
                Problem((), "expected sections such as 'subsampling' and 'reading'")
            )
            content = {}
        self.content: dict[str, Any] = deepcopy(dict(content))

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        """Read a file. Raises UserError where it is missing or no YAML."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise UserError(f"{path}: cannot read the configuration: {reason}") from None
        try:
            return cls(str(path), *_parse(text))
        except yaml.MarkedYAMLError as error:
            raise _no_yaml(path, error) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # bad dates, endless nesting
            raise UserError(f"{path}: no valid YAML: {str(error).splitlines()[0]}") from None

    @classmethod
    def of_mapping(cls, content: Mapping[str, Any]) -> YamlSource:
        """Take a configuration that was given as a mapping."""
        return cls("", content, None)

    def override(self, assignment: str) -> None:
        """Set a value by ``section.key=value``; the value is read as YAML."""
        path, equals, text = assignment.partition("=")
        location = tuple(path.strip().split("."))
        if not equals or not all(location):
            raise UserError(f"--set {assignment}: expected section.key=value")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UserError(f"--set {assignment}: {text!r} is no valid YAML value") from None
        target: dict[str, Any] = self.content
        for part in location[:-1]:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[location[-1]] = value
        self._overrides[location] = f"--set {path.strip()}"

    def located(self, problems: Iterable[Problem]) -> list[str]:
        """Each problem as a line that begins with its place, in the order of the file."""
        placed = sorted((self._place(problem), str(problem)) for problem in problems)
        return [f"{prefix}{text}" for (_, prefix), text in placed]

    def _place(self, problem: Problem) -> tuple[tuple[int, int], str]:
        for length in range(len(problem.location), 0, -1):
            if flag := self._overrides.get(problem.location[:length]):
                return (1 << 30, 0), f"{flag}: "
        for location, flag in self._overrides.items():  # one that put keys where a value belongs
            if len(problem.location) > 1 and location[: len(problem.location)] == problem.location:
                return (1 << 30, 0), f"{flag}: "
        if self._root is None:
            return (0, 0), ""
        mark = _find(self._root, problem.location, at_key=problem.at_key).start_mark
        line, column = mark.line + 1, mark.column + 1
        return (line, column), f"{self._name}:{line}:{column}: "


def _parse(text: str) -> tuple[Any, Node | None, list[Problem]]:
    """The content, its nodes, and the keys that are given twice."""
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


def _no_yaml(path: Path, error: yaml.MarkedYAMLError) -> UserError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    return UserError(f"{place}: no valid YAML: {error.problem or error.context}")


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
