"""What a notebook's stacks mean: which files are cells, which frames and threads are the kernel's.

Works on tables and on the name of files; must not import IPython, nor know how a cell is run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from .._profile import sources
from .._profile.model import Profile
from .._profile.rows import restack, take_rows
from .._profile.tables import (
    NATIVE,
    ROOT,
    Builder,
    FrameIndex,
    StackIndex,
    StringIndex,
    Tables,
    ThreadRow,
)
from .._session.result import TASKS_OF

# IPython's own naming, where the shell no longer knows the cell (or is not there to be asked).
_IPYTHON_NAME = re.compile(r"<ipython-input-(\d+)-[0-9a-f]+>")
_MARIMO_NAME = re.compile(r"__marimo__cell_(\w+?)_(?:\.py)?$")
# IPython names the code of statements either way, depending on its version.
_MODULE_CODE = re.compile(r"<module>|<cell line: \d+>")

# What runs a cell. The kernel's packages have threads of their own beside it; the others may be
# used by the profiled program as well, so a thread that begins in them is not left out.
_KERNEL_PACKAGES = ("IPython", "ipykernel", "marimo", "zmq", "debugpy", "_pydevd_bundle", "pydevd")
_HOST_PACKAGES = (
    "ipykernel_launcher",
    "jupyter_client",
    "jupyter_core",
    "matplotlib_inline",
    "runpy",
    "tornado",
    "traitlets",
)
# Called by a cell's own code with the value of its last expression.
_DISPLAY_HOOK = "displayhook.py"
_LOOP_PACKAGES = ("asyncio", "uvloop")


def cell_label(
    filename: str, format_code_name: Callable[[str], tuple[str, str] | None] | None = None
) -> str | None:
    """Return what the cell compiled under `filename` is called, None where that is a file.

    Parameters
    ----------
    filename : str
    format_code_name : callable, optional
        The shell's own mapping (`IPython.core.compilerop.CachingCompiler.format_code_name`), which
        knows the temporary paths that kernels compile cells under.

    Returns
    -------
    str or None
        ``In [3]``, or ``cell Hbol`` in marimo.
    """
    named = format_code_name(filename) if format_code_name is not None else None
    if named is not None:
        number = re.search(r"\[(\d+)\]", named[1])
        if number is not None:
            return f"In [{number[1]}]"
    match = _IPYTHON_NAME.fullmatch(filename)
    if match is not None:
        return f"In [{match[1]}]"
    match = _MARIMO_NAME.search(filename)
    return f"cell {match[1]}" if match is not None else None


@dataclass(frozen=True)
class Cell:
    """Where code that was compiled under some name stands in a notebook.

    Attributes
    ----------
    label : str
        ``In [3]``; what a cell made and ran while it ran is ``In [3, run 1]``.
    text : str
        The cell as it was written.
    offset : int
        Lines of the text before the first that was compiled.
    """

    label: str
    text: str = ""
    offset: int = 0


@dataclass(frozen=True)
class HostCode:
    """Where the code lies that is not the user's.

    Attributes
    ----------
    kernel : tuple of str
        Path prefixes of code that runs a cell, and that a kernel's own threads begin with.
    frames : tuple of str
        Path prefixes of other code that runs a cell.
    loop : tuple of str
        Path prefixes of event loops: what they call directly is a task.
    bootstrap : tuple of str
        Path prefixes of code that any thread begins with.
    entry : str
        Path of the module that runs profiled code for the magic: the innermost mark of the host.
        Empty where there is none.
    """

    kernel: tuple[str, ...]
    frames: tuple[str, ...]
    loop: tuple[str, ...]
    bootstrap: tuple[str, ...]
    entry: str

    @classmethod
    def of_this_process(cls, entry: str = "") -> HostCode:
        """Find the host's code among the modules imported here."""
        return cls(
            kernel=_prefixes(_KERNEL_PACKAGES),
            frames=_prefixes(_HOST_PACKAGES),
            loop=_prefixes(_LOOP_PACKAGES),
            # The decorator package, which kernels wrap the main functions of their threads with,
            # compiles under names of this kind.
            bootstrap=(*_prefixes(("threading",)), "<decorator-gen-"),
            entry=entry,
        )


