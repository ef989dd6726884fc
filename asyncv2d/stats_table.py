"""The statistics of a dataset as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))
_LABEL = 14
_RETRY = {True: "yes", False: "no", None: "?"}


def table(stats: Mapping[str, Any]) -> list[str]:
    """The lines of the table, from the statistics as JSON."""
    lines = [stats["dataset"]]
    lines += (f"  {label:<{_LABEL}}{text}" for label, text in _facts(stats) if text)
    if stats["causes"]:
        lines += ["", *_causes(stats["causes"], stats["rows"])]
    return lines


def _facts(stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rows, time = stats["rows"], stats["time"]
    yield "shards", f"{stats['shards']:,}"
    yield (
        "rows",
        f"{rows:,}: {stats['ok']:,} ok ({_share(stats['ok'], rows)}), {stats['failed']:,} failed",
    )
    yield "tried again", _tried_again(stats["tried_again"])
    yield "samples", f"{stats['samples']:,}"
    yield "clips", _clips(stats["clips"])
    yield "downloaded", _size(stats["bytes_downloaded"])
    yield "written", _size(stats["bytes_written"]) if stats["bytes_written"] else ""
    yield "decoded", f"{stats['frames_decoded']:,} frames" if stats["frames_decoded"] else ""
    yield "time", _time(time) if time["running_seconds"] else ""
    yield "time of a row", _row_times(stats["row_times"])
    yield "attempts", _counts(stats["attempts"], "{rows:,} rows after {name}")
    yield "HTTP status", _counts(stats["http_statuses"], "{name}: {rows:,}")
    yield "failed in", _counts(stats["stages"], "{name}: {rows:,}")


def _clips(clips: Mapping[str, Any]) -> str:
    if not clips["number"]:
        return ""
    return (
        f"{clips['number']:,} of {duration(clips['seconds'])} in total, {clips['frames']:,} frames;"
        f" each {clips['shortest']:.3g} to {clips['longest']:.3g} s, median {clips['median']:.3g},"
        f" 90 % from {clips['p5']:.3g} to {clips['p95']:.3g}"
    )


def _tried_again(rows: int) -> str:
    return f"{rows:,} rows that had failed; the last try counts" if rows else ""


def _row_times(times: Mapping[str, Any]) -> str:
    if not times["number"]:
        return ""
    return f"median {duration(times['median'])}, 95 % within {duration(times['p95'])}"


def _time(time: Mapping[str, Any]) -> str:
    return (
        f"{duration(time['running_seconds'])}: {time['rows_per_second']:.3g} rows and"
        f" {_size(time['bytes_per_second'])} a second"
    )


def _counts(counts: Mapping[str, int], pattern: str) -> str:
    return ", ".join(pattern.format(name=name, rows=rows) for name, rows in counts.items())


def _causes(causes: Mapping[str, Mapping[str, Any]], rows: int) -> Iterator[str]:
    width = max(map(len, ("failed by", *causes)))
    yield f"  {'failed by':<{width}}  {'rows':>12}  {'share':>6}  retry?  meaning"
    for name, cause in causes.items():
        line = (
            f"  {name:<{width}}  {cause['rows']:>12,}  {_share(cause['rows'], rows):>6}"
            f"  {_RETRY[cause['worth_retrying']]:<6}  {cause['meaning'] or ''}"
        )
        yield line.rstrip()


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _size(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    parts, left = list[str](), round(seconds)
    if left < 60:
        return f"{seconds:.3g} s"
    for size, unit in _TIMES:
        if left >= size or parts:
            parts.append(f"{left // size} {unit}")
            left %= size
    parts.append(f"{left} s")
    return " ".join(parts[:2])
