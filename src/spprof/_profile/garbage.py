"""Which stacks of a profile collect garbage, and for how long.

Pure over tables; the one place that knows how collection looks in a profile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .names import short
from .tables import NATIVE

if TYPE_CHECKING:
    from .tables import Tables

# The frame that the engine puts where a collection begins, whatever set it off.
_MARK = "[garbage collection"
# CPython's functions that collect, by version: 3.9-3.12, 3.13, 3.14 and later. Other profilers'
# profiles with machine code have these alone.
_COLLECTING = re.compile(
    r"^(?:gc_collect\w*|_?PyGC_Collect\w*|_Py_RunGC|collect_(?:main|generations|with_callback))$",
    re.ASCII,
)


def in_collection(tables: Tables) -> bytearray:
    """For each stack whether it is in a garbage collection, with what that calls."""
    collects = [
        tables.strings[name].startswith(_MARK)
        or bool(flags & NATIVE and _COLLECTING.match(short(tables.strings[name], True)))
        for name, flags in zip(tables.func_name, tables.func_flags)
    ]
    within = bytearray(len(tables.stack_frame))
    if any(collects):
        for row, (parent, frame) in enumerate(zip(tables.stack_parent, tables.stack_frame)):
            within[row] = collects[tables.frame_func[frame]] or (parent >= 0 and within[parent])
    return within


def collection_ns(tables: Tables) -> int:
    """Time in garbage collection, with what it called."""
    within = in_collection(tables)
    rows = zip(tables.sample_stack, tables.sample_weight)
    return sum(weight for stack, weight in rows if within[stack])