def _prefixes(names: Iterable[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if path is None:
            continue
        if os.path.basename(path).startswith("__init__."):
            path = os.path.dirname(path) + os.sep
        found.append(path)
        # Wheels keep the shared libraries of a package beside it.
        if name == "zmq":
            found.append(path.rstrip(os.sep)[: -len("zmq")] + "pyzmq.libs" + os.sep)
    # A module that runs as __main__ or from the frozen set has this name instead.
    found += [f"<frozen {name}>" for name in names]
    return tuple(found)


class _Part(Enum):
    """What a frame is, for the purpose of finding where the user's part of a stack begins."""

    CELL = 0  # module-level code of a cell
    MODULE = 1  # other module-level code
    OTHER = 2
    ENTRY = 3  # the magic itself
    LOOP = 4
    HOST = 5
    KERNEL = 6
    BOOTSTRAP = 7
    NATIVE = 8


def has_cells(profile: Profile, cell_of: Callable[[str], Cell | None], host: HostCode) -> bool:
    """Tell whether any sample of the profile was in the code of a cell."""
    t = profile._tables
    reached = _reaches(t, _parts(t, _cells(t, cell_of), host))
    return any(reached[stack] for stack in t.sample_stack)


def localise(
    profile: Profile,
    *,
    cell_of: Callable[[str], Cell | None],
    host: HostCode,
    cell_threads: Collection[int],
) -> Profile:
    """Return the profile as the user of a notebook knows it.

    The frames of cells are labelled by their cell, and its own code is called by it. On the thread
    that ran the cell everything above the cell's own code is cut off, and samples that never
    reached it (the kernel before and after the cell) are left out; so are the kernel's own threads,
    and the way from a cell through another magic to the code that it runs. Tasks of an event loop
    that a cell awaits begin at the task. Of what tasks wait for, the part below the cell is kept,
    and all of tasks that are not the kernel's; then the loop that waits for them is left out. What
    the host does to show a cell's value is left out as well, but for what the value does itself.

    Parameters
    ----------
    profile : Profile
    cell_of : callable
        The cell that was compiled under a file name, or None; its text is kept for whoever shows
        the source.
    host : HostCode
    cell_threads : collection of int
        Ids under which the thread that ran the cell may be listed.
    """
    t = profile._tables
    builder = Builder()
    found = _cells(t, cell_of)
    for cell in found.values():
        sources.keep(t.meta, cell.label, cell.text)
    of_tasks = {row for row, entry in enumerate(t.threads) if entry["name"].startswith(TASKS_OF)}
    if of_tasks:
        host = replace(host, loop=(*host.loop, *_prefixes(("selectors",))))
    parts = _parts(t, found, host)

    # One function a cell, though each of its statements was compiled on its own.
    frames: list[FrameIndex] = []
    for frame, func in enumerate(t.frame_func):
        name, file = t.strings[t.func_name[func]], t.strings[t.func_file[func]]
        first_line, line = t.func_line[func], t.frame_line[frame]
        cell_here = found.get(t.func_file[func])
        if cell_here is not None:
            file = cell_here.label
            # 0 says that a line is not known.
            first_line += cell_here.offset if first_line else 0
            line += cell_here.offset if line else 0
            if _MODULE_CODE.fullmatch(name):
                name, first_line = cell_here.label, 1
        here = builder.func(name, file, first_line, t.func_flags[func])
        frames.append(builder.frame(here, line, t.frame_address[frame]))

    def same_cell(stack: StackIndex, frame: FrameIndex) -> bool:
        """Whether the innermost frame of a new stack is the same cell's own code."""
        innermost = builder.tables.stack_frame[stack]
        return builder.tables.frame_func[innermost] == builder.tables.frame_func[frame]

    def stacks(keep: Callable[[_Part, _Part], bool], restart: bool) -> list[StackIndex]:
        """Map stacks to new ids; -1 where no frame was kept."""
        mapped: list[StackIndex] = []
        before: list[_Part] = []  # the innermost part that is not native, a stack
        callers: list[StackIndex] = []  # the innermost stack that is not the kernel's, a stack
        for parent, frame in zip(t.stack_parent, t.stack_frame):
            part = parts[t.frame_func[frame]]
            above, last, caller = ROOT, _Part.HOST, ROOT
            if parent >= 0:
                above, last, caller = mapped[parent], before[parent], callers[parent]
            if part in (_Part.CELL, _Part.MODULE) and last is _Part.KERNEL:
                above = caller
                # Through another magic a cell's own lines run as code of their own: still one call.
                if part is _Part.CELL and above >= 0 and same_cell(above, frames[frame]):
                    above = builder.tables.stack_parent[above]
            if restart and part is _Part.ENTRY:
                here = ROOT
            elif above >= 0 or keep(part, last):
                here = builder.stack(above, frames[frame])
            else:
                here = ROOT
            mapped.append(here)
            before.append(last if part is _Part.NATIVE else part)
            callers.append(caller if part in (_Part.NATIVE, _Part.KERNEL) and here >= 0 else here)
        return mapped

    # On the cell's thread: from the cell's code on, or from what an event loop calls.
    from_cell = stacks(
        lambda part, last: (
            _begins_cell(part, last)
            or (last is _Part.LOOP and part in (_Part.OTHER, _Part.MODULE, _Part.BOOTSTRAP))
        ),
        restart=True,
    )
    whole = stacks(lambda part, last: True, restart=False)
    kernels = _kernel_stacks(t, parts)
    displays = _displays(t, parts)

    cell_rows = {row for row, entry in enumerate(t.threads) if entry["tid"] in cell_threads}
    reaches_cell = _reaches(t, parts)
    cell_rows.update(
        thread for thread, stack in zip(t.sample_thread, t.sample_stack) if reaches_cell[stack]
    )
    rows: list[int] = []
    shown: list[StackIndex] = []
    for row, (thread, stack) in enumerate(zip(t.sample_thread, t.sample_stack)):
        elsewhere = ROOT if kernels[stack] else whole[stack]
        new = from_cell[stack] if thread in cell_rows else elsewhere
        if thread in of_tasks and new < 0:
            new = elsewhere
        if new >= 0 and not displays[stack]:
            rows.append(row)
            shown.append(new)
    tables = restack(t, builder, rows, shown)
    # Both mappings were interned; only what a sample refers to is kept.
    return Profile._of(take_rows(tables, range(tables.rows)))


def of_threads(profile: Profile, keep: Callable[[ThreadRow], bool]) -> Profile:
    """Return the samples of the threads that `keep` says yes to."""
    t = profile._tables
    kept = [keep(thread) for thread in t.threads]
    if all(kept):
        return profile
    rows = [row for row, thread in enumerate(t.sample_thread) if kept[thread]]
    return Profile._of(take_rows(t, rows))


def _cells(t: Tables, cell_of: Callable[[str], Cell | None]) -> dict[StringIndex, Cell]:
    """The cells among the files of a profile, by their names' rows."""
    found = {file: cell_of(t.strings[file]) for file in sorted(set(t.func_file))}
    return {file: cell for file, cell in found.items() if cell is not None}


def _parts(t: Tables, found: Container[StringIndex], host: HostCode) -> list[_Part]:
    return [_part_of_func(t, func, found, host) for func in range(len(t.func_name))]


def _part_of_func(t: Tables, func: int, found: Container[StringIndex], host: HostCode) -> _Part:
    file = t.strings[t.func_file[func]]
    native = bool(t.func_flags[func] & NATIVE)
    if file.startswith(host.kernel):
        return _Part.KERNEL
    if native:
        return _Part.NATIVE
    module_level = _MODULE_CODE.fullmatch(t.strings[t.func_name[func]]) is not None
    if t.func_file[func] in found:
        return _Part.CELL if module_level else _Part.OTHER
    if host.entry and file == host.entry:
        return _Part.ENTRY
    if file.startswith(host.loop):
        return _Part.LOOP
    if file.startswith(host.frames):
        return _Part.HOST
    if file.startswith(host.bootstrap):
        return _Part.BOOTSTRAP
    return _Part.MODULE if module_level else _Part.OTHER


def _begins_cell(part: _Part, caller: _Part) -> bool:
    # Where a notebook is a Python file, its cells are compiled under that file's name.
    return part is _Part.CELL or (part is _Part.MODULE and caller is _Part.KERNEL)


def _reaches(t: Tables, parts: list[_Part]) -> list[bool]:
    """Tell for each stack whether it is in a cell's own code or below it."""
    reached: list[bool] = []
    for parent, frame in zip(t.stack_parent, t.stack_frame):
        caller = parts[t.frame_func[t.stack_frame[parent]]] if parent >= 0 else _Part.HOST
        above = parent >= 0 and reached[parent]
        reached.append(above or _begins_cell(parts[t.frame_func[frame]], caller))
    return reached


def _displays(t: Tables, parts: list[_Part]) -> list[bool]:
    """Tell for each stack whether all that it does for a cell is the host's showing of its value.

    What the value does itself to be shown is the cell's.
    """
    hosts = (_Part.KERNEL, _Part.HOST, _Part.NATIVE)
    shown: list[bool] = []
    for parent, frame in zip(t.stack_parent, t.stack_frame):
        func = t.frame_func[frame]
        part = parts[func]
        if parent < 0:
            shown.append(False)
            continue
        caller = parts[t.frame_func[t.stack_frame[parent]]]
        hook = part is _Part.KERNEL and caller is _Part.CELL
        begins = hook and t.strings[t.func_file[func]].endswith(_DISPLAY_HOOK)
        shown.append(begins or (shown[parent] and part in hosts))
    return shown


def _kernel_stacks(t: Tables, parts: list[_Part]) -> list[bool]:
    """Tell for each stack whether what a thread begins with is the kernel's."""
    undecided, kernel, user = range(3)
    states: list[int] = []
    for parent, frame in zip(t.stack_parent, t.stack_frame):
        state = states[parent] if parent >= 0 else undecided
        part = parts[t.frame_func[frame]]
        if state == undecided and part not in (_Part.NATIVE, _Part.BOOTSTRAP, _Part.HOST):
            state = kernel if part is _Part.KERNEL else user
        states.append(state)
    return [state == kernel for state in states]
