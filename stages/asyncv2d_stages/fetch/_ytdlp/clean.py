"""What sites say, made fit to be written down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from asyncv2d.redact import redacted

_HOST = "a://b/"


def clean(value: Any) -> Any:
    """``value`` as JSON has it: no secrets, no halves of characters, no infinite numbers."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def clean_text(text: str) -> str:
    """``text`` without secrets, and without what cannot be encoded."""
    # Halves that belong together, as JSON writes them, become one character.
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if "://" in whole:
        return redacted(whole)
    return redacted(_HOST + whole).removeprefix(_HOST)  # an id may be a URL's end
