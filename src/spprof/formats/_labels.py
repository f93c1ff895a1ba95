"""How threads and functions are called in formats that have only text for them.

Must not know any one format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._profile.names import process_name
from .._profile.tables import NATIVE, FrameIndex, Tables, ThreadRow
from .._version import __version__

_THREAD_LABEL = re.compile(
    r"(?P<name>.*) \((?P<tid>[0-9]{1,19})\)(?:, process (?P<pid>[0-9]{1,19}))?", re.DOTALL
)

# Where only "name (place)" is known, these endings tell machine code from Python.
_NATIVE_SOURCE = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".rs", ".s", ".f", ".f90")
_PYTHON_SOURCE = (".py", ".pyw", ".pyx", ".ipynb")


def exporter() -> str:
    """Name and version of this package, as exporters call themselves."""
    return f"spprof@{__version__}"


def processes(tables: Tables) -> set[tuple[str, int]]:
    """Distinct (host, pid) among the threads."""
    return {(thread["host"], thread["pid"]) for thread in tables.threads}


def process_names(tables: Tables) -> dict[int, str]:
    """What people call the processes of this machine that the profile tells of, by pid."""
    return {
        process["pid"]: process_name(process["name"], process["command"])
        for process in tables.meta.processes
    }


def process_label(thread: ThreadRow) -> str:
    """``process 4242``, with the host where that is another one."""
    label = f"process {thread['pid']}"
    return f"{label} on {thread['host']}" if thread["host"] else label


def thread_label(thread: ThreadRow, *, with_process: bool = False) -> str:
    """``MainThread (4242)``, with the process where there are several."""
    label = f"{thread['name']} ({thread['tid']})"
    return f"{label}, {process_label(thread)}" if with_process else label


def parse_thread_label(label: str, default_tid: int) -> ThreadRow:
    """Read back `thread_label`; any other text is a name."""
    match = _THREAD_LABEL.fullmatch(label)
    if match is None:
        return {"tid": default_tid, "name": label, "pid": 0, "host": ""}
    return {
        "tid": int(match["tid"]),
        "name": match["name"],
        "pid": int(match["pid"] or 0),
        "host": "",
    }


def looks_native(place: str, has_line: bool) -> bool:
    """Guess whether ``name (place:line)`` or ``name (place)`` is machine code."""
    lowered = place.lower()
    if has_line:
        return lowered.endswith(_NATIVE_SOURCE)
    return not (lowered.endswith(_PYTHON_SOURCE) or lowered.startswith(("<", "in [")))


def function_files(tables: Tables) -> Iterator[tuple[str, bool]]:
    """File of each function, and whether it is native, in the order of the table."""
    for file, flags in zip(tables.func_file, tables.func_flags):
        yield tables.strings[file], bool(flags & NATIVE)


def shown_line(tables: Tables, frame: FrameIndex, lines: bool) -> int:
    """Line to print for a frame: the executed one, or its function's first where known."""
    executed, first = tables.frame_line[frame], tables.func_line[tables.frame_func[frame]]
    if lines:
        return executed
    # Without its first line a Python function is only known by where it executes; a native one is
    # known by its name, and would fall apart into its lines.
    return first if first or is_native(tables, frame) else executed


def is_native(tables: Tables, frame: FrameIndex) -> bool:
    """Whether a frame is machine code."""
    return bool(tables.func_flags[tables.frame_func[frame]] & NATIVE)
