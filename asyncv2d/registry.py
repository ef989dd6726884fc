"""From a name in the configuration to the class it means.

A package offers stages by naming itself in the entry-point group ``asyncv2d.stages``; its folders
``read/ fetch/ write/ subsample/`` are looked through by file name, and a file is imported only when
its name was asked for.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Literal, get_args

from asyncv2d.ports import Settings
from asyncv2d.types import UserError

Kind = Literal["read", "fetch", "write", "subsample"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GROUP = "asyncv2d.stages"


def names(kind: Kind) -> list[str]:
    """The file names (without suffix) of all stages of a kind, over all packages."""
    return sorted(_modules(kind))


def load(kind: Kind, name: str) -> type[Settings]:
    """The stage class that file ``name`` of a kind defines: its one public Settings subclass.

    Raises UserError when there is none, with the nearest names there are.
    """
    modules = _modules(kind)
    if name not in modules:
        raise UserError(f"no {kind} stage is called {name!r}{did_you_mean(name, modules)}")
    module = importlib.import_module(modules[name])
    return _stage_class(module.__name__, vars(module).values())


def load_subsampler(yaml_name: str) -> type[Settings]:
    """The class of a subsampler by its name in YAML, such as ``ResolutionSubsampler``."""
    wanted = _file_key(yaml_name.removesuffix("Subsampler"))
    for name in names("subsample"):
        if _file_key(name) == wanted:
            found = load("subsample", name)
            if found.__name__ == yaml_name:
                return found
    known = subsampler_names()
    raise UserError(f"no subsampler is called {yaml_name!r}{did_you_mean(yaml_name, known)}")


def subsampler_names() -> list[str]:
    """The YAML names of all subsamplers."""
    return sorted(load("subsample", name).__name__ for name in names("subsample"))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for a near miss, else the list of what there is."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; expected one of: {', '.join(choices)}"


@cache
def _modules(kind: Kind) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _packages(GROUP):
        for module in _public_modules(package, kind):
            other = found.setdefault(module.rpartition(".")[2], module)
            if other != module:
                raise UserError(f"{other} and {module} have one name; uninstall one's package")
    return found


@cache  # looking through all that is installed takes as long as importing some of it
def _packages(group: str) -> list[str]:
    found = sorted({point.value for point in entry_points(group=group)})
    if not found:
        raise UserError("asyncv2d is not installed completely: no stages found; reinstall it")
    return found


def _public_modules(package: str, kind: Kind) -> Iterator[str]:
    folder = f"{package}.{kind}"
    try:
        spec = importlib.util.find_spec(folder)  # imports the package
    except Exception as error:
        # An import runs anybody's code, which may raise anything, and a traceback would not say
        # that it is run because the package is installed. The command ends all the same.
        raise UserError(
            f"{package}, which names itself in {GROUP}, cannot be imported:"
            f" {type(error).__name__}: {error}; mend or uninstall it"
            f" (python -c 'import {package}' tells more)"
        ) from error
    locations = spec.submodule_search_locations if spec else None
    for module in pkgutil.iter_modules(locations or []):
        if not module.name.startswith("_"):
            yield f"{folder}.{module.name}"


def _stage_class(module: str, members: Iterable[object]) -> type[Settings]:
    classes = [
        member
        for member in members
        if isinstance(member, type)
        and issubclass(member, Settings)
        and member.__module__ == module
        and not member.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise UserError(f"{module} must define exactly one public stage class, not {len(classes)}")
    return classes[0]


def _file_key(name: str) -> str:
    return name.replace("_", "").lower()
