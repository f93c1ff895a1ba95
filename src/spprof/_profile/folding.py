"""What lists, trees and pictures leave out so that people see their program, unless all is wanted.

Two things are folded, and files keep both:

- Noise: how an interpreter or a binding gets from one call to the next. A frame of it is left out,
  and its time goes to the line that called it.
- Imports: what importlib and the interpreter do between the line with ``import pandas`` and the
  code of pandas. It becomes one frame, ``import pandas``.

`folding.json` says by which names and files both are known; `js/src/profile/folding.ts` folds for
the widget by the same file, and `tests/examples` holds both to the same answers. Must not know what
is asked of a profile: tables in, tables out.
"""

from __future__ import annotations

import json
import re
from array import array
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .names import cython_rank, place, short_native, without_suffixes
from .tables import NATIVE, ROOT, FrameIndex, FuncIndex, StackIndex, StringIndex, Tables

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any

# What a function is to the folding; several may hold.
_NOISE = 1  # left out, wherever it stands
_IMPORTS = 2  # begins an import, and is part of one
_INSIDE = 4  # part of an import where one goes on, otherwise shown
_BODY = 8  # the code of a module
_CALLS = 16  # the interpreter's own: what it calls in an import is the module that is imported
_NATIVE = 32  # machine code

# Read now: a program may change its root before it shows a profile.
_RULES = {
    kind: re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.ASCII)
    for kind, patterns in json.loads(
        Path(__file__).with_name("folding.json").read_text(encoding="utf-8")
    ).items()
}


class _Imported(NamedTuple):
    """A module that an import led to."""

    name: str
    file: StringIndex
    flags: int


@lru_cache(maxsize=4096)
def _whose(file: str) -> str:
    """Which of the rules for files a file meets."""
    path = file.replace("\\", "/")
    kinds = (kind for kind in ("importlib", "interpreter", "system") if _RULES[kind].search(path))
    return next(kinds, "")


def _traits(name: str, file: str, native: bool) -> int:
    whose = _whose(file)
    if not native:
        return _BODY if name == "<module>" else _IMPORTS if whose == "importlib" else 0
    if whose == "interpreter":
        plain = without_suffixes(name)
        if _RULES["importing"].search(plain):
            return _NATIVE | _IMPORTS | _CALLS
        return _NATIVE | _INSIDE | _CALLS | (_NOISE if _RULES["calling"].search(plain) else 0)
    if whose == "system":
        return _NATIVE | _INSIDE
    return _NATIVE | (_NOISE if _RULES["binding"].search(short_native(name)) else 0)


_PACKAGE = "/__init__.py"


def packages(files: Iterable[str]) -> set[str]:
    """Folders that are packages, as far as files of a profile tell it."""
    slashed = (file.replace("\\", "/") for file in files)
    return {file[: -len(_PACKAGE)] for file in slashed if file.endswith(_PACKAGE)}


def imported_module(file: str, native: bool, known: Container[str] = ()) -> str:
    """Dotted name of the module whose code is in a file, as far as paths tell it.

    Outside of what is installed nothing in a path says where packages begin: they do where
    `known`, the packages that were met, end.
    """
    where = place(file, native)
    if where.origin != "file":
        return where.module
    folder, _, _ = file.replace("\\", "/").rpartition("/")
    names = []
    if where.module != "__init__":
        names.append(where.module)
    elif folder:
        folder, _, last = folder.rpartition("/")
        names.append(last)
    while folder in known:
        folder, _, last = folder.rpartition("/")
        names.append(last)
    return ".".join(reversed(names)) or where.module


def folded(tables: Tables) -> Tables:
    """Return the tables as people are shown them; the same object where nothing is folded.

    Functions keep their rows; those of imports come after them. Every sample is still there.
    """
    strings = tables.strings
    traits: list[int] = []
    ranks: list[int] = []
    for name, file, flags in zip(tables.func_name, tables.func_file, tables.func_flags):
        native = bool(flags & NATIVE)
        traits.append(_traits(strings[name], strings[file], native))
        ranks.append(cython_rank(strings[name]) if native else 0)
    if not any(trait & (_NOISE | _IMPORTS) for trait in traits) and not any(ranks):
        return tables
    return _Folding(tables, traits, ranks).result()


