"""Reads tab-separated values."""

from __future__ import annotations

from asyncv2d_stages.read.csv import CsvReader


class TsvReader(CsvReader):
    """As CSV, with tabs between the fields."""

    delimiter: str = "\t"
    """What stands between two fields."""
