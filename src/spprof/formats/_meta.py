"""Circumstances of a profile as files carry them: checked, or made up from little.

Must not know any one format.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from .. import _columns as columns
from .._columns import ThreadRow
from .._model import parse_time
from ._errors import FormatError

# What formats of other tools carry along, to come back when the file is read.
KEPT_META = (
    "start_time",
    "end_time",
    "duration_ns",
    "interval_ns",
    "mode",
    "engine",
    "weights",
    "dropped_count",
    "python_version",
    "platform",
    "notes",
    "modules",
)


def read_meta(
    *, duration_ns: int, interval_ns: int, weights: str, notes: list[str], start_ns: int = 0
) -> dict[str, Any]:
    """Circumstances of a profile whose file says no more than this."""
    try:
        start = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=start_ns // 1000)
        end = start + timedelta(microseconds=duration_ns // 1000)
    except OverflowError:
        raise FormatError(
            f"a start of {start_ns} ns and a duration of {duration_ns} ns are out of range"
        ) from None
    return {
        "version": columns.LAYOUT_VERSION,
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        "duration_ns": duration_ns,
        "interval_ns": interval_ns,
        "mode": "",
        "engine": "",
        "weights": weights,
        "dropped_count": 0,
        "python_version": "",
        "platform": "",
        "notes": notes,
        "modules": [],
        "timestamps_until_ns": None,
    }


def check_meta(meta: dict[str, Any]) -> dict[str, Any]:
    """Verify the types of the circumstances; raises FormatError."""
    meta = dict(meta)
    for name, kinds in {
        "start_time": str,
        "end_time": str,
        "duration_ns": int,
        "interval_ns": (int, float),
        "mode": str,
        "engine": str,
        "weights": str,
        "dropped_count": int,
        "python_version": str,
        "platform": str,
        "notes": list,
        "modules": list,
    }.items():
        value = meta.get(name)
        if not isinstance(value, cast(Any, kinds)) or isinstance(value, bool):
            raise FormatError(f"meta.{name} is missing or of the wrong type")
    for name in ("duration_ns", "interval_ns", "dropped_count"):
        if not (math.isfinite(meta[name]) and 0 <= meta[name] < 2**63):
            raise FormatError(f"meta.{name} is out of range")
    for name in ("start_time", "end_time"):
        try:
            parse_time(meta[name])
        except ValueError:
            raise FormatError(f"meta.{name} is not an ISO 8601 time") from None
    if not all(isinstance(note, str) for note in meta["notes"]):
        raise FormatError("meta.notes should hold strings")
    for module in meta["modules"]:
        if not isinstance(module, dict) or not isinstance(module.get("path"), str):
            raise FormatError("meta.modules should hold objects with a path")
    until = meta.setdefault("timestamps_until_ns", None)
    if until is not None and type(until) is not int:
        raise FormatError("meta.timestamps_until_ns should be an integer or null")
    return meta


def check_threads(threads: list[Any]) -> list[ThreadRow]:
    """Verify the thread table; raises FormatError."""
    for number, thread in enumerate(threads):
        if not isinstance(thread, dict):
            raise FormatError(f"thread {number} should be an object")
        for name, kind in (("tid", int), ("name", str), ("pid", int), ("host", str)):
            if type(thread.get(name)) is not kind:
                raise FormatError(f"thread {number}: {name} should be a {kind.__name__}")
    return cast("list[ThreadRow]", threads)