class _Folding:
    """The stacks of a profile, folded: first as a tree in which imports have no names yet."""

    def __init__(self, tables: Tables, traits: list[int], ranks: list[int]) -> None:
        self._tables = tables
        self._traits, self._ranks = traits, ranks
        # Nodes; what they stand for is a frame, or below 0 an import: ~row of `_imported`.
        self._parent: list[int] = []
        self._what: list[int] = []
        self._nodes: dict[tuple[int, int], int] = {}
        self._imported: list[_Imported | None] = [None]  # row 0: not known
        self._imported_rows: dict[_Imported, int] = {}
        self._packages = packages(tables.strings[file] for file in set(tables.func_file))
        # Modules that the import at a node led to.
        self._led_to: dict[int, list[int]] = {}

    def _node(self, parent: int, what: int) -> int:
        key = parent, what
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = len(self._what)
            self._parent.append(parent)
            self._what.append(what)
        return node

    def _module_of(self, func: FuncIndex) -> int:
        """Row of the module that a function is the beginning of."""
        tables = self._tables
        file, flags = tables.func_file[func], tables.func_flags[func] & NATIVE
        name = imported_module(tables.strings[file], bool(flags), self._packages)
        module = _Imported(name, file, flags)
        row = self._imported_rows.setdefault(module, len(self._imported))
        if row == len(self._imported):
            self._imported.append(module)
        return row

    def _placed(self) -> list[int]:
        """The node of each stack; -1: nothing of it is shown."""
        tables, node = self._tables, self._node
        funcs = list(tables.frame_func)
        # By frame, as this is asked for every stack.
        traits = [self._traits[func] for func in funcs]
        later = [self._ranks[func] > 1 for func in funcs]
        nodes: list[int] = []
        add = nodes.append
        within = bytearray(len(tables.stack_frame))  # the stack ends in an import
        for row, (caller, frame) in enumerate(zip(tables.stack_parent, tables.stack_frame)):
            trait = traits[frame]
            above = nodes[caller] if caller >= 0 else -1
            if caller >= 0 and within[caller]:
                if trait & (_IMPORTS | _INSIDE | _NOISE):
                    add(above)
                    within[row] = 1
                    continue
                if trait & _BODY or (
                    trait & _NATIVE and traits[tables.stack_frame[caller]] & _CALLS
                ):
                    module = self._module_of(funcs[frame])
                    led_to = self._led_to.setdefault(above, [])
                    if module not in led_to:
                        led_to.append(module)
                    above = node(self._parent[above], ~module)
                add(node(above, frame))
            elif trait & _IMPORTS:
                add(node(above, ~0))
                within[row] = 1
            elif trait & _NOISE or (later[frame] and self._wrapped(caller, funcs[frame])):
                add(above)
            else:
                add(node(above, frame))
        return nodes

    def _wrapped(self, caller: StackIndex, func: FuncIndex) -> bool:
        """Whether the caller is what Cython put around this function."""
        if caller < 0:
            return False
        tables = self._tables
        outer = tables.frame_func[tables.stack_frame[caller]]
        if not 0 < self._ranks[outer] < self._ranks[func]:
            return False
        names = [tables.strings[tables.func_name[each]] for each in (outer, func)]
        return short_native(names[0]) == short_native(names[1])

    def _named(self, led_to: list[int]) -> int:
        """The one module that all belong to, itself or as packages on the way to it; else 0."""
        longest = max(led_to, key=lambda row: len(self._name(row)))
        name = f"{self._name(longest)}."
        return longest if all(name.startswith(f"{self._name(row)}.") for row in led_to) else 0

    def _name(self, row: int) -> str:
        module = self._imported[row]
        return module.name if module else ""

    def result(self) -> Tables:
        """The folded tables."""
        tables = self._tables
        nodes = self._placed()
        # A sample of which nothing is shown keeps its innermost frame.
        used = dict.fromkeys(tables.sample_stack)
        alone = {
            stack: self._node(-1, tables.stack_frame[stack]) for stack in used if nodes[stack] < 0
        }
        for node, led_to in self._led_to.items():
            self._what[node] = ~self._named(led_to)

        out = _Extended(tables)
        frames: dict[int, FrameIndex] = {}
        parents, innermost = array("i"), array("I")
        stacks: dict[tuple[StackIndex, FrameIndex], StackIndex] = {}
        placed: list[StackIndex] = []
        for parent, what in zip(self._parent, self._what):
            frame = frames.get(what)
            if frame is None:
                frame = FrameIndex(what) if what >= 0 else out.import_of(self._imported[~what])
                frames[what] = frame
            key = placed[parent] if parent >= 0 else ROOT, frame
            stack = stacks.setdefault(key, StackIndex(len(stacks)))
            if stack == len(parents):
                parents.append(key[0])
                innermost.append(frame)
            placed.append(stack)
        samples = array(
            "I",
            [placed[nodes[s] if nodes[s] >= 0 else alone[s]] for s in tables.sample_stack],
        )
        return out.tables(stack_parent=parents, stack_frame=innermost, sample_stack=samples)


class _Extended:
    """Strings, functions and frames of a profile, and those that stand for its imports."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._strings = list(tables.strings)
        self._columns: dict[str, Any] = {
            name: array(code, getattr(tables, name))
            for name, code in {
                "func_name": "I",
                "func_file": "I",
                "func_line": "i",
                "func_flags": "B",
                "frame_func": "I",
                "frame_line": "i",
                "frame_address": "Q",
            }.items()
        }

    def import_of(self, module: _Imported | None) -> FrameIndex:
        """The frame that stands for the import of a module, or of one that is not known."""
        columns = self._columns
        name, file, flags = module or ("", StringIndex(len(self._strings)), 0)
        if not module:
            self._strings.append(UNKNOWN_FILE)
        func, frame = len(columns["func_name"]), len(columns["frame_func"])
        columns["func_name"].append(len(self._strings))
        self._strings.append(f"import {name}".rstrip())
        for column, value in (("file", file), ("line", 0), ("flags", flags)):
            columns[f"func_{column}"].append(value)
        for column, value in (("func", func), ("line", 0), ("address", 0)):
            columns[f"frame_{column}"].append(value)
        return FrameIndex(frame)

    def tables(self, **stacks: Any) -> Tables:
        """The tables with these stacks."""
        return self._tables.same_stacks(strings=self._strings, **self._columns, **stacks)


# Of an import that no code of a module was met in.
UNKNOWN_FILE = "<frozen importlib._bootstrap>"
