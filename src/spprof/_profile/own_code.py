"""A profile as its author wrote it: what libraries do belongs to the line that called them.

`js/src/profile/own-code.ts` has the same rule; `tests/examples` holds both to the same answers.
Must not know what is asked of a profile: tables in, tables out.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from .names import place
from .tables import NATIVE, StackIndex, Tables

if TYPE_CHECKING:
    from .tables import FrameIndex

# Code that came from no file, and is nobody else's.
_TYPED = ("<string>", "<stdin>")


def is_own(file: str, native: bool) -> bool:
    """Whether code is a cell's, or a file's that belongs to no library."""
    return file in _TYPED or place(file, native).origin in ("cell", "file")


def only_own(tables: Tables) -> Tables:
    """Return the tables without frames of libraries; the same object where there are none.

    Every sample is still there. One that met no own code keeps its outermost frame.
    """
    own = [
        is_own(tables.strings[file], bool(flags & NATIVE))
        for file, flags in zip(tables.func_file, tables.func_flags)
    ]
    if all(own):
        return tables
    parents, frames = array("i"), array("I")
    rows: dict[tuple[int, int], int] = {}

    def row(parent: int, frame: FrameIndex) -> int:
        at = rows.setdefault((parent, frame), len(rows))
        if at == len(parents):
            parents.append(parent)
            frames.append(frame)
        return at

    placed: list[int] = []  # -1: no own code so far
    outermost: list[FrameIndex] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        above = placed[parent] if parent >= 0 else -1
        outermost.append(outermost[parent] if parent >= 0 else frame)
        placed.append(row(above, frame) if own[tables.frame_func[frame]] else above)
    samples = array(
        "I",
        [
            placed[stack] if placed[stack] >= 0 else row(-1, outermost[stack])
            for stack in map(StackIndex, tables.sample_stack)
        ],
    )
    return tables.same_stacks(stack_parent=parents, stack_frame=frames, sample_stack=samples)
