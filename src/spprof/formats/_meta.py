"""Circumstances of a profile as files carry them: checked, or made up from little.

Must not know any one format.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

from .._profile import MODES
from .._profile.tables import Meta, ProcessRow, ThreadRow, parse_time
from ._errors import FormatError

# Means something beside spprof's own columns only.
_OWN_COLUMNS_ONLY = ("version", "timestamps_until_ns")

_KINDS: dict[str, Any] = {
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
}


def kept_meta(meta: Meta) -> dict[str, Any]:
    """What formats of other tools carry along, to come back when the file is read."""
    members = meta.as_dict()
    return {name: members[name] for name in members if name not in _OWN_COLUMNS_ONLY}


def with_kept(meta: Meta, kept: dict[str, Any]) -> Meta:
    """Circumstances with what a file carried along of `kept_meta`; raises FormatError."""
    known = {name: kept[name] for name in (*_KINDS, "processes") if name in kept}
    return check_meta({**meta.as_dict(), **known})


def read_meta(
    *,
    duration_ns: int,
    interval_ns: int,
    weights: str,
    notes: tuple[str, ...],
    start_ns: int = 0,
) -> Meta:
    """Circumstances of a profile whose file says no more than this."""
    try:
        start = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=start_ns // 1000)
        end = start + timedelta(microseconds=duration_ns // 1000)
    except OverflowError:
        raise FormatError(
            f"a start of {start_ns} ns and a duration of {duration_ns} ns are out of range"
        ) from None
    return Meta(
        start.isoformat(),
        end.isoformat(),
        duration_ns=duration_ns,
        interval_ns=interval_ns,
        weights=weights,
        notes=notes,
    )


def check_meta(meta: dict[str, Any]) -> Meta:
    """Turn what a file says of its circumstances into a `Meta`; raises FormatError."""
    for name, kinds in _KINDS.items():
        value = meta.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise FormatError(f"meta.{name} is missing or of the wrong type")
    if meta["mode"] and meta["mode"] not in MODES:
        raise FormatError(f"meta.mode is {meta['mode']!r:.40}, not one of {', '.join(MODES)}")
    for name in ("duration_ns", "interval_ns", "dropped_count"):
        if not 0 <= meta[name] < 2**63:  # nor is it, where it is no number
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
    until = meta.get("timestamps_until_ns")
    if until is not None and type(until) is not int:
        raise FormatError("meta.timestamps_until_ns should be an integer or null")
    members = {name: meta[name] for name in _KINDS}
    members["notes"] = tuple(meta["notes"])
    members["modules"] = tuple(
        {"path": module["path"], "build_id": str(module.get("build_id") or "")}
        for module in meta["modules"]
    )
    return Meta(
        **members,
        timestamps_until_ns=until,
        difference=_check_difference(meta),
        processes=_check_processes(meta),
    )


_PROCESS: dict[str, tuple[type, ...]] = {
    "pid": (int,),
    "host": (str,),
    "ppid": (int,),
    "command": (str,),
    "name": (str,),
    "start_ns": (int,),
    "end_ns": (int, type(None)),
    "ended": (str,),
    "cpu_ns": (int, type(None)),
    "before_ns": (int,),
    "after_ns": (int,),
    "profiler_ns": (int,),
    "profile_ns": (int,),
}

# What files of earlier versions lack.
_ADDED = {"host": "", "before_ns": 0, "after_ns": 0}


def _check_processes(meta: dict[str, Any]) -> tuple[ProcessRow, ...]:
    processes = meta.get("processes", [])
    if not isinstance(processes, list):
        raise FormatError("meta.processes should be a list")
    processes = [{**_ADDED, **each} if isinstance(each, dict) else each for each in processes]
    for number, process in enumerate(processes):
        for name, kinds in _PROCESS.items():
            value = process.get(name) if isinstance(process, dict) else ""
            if type(value) not in kinds or (type(value) is int and not -(2**63) <= value < 2**63):
                raise FormatError(f"meta.processes: {name} of process {number} is no {kinds[0]}")
    known = [{name: process[name] for name in _PROCESS if name in process} for process in processes]
    return tuple(cast("list[ProcessRow]", known))


def _check_difference(meta: dict[str, Any]) -> dict[str, list[int]] | None:
    sides = meta.get("difference")
    if sides is None:
        return None
    for side in ("before", "after"):
        rows = sides.get(side) if isinstance(sides, dict) else None
        if not isinstance(rows, list) or not all(type(row) is int for row in rows):
            raise FormatError(f"meta.difference.{side} should hold rows of threads")
    return {side: list(sides[side]) for side in ("before", "after")}


def check_threads(threads: list[Any]) -> list[ThreadRow]:
    """Verify the thread table; raises FormatError."""
    for number, thread in enumerate(threads):
        if not isinstance(thread, dict):
            raise FormatError(f"thread {number} should be an object")
        for name, kind in (("tid", int), ("name", str), ("pid", int), ("host", str)):
            if type(thread.get(name)) is not kind:
                raise FormatError(f"thread {number}: {name} should be a {kind.__name__}")
            if kind is int and not -(2**63) <= thread[name] < 2**64:
                raise FormatError(f"thread {number}: {name} is out of range")
    return cast("list[ThreadRow]", threads)
