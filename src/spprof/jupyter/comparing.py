"""What ``%%spprof --compare`` compares a cell with, and how both are shown: graph and table.

Must not know how options are written, nor how a cell is run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from .._profile import model, outline, text
from .._profile.names import place
from .._profile.tables import NATIVE, measure
from . import output
from .host import in_notebook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._profile.model import Profile, ProfileDiff
    from .._profile.tables import Tables

LAST = "last"
# Rows of the table below the graph.
_ROWS = 20


def baseline(what: str, names: Mapping[str, Any], last: str, mode: str) -> Profile:
    """The profile to compare with, before anything runs.

    Parameters
    ----------
    what : str
        ``last``, the name of a variable, or a path.
    names : mapping
        The variables there are.
    last : str
        Name of the variable that holds the last profile.
    mode : str
        What the cell is going to be measured in.

    Raises
    ------
    UsageError
        There is no such profile, or it cannot be compared.
    """
    if what == LAST:
        found = names.get(last)
        if not isinstance(found, model.Profile):
            raise UsageError(f"--compare {LAST}: no cell was profiled before; profile one first")
    elif what in names:
        found = names[what]
        found = found._for_output() if isinstance(found, model.AggregatedProfile) else found
        if not isinstance(found, model.Profile):
            kind = type(found).__name__
            raise UsageError(f"--compare {what}: the variable holds no Profile but a {kind}")
    else:
        try:
            found = model.load(os.path.expanduser(what))
        except FileNotFoundError:
            raise UsageError(
                f"--compare takes {LAST}, a variable that holds a Profile, or a file; there is no "
                f"variable and no file {what!r}"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"--compare {what}: {error}") from error
    if found.mode not in ("", mode):
        raise UsageError(
            f"--compare {what}: it is of {measure(found.mode)}, and the cell would be of "
            f"{measure(mode)}: add --mode {found.mode}"
        )
    return found


def display(before: Profile, after: Profile, *, view: str | None = None) -> None:
    """Show what changed: the graph, coloured by it, and what grew and shrank."""
    if not after.sample_count or not before.sample_count:
        # Nothing to compare; the one that is there says how to have more.
        output.display(after, view=view)
        return
    renamed = same_cells(before._tables, after._tables)
    difference = model.diff(model.Profile._of(renamed), after)
    output.display(difference, view=view)
    if in_notebook():
        _publish_table(difference)


def _publish_table(difference: ProfileDiff) -> None:
    from IPython.display import publish_display_data

    found = difference._found.folded()
    html = outline.differences_html(
        [entry for entry in found.functions if entry.before_ns or entry.after_ns],
        text.native_functions(found),
        _ROWS,
        text.meaning(found),
    )
    publish_display_data({"text/html": html, "text/plain": ""})


def same_cells(before: Tables, after: Tables) -> Tables:
    """Call cells before as they are called after, where they were run again under other numbers.

    A cell of which only the one side knows is taken for one of which only the other knows: that
    which has most functions of the same names.
    """
    old, new = _cells(before), _cells(after)
    gone = {cell: names for cell, names in old.items() if cell not in new}
    come = {cell: names for cell, names in new.items() if cell not in old}
    strings = list(before.strings)
    pairs = sorted(
        (-len(names & others), cell, other)
        for cell, names in gone.items()
        for other, others in come.items()
    )
    called: dict[str, str] = {}
    for common, cell, other in pairs:
        if common and cell not in called and other not in called.values():
            called[cell] = other
    # A cell's own code is called as the cell is, by the same text.
    for index in set(before.func_file):
        strings[index] = called.get(strings[index], strings[index])
    return before.same_stacks(strings=strings) if called else before


def _cells(tables: Tables) -> dict[str, set[str]]:
    """Functions of each cell that was met; "" for its own code."""
    found: dict[str, set[str]] = {}
    columns = zip(tables.func_name, tables.func_file, tables.func_flags)
    for name, file, flags in columns:
        label = tables.strings[file]
        if not flags & NATIVE and place(label, False).origin == "cell":
            called = tables.strings[name]
            found.setdefault(label, set()).add("" if called == label else called)
    return found
