"""A YAML file that remembers the line and column of everything in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncv2d.problems import Location, Problem
from asyncv2d.types import UserError

if TYPE_CHECKING:
    from yaml.nodes import Node


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
        from asyncv2d.yaml_text import parse  # brings yaml, which runs without a file need not

        return cls(str(path), *parse(text, str(path)))

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
        from asyncv2d.yaml_text import value_of

        try:
            value = value_of(text)
        except ValueError:
            # Without the value, which may be a password.
            raise UserError(f"--set {path.strip()}: the value is no valid YAML") from None
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
        from asyncv2d.yaml_text import place

        line, column = place(self._root, problem.location, at_key=problem.at_key)
        return (line, column), f"{self._name}:{line}:{column}: "
