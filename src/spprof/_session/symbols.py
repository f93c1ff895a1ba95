"""Source file, line and inlined functions of native frames, read from DWARF after sampling.

Optional: needs the package `symbolic` (``pip install spprof[symbols]``); without it native frames
keep their symbol and module. Must not know sessions, formats or files of ours.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from .._profile.rows import restack
from .._profile.tables import NATIVE, ROOT, Builder, FrameIndex, StackIndex, Tables
from . import engine

# Reading debug information takes about a second for 40 MB of it; a profile should not wait longer
# than some seconds for one module.
LARGEST_DEBUG_FILE = 256 * 2**20
DEBUG_ROOT = "/usr/lib/debug"


class Place(NamedTuple):
    """One function that an address is in: inlined ones have addresses of their caller."""

    name: str  # "": the function itself, which has its name from the symbol table
    file: str
    line: int


# By build id, or by path and time of change: a module is read once a process.
_symcaches: dict[str, Any] = {}
_places: dict[tuple[str, int, bool], list[Place]] = {}


def available() -> bool:
    """Whether the optional package is there."""
    try:
        import symbolic  # noqa: F401
    except ImportError:
        return False
    return True


def with_source_lines(tables: Tables) -> Tables:
    """Return the tables with file and line of native frames, and with inlined functions.

    Frames of modules without debug information stay as they are, so do all without `symbolic`.
    Functions inlined into the interpreter itself are left out: they are its macros.

    Parameters
    ----------
    tables : Tables
        As the native module delivers them: native frames with their address in the module.

    Returns
    -------
    Tables
        New tables where anything was found, otherwise the same object.
    """
    if not any(flags & NATIVE for flags in tables.func_flags) or not available():
        return tables
    build_ids = tables.meta.build_ids
    notes: list[str] = []
    found: dict[int, list[Place]] = {}
    for frame, func in enumerate(tables.frame_func):
        if not tables.func_flags[func] & NATIVE or not tables.frame_address[frame]:
            continue
        path = tables.strings[tables.func_file[func]]
        places = _look_up(path, build_ids.get(path, ""), tables.frame_address[frame], notes)
        if places:
            found[frame] = places
    if not found and not notes:
        return tables
    expanded = _expanded(tables, found) if found else tables
    return expanded.same_stacks(meta=tables.meta.with_notes(*notes))


def _expanded(tables: Tables, found: dict[int, list[Place]]) -> Tables:
    """Tables in which each frame of `found` is its places, outermost first."""
    builder = Builder()
    frames: list[list[FrameIndex]] = []
    for frame, func in enumerate(tables.frame_func):
        name = tables.strings[tables.func_name[func]]
        file = tables.strings[tables.func_file[func]]
        flags = tables.func_flags[func]
        address = tables.frame_address[frame]
        if frame not in found:
            same = builder.func(name, file, tables.func_line[func], flags)
            frames.append([builder.frame(same, tables.frame_line[frame], address)])
            continue
        frames.append(
            [
                builder.frame(
                    builder.func(place.name or name, place.file or file, 0, flags),
                    place.line,
                    address,
                )
                for place in found[frame]
            ]
        )
    stacks: list[StackIndex] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        stack = stacks[parent] if parent >= 0 else ROOT
        for row in frames[frame]:
            stack = builder.stack(stack, row)
        stacks.append(stack)
    rows = range(tables.rows)
    return restack(tables, builder, rows, [stacks[stack] for stack in tables.sample_stack])


def _look_up(path: str, build_id: str, address: int, notes: list[str]) -> list[Place]:
    """Places of an address, outermost first; empty where nothing is known."""
    inlined = not _is_interpreter(path)
    key = (build_id or path, address, inlined)
    places = _places.get(key)
    if places is None:
        symcache = _symcache(path, build_id, notes)
        places = [] if symcache is None else _read(symcache, address, inlined)
        _places[key] = places
    return places


def _read(symcache: Any, address: int, inlined: bool) -> list[Place]:
    locations = list(reversed(symcache.lookup(address)))
    if not any(location.line for location in locations):
        return []
    # The name of the function itself is the symbol's, as everywhere else.
    places = [Place("", locations[0].full_path or "", locations[0].line)]
    if inlined:
        places += [
            Place(engine.demangle(location.symbol), location.full_path or "", location.line)
            for location in locations[1:]
        ]
    return places


def _symcache(path: str, build_id: str, notes: list[str]) -> Any:
    key = build_id
    if not key:
        try:
            key = f"{path}:{os.stat(path).st_mtime_ns}"
        except OSError:
            return None
    if key not in _symcaches:
        _symcaches[key] = _open(path, build_id, notes)
    return _symcaches[key]


def _open(path: str, build_id: str, notes: list[str]) -> Any:
    """The debug information of a module: its own, or that of its separate debug file."""
    import symbolic  # type: ignore[import-untyped,unused-ignore]

    separate = f"{DEBUG_ROOT}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    for candidate in (path, separate) if len(build_id) > 2 else (path,):
        try:
            size = os.stat(candidate).st_size
            archive = symbolic.Archive.open(candidate)
            objects = list(archive.iter_objects())
        except (OSError, symbolic.SymbolicError):
            continue  # not there, or nothing that can be read: the next one may be better
        for found in objects:
            # A file that was replaced since it was loaded would name the wrong lines.
            if "debug" not in found.features or (build_id and found.code_id != build_id):
                continue
            if size > LARGEST_DEBUG_FILE:
                notes.append(
                    f"no source lines for {os.path.basename(path)}: its debug information is "
                    f"larger than {LARGEST_DEBUG_FILE >> 20} MiB"
                )
                return None
            try:
                return found.make_symcache()
            except symbolic.SymbolicError as error:
                notes.append(f"no source lines for {os.path.basename(path)}: {error}")
    return None


def _is_interpreter(path: str) -> bool:
    if os.path.basename(path).startswith("libpython"):
        return True
    return bool(sys.executable) and os.path.realpath(path) == os.path.realpath(sys.executable)
