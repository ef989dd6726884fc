"""What the user typed, and the job that it means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asyncv2d.types import UserError

if TYPE_CHECKING:
    from asyncv2d.job import Job
    from asyncv2d.nursery_start import Begun


def one_table(positional: str | None, option: str | None, default: str | None) -> Any:
    """The input that was named, in either way; a list of tables is written as JSON."""
    given = [table for table in (positional, option) if table is not None]
    if not given and default is not None:
        return default
    if len(given) != 1:
        raise UserError("give the input table once: asyncv2d download urls.csv")
    (text,) = given
    return _from_json("url_list", text) if text.startswith(('["', "['")) else text


class Request(Struct, frozen=True):
    """What the user typed; ``begun`` is what loop processes can be forked from, if it is there."""

    arguments: dict[str, Any]
    config: str
    overrides: Sequence[str]
    begun: Begun | None = None

    def job(self) -> Job:
        """The checked job; to import what that takes is a good part of a short run."""
        return _job(dict(self.arguments), self.config, self.overrides)


def _job(arguments: dict[str, Any], config: str, overrides: Sequence[str]) -> Job:
    from asyncv2d.job import make_job

    arguments["enable_wandb"] = arguments["enable_wandb"].lower() in ("true", "1", "yes")
    arguments["encode_formats"] = _from_json("encode_formats", arguments["encode_formats"])
    for name in ("retry_causes", "save_additional_columns"):
        arguments[name] = _names(name, arguments[name])
    return make_job(arguments, config, overrides)


def _names(argument: str, text: str | None) -> Any:
    """Names are written with commas between them, or as a list in JSON."""
    if text is None or text.lstrip().startswith("["):
        return _from_json(argument, text)
    return [name.strip() for name in text.split(",")]


def _from_json(argument: str, text: str | None) -> Any:
    """The value; quotes may be single ones, as in Python."""
    if text is None:
        return None
    try:
        return json.loads(text.replace("'", '"'))
    except json.JSONDecodeError as error:
        raise UserError(f"--{argument}: {text!r} is no valid JSON: {error}") from None
