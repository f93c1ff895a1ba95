"""Profiling one cell after the other, without being asked for each: who starts and stops it.

Must not know how options are written; what a session of one cell is, is `running`'s business.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from argparse import Namespace
from typing import Any

from IPython.core.error import UsageError

from . import commands, output
from .history import History, Run
from .running import Execution, Recording, Shell

# Of one cell: from here on counts and weights are kept, but no timestamps. Long cells leave room
# for others in the history.
_CELL_MIB = 16.0


class AlwaysOn:
    """Profiles every cell of a shell from the next one on, until it is ended."""

    def __init__(self, shell: Shell, chosen: Namespace, history: History) -> None:
        self._shell, self._history = shell, history
        room = min(chosen.memory_limit, _CELL_MIB)
        fixed = {"memory_limit": room, "aggregate": False, "processes": False}
        fixed |= {"cluster": None, "compare": None}
        self._chosen = Namespace(**{**vars(chosen), **fixed})
        self._cell: _KeptCell | None = None

    def begin(self) -> None:
        """Have the shell tell of its cells."""
        self._shell.events.register("pre_run_cell", self._cell_begins)
        self._shell.events.register("post_run_cell", self._cell_ended)

    def end(self) -> None:
        """Profile nothing from now on, the cell that runs included."""
        self._shell.events.unregister("pre_run_cell", self._cell_begins)
        self._shell.events.unregister("post_run_cell", self._cell_ended)
        if self._cell is not None:
            self._cell.abandon()
            self._cell = None

    def _cell_begins(self, info: Any) -> None:
        cell = self._cell
        if cell is not None:
            if not cell.was_left():
                return  # a cell within a cell, or beside it
            self._finish(cell)
        if not commands.is_command(info.raw_cell):
            self._cell = _KeptCell(self._shell, self._chosen, info)
            try:
                self._cell.start()
            except BaseException:
                self._cell.abandon()
                self._cell = None
                raise

    def _cell_ended(self, _result: Any) -> None:
        # The end of a cell within a cell, or beside it, says nothing of ours.
        if self._cell is not None and self._cell.is_over:
            self._finish(self._cell)

    def _finish(self, cell: _KeptCell) -> None:
        run = cell.finish()
        self._cell = None
        self._history.add(run)
        if run.wall_ns >= self._chosen.threshold * 1e9 and not cell.was_shown:
            try:
                output.offer(run)
            except Exception as error:  # noqa: BLE001 - what ran must not fail for what is said of it
                print(f"spprof: {error!r}; %spprof last shows the profile", file=sys.stderr)


class _KeptCell:
    """One cell, from before its first statement until everything of it was shown."""

    def __init__(self, shell: Shell, chosen: Namespace, info: Any) -> None:
        self._shell, self._info = shell, info
        self._execution = Execution(shell, info)
        self._recording = Recording(shell, chosen, self._execution, names=())
        self._thread = threading.get_ident()
        self._asked_before = Recording.latest
        self._forget = self._execution.when_over(self._stop, self._end)
        self._began = self._ended = (0, 0)
        self.is_over = False

    def start(self) -> None:
        # Where a session of the user's own runs, this cell's line goes without a profile.
        with contextlib.suppress(UsageError):
            self._recording.start(gives_way=True)
        self._began = time.perf_counter_ns(), time.process_time_ns()

    def was_left(self) -> bool:
        """Whether it is over, told or not; another thread cannot know."""
        return threading.get_ident() == self._thread and (
            self.is_over or self._execution.was_left()
        )

    @property
    def was_shown(self) -> bool:
        """Whether a magic in the cell showed a profile of its own."""
        return Recording.latest is not self._asked_before

    def finish(self) -> Run:
        self._forget()
        if not self.is_over:
            self._stop()
        result = self._execution.result
        error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
        (wall, cpu), (wall_end, cpu_end) = self._began, self._ended
        # In favour of what a magic took of this cell this session ended.
        taken = Recording.latest if self.was_shown else self._recording
        assert taken is not None  # who asked does not go
        return Run(
            self._info.raw_cell,
            getattr(result, "execution_count", None) if self._info.store_history else None,
            wall_ns=wall_end - wall,
            cpu_ns=cpu_end - cpu,
            failure="" if error is None else type(error).__name__,
            profile=taken.profile,
            localise=taken.localiser(),
        )

    def abandon(self) -> None:
        """Stop, and forget it; a session that took over is left alone."""
        self._forget()
        self._recording.abandon()

    def _stop(self) -> None:
        self._ended = time.perf_counter_ns(), time.process_time_ns()
        self._recording.stop()

    def _end(self) -> None:
        if self._recording.profile is None:  # `_stop` was interrupted
            self._recording.stop()
        self.is_over = True
