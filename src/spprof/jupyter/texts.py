"""Which cell a piece of compiled code came from, and what that cell says.

Works on a shell's history, its compiler and `linecache`; must not know profiles, nor how a cell
is run.
"""

from __future__ import annotations

import linecache
import re
from typing import Any

from .cells import Cell, cell_label

# How IPython names what `%%time` compiles: the same for every cell.
_TIMED = ("<timed exec>", "<timed eval>")
# A cell that the shell does not count.
UNCOUNTED = "In [ ]"


class CellTexts:
    """Finds the cell of a file name, for as long as one profile is being looked at.

    A number alone does not tell the cell: what a cell runs through another magic or `run_cell` is
    compiled with the number that IPython counts by at that moment, which may be the next cell's.
    So the compiled text is looked for in the texts of the cells, whole or as the last lines
    (a magic's body). What is found in none was made by a cell while it ran, and has a name and a
    text of its own.

    Parameters
    ----------
    shell : InteractiveShell
    result : ExecutionResult, optional
        Of the cell that was profiled; of the one that runs now, where that is not said.
    """

    def __init__(self, shell: Any, result: Any = None) -> None:
        self._shell = shell
        self._format_name = getattr(getattr(shell, "compile", None), "format_code_name", None)
        history = getattr(shell, "history_manager", None)
        self._raw: list[str] = getattr(history, "input_hist_raw", [])
        self._parsed: list[str] = getattr(history, "input_hist_parsed", [])
        result = result or getattr(getattr(shell, "displayhook", None), "exec_result", None)
        self._running: str = getattr(getattr(result, "info", None), "raw_cell", None) or ""
        self._running_number: int | None = getattr(result, "execution_count", None)
        # Asked here and now: the shell counts on.
        self._ahead = self._counts_ahead()
        self._found: dict[str, Cell | None] = {}

    def __call__(self, filename: str) -> Cell | None:
        """The cell of what was compiled under this name; None where it is a file."""
        if filename not in self._found:
            self._found[filename] = self._find(filename)
        return self._found[filename]

    def _find(self, filename: str) -> Cell | None:
        if filename in _TIMED:
            return self._timed()
        label = cell_label(filename, self._format_name)
        if label is None:
            return None
        text = "".join(linecache.getlines(filename))
        compiled = _lines(text)
        number = re.fullmatch(r"In \[(\d+)\]", label)
        if number is None or not compiled:
            return Cell(label, text)
        claimed = int(number[1])
        candidates = {claimed, claimed - self._ahead}
        for candidate in sorted(candidates, reverse=True):
            if 0 < candidate < min(len(self._raw), len(self._parsed)):
                offset = self._offset(compiled, self._raw[candidate], self._parsed[candidate])
                if offset is not None:
                    return Cell(f"In [{candidate}]", self._raw[candidate], offset)
        if self._running and not self._is_counted():
            offset = self._offset(compiled, self._running, None)
            if offset is not None:
                return Cell(UNCOUNTED, self._running, offset)
        if not self._raw:
            return Cell(label, text)
        label = f"In [{min(candidates)}, run %d]"
        taken = {cell.label for cell in self._found.values() if cell is not None}
        run = next(run for run in range(1, len(taken) + 2) if label % run not in taken)
        return Cell(label % run, text)

    def _timed(self) -> Cell | None:
        """The cell that runs, where `%%time` is among the magics above its code."""
        for at, line in enumerate(self._running.splitlines()):
            if re.match(r"%%time\b(?!it)", line):
                rest = self._running.splitlines()[at + 1 :]
                blank = next((i for i, text in enumerate(rest) if text.strip()), 0)
                label = f"In [{self._running_number}]" if self._is_counted() else UNCOUNTED
                return Cell(label, self._running, at + 1 + blank)
            if line.strip() and not line.startswith("%%"):
                return None
        return None

    def _is_counted(self) -> bool:
        number = self._running_number
        return (
            number is not None
            and 0 < number < len(self._raw)
            and self._raw[number].strip() == self._running.strip()
        )

    def _counts_ahead(self) -> int:
        """How far the shell's number is ahead of the cell's while the cell runs, by version."""
        if self._running_number is None or not self._is_counted():
            return 0
        return max(0, int(self._shell.execution_count) - self._running_number)

    def _offset(self, compiled: list[str], raw: str, parsed: str | None) -> int | None:
        """Lines of a cell before what was compiled of it; None where that is not of this cell."""
        lines = _lines(raw)
        blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
        if parsed is None:
            parsed = self._transformed(raw)
        # The first line of a profiled cell is shown as it was written: see `show_as_written`.
        as_shown = [shown_as(lines[blank]), *_lines(parsed)[1:]] if lines else []
        if compiled in (_lines(parsed), as_shown):
            return blank
        padding = next((i for i, line in enumerate(compiled) if line.strip()), 0)
        body = compiled[padding:]
        tail = lines[-len(body) :]
        is_part = len(body) < len(lines) and (
            tail == body or _lines(self._transformed("\n".join(tail) + "\n")) == body
        )
        return len(lines) - len(compiled) if is_part else None

    def _transformed(self, text: str) -> str:
        try:
            return str(self._shell.transform_cell(text))
        except SyntaxError:  # these lines are no cell by themselves
            return text


def body_offset(raw: str, body: str) -> int:
    """Lines of a cell's text before `body`, where that is its end; else 0."""
    lines, last = _lines(raw), _lines(body)
    is_end = 0 < len(last) < len(lines) and lines[-len(last) :] == last
    return len(lines) - len(last) if is_end else 0


def shown_as(line: str) -> str:
    """What tracebacks show in place of the statement that begins a profile: a comment."""
    return f"# {line.strip()}"


def show_as_written(filename: str, line: str) -> None:
    """Have tracebacks show the first line of this code as the user wrote it."""
    entry: Any = linecache.cache.get(filename)
    if entry is not None and len(entry) == 4 and entry[2]:
        size, changed, lines, name = entry
        linecache.cache[filename] = (size, changed, [shown_as(line) + "\n", *lines[1:]], name)


def _lines(text: str) -> list[str]:
    """Lines without the blank ones at the end, which magics and the shell add or take away."""
    return text.rstrip().splitlines()
