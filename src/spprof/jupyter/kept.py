"""What the commands of ``%spprof`` do: profiles kept of a whole notebook, and looking at them.

Must not know how a cell is profiled, nor how commands are written.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError

from .._profile.model import Profile, ProfileDiff
from .._session import session
from .._session.options import Options
from .._session.profiler import Profiler
from ..formats import files
from . import cells, commands, gone, output, report
from .always import AlwaysOn
from .history import History, Run, history_lines
from .options import LAST_PROFILE
from .running import Shell


class HistoryTable:
    """What each cell cost, as a cell's value."""

    def __init__(self, history: History) -> None:
        self._history = history

    def __repr__(self) -> str:
        return "\n".join(history_lines(self._history))

    def _repr_html_(self) -> str:
        return report.history_html(self._history)


class KeptNotebook:
    """The history of a shell's cells, and the one who adds to it while it is asked to."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._history = History()
        self._always: AlwaysOn | None = None
        self._report: str | None = None

    def run(self, command: str, line: str, defaults: dict[str, Any]) -> Any:
        """Do what a command says; `defaults` are those of options that are not given."""
        if command == "on":
            return self.on(commands.parse_on(line, defaults))
        if command == "last":
            numbers = commands.numbers(command, line, (0, 1))
            return self._last(numbers[0] if numbers else None)
        if command == "now":
            return self._now(commands.seconds(line), defaults)
        if command == "compare":
            before, after = commands.numbers(command, line, (2,))
            return self._compare(before, after)
        if command == "report":
            return self._write_report(line)
        if line:
            raise UsageError(f"%spprof {command} takes nothing more, not {line!r}")
        return self.off() if command == "off" else self._table()

    def on(self, chosen: Namespace) -> None:
        """Profile every cell from the next one on, with these options; twice is as the last one."""
        try:
            session.check(Options(chosen.interval, mode=chosen.mode, native=chosen.native))
        except (ValueError, RuntimeError) as error:
            raise UsageError(str(error)) from error
        if chosen.report is not None:
            self._report = _writable(chosen.report)
            atexit.unregister(self._write_at_end)
            atexit.register(self._write_at_end)
        self.off()
        self._always = AlwaysOn(self._shell, chosen, self._history)
        self._always.begin()

    def off(self) -> None:
        """Profile nothing from now on; what was taken stays."""
        if self._always is not None:
            self._always.end()
            self._always = None

    def unload(self) -> None:
        """Profile nothing, and write nothing at the end."""
        self.off()
        atexit.unregister(self._write_at_end)

    def _table(self) -> HistoryTable:
        if not len(self._history):
            raise UsageError("nothing has run under %spprof on yet")
        return HistoryTable(self._history)

    def _run_of(self, number: int | None) -> tuple[Run, Profile]:
        run = self._history.last() if number is None else self._history.cell(number)
        if run is None:
            which = "nothing" if number is None else f"no cell [{number}]"
            raise UsageError(f"{which} has run under %spprof on; see %spprof history")
        if run.profile is None:
            raise UsageError(
                f"there is no profile of {run.title}: it gave way to another session, or to newer "
                "profiles in memory; see %spprof history"
            )
        return run, run.profile

    def _last(self, number: int | None) -> None:
        _, profile = self._run_of(number)
        self._shell.user_ns[LAST_PROFILE] = profile
        gone.close_with_cell(output.display(profile))

    def _now(self, seconds: float, defaults: dict[str, Any]) -> None:
        try:
            profile = session.snapshot()
        except RuntimeError:  # none is running
            profile = self._look_for(seconds, defaults)
        # Who asks, from a thread beside, is not what is asked for.
        if threading.current_thread() is not threading.main_thread():
            mine = threading.get_native_id()
            profile = cells.of_threads(profile, lambda thread: thread["tid"] != mine)
        shown = output.from_cells_on(profile)
        self._shell.user_ns[LAST_PROFILE] = shown
        gone.close_with_cell(output.display(shown, view=defaults["view"]))

    def _look_for(self, seconds: float, defaults: dict[str, Any]) -> Profile:
        names = ("mode", "native")
        profiler = Profiler(defaults["interval"], **{name: defaults[name] for name in names})
        try:
            with profiler:
                time.sleep(seconds)
        except (ValueError, RuntimeError) as error:
            raise UsageError(str(error)) from error
        if profiler.profile is None:
            raise UsageError("another session took over while this one looked")
        return profiler.profile

    def _compare(self, before: int, after: int) -> None:
        (_, old), (_, new) = self._run_of(before), self._run_of(after)
        for number, profile in ((before, old), (after, new)):
            if not profile.sample_count:
                raise UsageError(f"there are no samples of In [{number}] to compare")
        difference = ProfileDiff(old, new)
        self._shell.user_ns[LAST_PROFILE] = difference
        gone.close_with_cell(output.display(difference))

    def _write_report(self, line: str) -> None:
        if not len(self._history):
            raise UsageError("nothing has run under %spprof on yet")
        path = _writable(line.strip("\"'") or "spprof-report.html")
        report.write(self._history, path)
        print(f"spprof: {os.path.relpath(path)} has {len(self._history)} cells")

    def _write_at_end(self) -> None:
        if self._report is None or not len(self._history):
            return
        try:
            report.write(self._history, self._report)
        except Exception as error:  # noqa: BLE001 - the kernel ends: there is nobody else to tell
            print(f"spprof: the report was not written: {error!r}", file=sys.stderr)


def _writable(path: str) -> str:
    """An absolute path: the notebook may change the directory."""
    absolute = os.path.abspath(os.path.expanduser(path))
    if Path(absolute).suffix not in (".html", ".htm"):
        raise UsageError(f"the report is an HTML page: {path!r} should end in .html")
    try:
        files.check_writable(absolute)
    except OSError as error:
        raise UsageError(str(error)) from error
    return absolute
