"""How a cell or a statement is run under the profiler: from its beginning to what is shown of it.

Must not know how options are written; what the frames of a notebook mean is `cells`', what is
shown is `output`'s business.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from .._session import session
from .._session.options import Options
from . import cells, comparing, gone, output
from .host import in_notebook
from .live import THREAD_NAME, LiveGraph
from .options import LAST_PROFILE
from .texts import CellTexts

if TYPE_CHECKING:
    from .._cluster.cluster import Workers
    from .._profile.model import Profile
    from .._profile.tables import ThreadRow
    from .widget import FlameGraphWidget

# An IPython.core.interactiveshell.InteractiveShell; what its parts are declared as differs from
# version to version.
Shell = Any

# What a profile holds of the magics themselves begins with a frame of this file.
_ENTRY = __file__
_STOPPED_INSIDE = "the profiled code stopped this profile itself; what ran after is not in it"


class Execution:
    """The run of a cell that is under way now, to be told from others that begin and end in it.

    The shell's events cannot be counted: of an empty cell `post_execute` alone is fired, of an
    awaited one `pre_execute` alone.

    Parameters
    ----------
    shell : InteractiveShell
    info : ExecutionInfo, optional
        Of a cell that is about to be run, as callbacks of `pre_run_cell` get it.
    """

    def __init__(self, shell: Shell, info: Any = None) -> None:
        self._shell = shell
        self._result = shell.displayhook.exec_result if info is None else None
        self._info = info or getattr(self._result, "info", None)
        # None where the kernel awaits the cell itself.
        self._caller = _innermost(_RUN)

    @property
    def result(self) -> Any:
        """What the shell says of it; None where no cell runs, or before its code is compiled."""
        if self._result is None and self._info is not None:
            for each in (self._shell.displayhook.exec_result, self._shell.last_execution_result):
                if each is not None and each.info is self._info:
                    self._result = each
        return self._result

    def is_over(self) -> bool:
        """Whether the shell is done with it: to be asked by callbacks of `post_execute`."""
        last = self._shell.last_execution_result
        # An interrupted event loop leaves without a result, but not without its caller.
        return (last is not None and last.info is self._info) or (
            self._caller is not None and _innermost(_RUN, _RUN_ASYNC) is self._caller
        )

    def was_left(self) -> bool:
        """Whether it is over though nobody was told: to be asked as another cell begins."""
        last = self._shell.last_execution_result
        return (last is not None and last.info is self._info) or (
            self._caller is not None and not _is_under_way(self._caller)
        )

    def when_over(self, first: Callable[[], None], last: Callable[[], None]) -> Callable[[], None]:
        """Call `first` and `last` before and after all others when it is over.

        Returns
        -------
        callable
            Takes both back.
        """
        events = self._shell.events
        thread = threading.get_ident()

        def concerns() -> bool:
            return threading.get_ident() == thread and self.is_over()

        def before() -> None:
            if concerns():
                first()

        def after() -> None:
            if concerns():
                forget()
                last()

        def forget() -> None:
            for each in (before, after):
                if each in events.callbacks["post_execute"]:
                    events.unregister("post_execute", each)

        events.register("post_execute", before)
        events.register("post_execute", after)
        callbacks = events.callbacks["post_execute"]
        callbacks.remove(before)
        callbacks.insert(0, before)
        return forget


_RUN = InteractiveShell.run_cell.__code__
_RUN_ASYNC = InteractiveShell.run_cell_async.__code__


def _innermost(*codes: CodeType) -> FrameType | None:
    """The innermost call of these functions of the shell's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame


def _is_under_way(call: FrameType) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not call:
        frame = frame.f_back
    return frame is not None


class Recording:
    """A session of the profiler for one cell or statement; owns its profile, whoever stops it."""

    # That somebody asked for last; what profiles every cell gives way to it.
    latest: Recording | None = None

    def __init__(
        self,
        shell: Shell,
        options: Namespace,
        execution: Execution,
        names: Sequence[str] | None = None,
    ) -> None:
        self._shell, self._options, self._execution = shell, options, execution
        if names is None:
            names = [LAST_PROFILE] + ([options.name] if options.name is not None else [])
        self._workers = _workers(options.cluster, shell.user_ns)
        self._names = names  # variables that keep the profile
        self._is_localised = False
        self._live: LiveGraph | None = None
        self._live_widget: FlameGraphWidget | None = None
        self.profile: Profile | None = None
        # Read before the cell runs: it may change the variable, or the directory.
        self._before: Profile | None = None
        if options.compare is not None:
            self._before = comparing.baseline(
                options.compare, shell.user_ns, LAST_PROFILE, options.mode
            )

    def start(self, *, gives_way: bool = False) -> None:
        """Start the session; what it refuses is the user's to know."""
        chosen = self._options
        self._threads = Threads(chosen.threads, chosen.mode)
        options = Options(
            chosen.interval,
            memory_limit_mb=chosen.memory_limit,
            mode=chosen.mode,
            aggregate=chosen.aggregate,
            # None where nothing was said: then `set_native_unwinding` decides.
            native=chosen.native,
            processes=chosen.processes,
        )
        options.processes_spelling = "%%spprof --processes"
        try:
            session.begin(options, stacklevel=2, owner=self, gives_way=gives_way)
        except (ValueError, RuntimeError, OSError) as error:
            raise UsageError(str(error)) from error
        if self._workers is not None:
            try:
                self._workers.begin(options)
            except BaseException as error:
                session.end(self)
                if isinstance(error, (RuntimeError, OSError)):
                    raise UsageError(str(error)) from error
                raise
        if gives_way:
            return
        Recording.latest = self
        if chosen.live and not chosen.quiet and self._before is None and in_notebook():
            localise = self.localiser()

            def look() -> Profile | None:
                profile = session.look(self)
                return None if profile is None else localise(profile)

            self._live = LiveGraph(self._shell, look, self._opened_with())
            self._live.begin()

    def stop(self) -> None:
        """Stop the session and keep its profile, whatever happens after."""
        stopped_now = session.end(self) is not None
        if self._live is not None:
            self._live_widget = self._live.end()
        if self.profile is None:
            return
        if self._workers is not None:
            self.profile = self._workers.end(self.profile)
        if not stopped_now:
            tables = self.profile._tables
            meta = tables.meta.with_notes(_STOPPED_INSIDE)
            self.profile = type(self.profile)._of(tables.same_stacks(meta=meta))
        self._shell.user_ns.update(dict.fromkeys(self._names, self.profile))

    def _opened_with(self) -> dict[str, Any]:
        """Options of `output.display`."""
        view, all_frames = self._options.view, self._options.all_frames
        return {"view": view, **({"all_frames": True} if all_frames else {})}

    def localiser(self) -> Callable[[Profile], Profile]:
        """What makes of its profile, now or later, the one that its user knows."""
        if self._is_localised:
            return lambda profile: profile
        return localiser(self._shell, self._execution, self._threads)

    def abandon(self) -> None:
        """Stop without a word; a session that is not this cell's is left alone."""
        if self._live is not None:
            self._live.end()
        session.end(self)
        if self._workers is not None and self.profile is not None:
            self._workers.end(self.profile)

    def finish(self) -> None:
        """Save and show the profile as the user of a notebook knows it."""
        if self.profile is None:  # forgotten in a forked child
            return
        shell, options = self._shell, self._options
        try:
            self.profile = profile = self.localiser()(self.profile)
            self._is_localised = True
            shell.user_ns.update(dict.fromkeys(self._names, profile))
            if options.output is not None:
                profile.save(Path(options.output), format=options.format)
            if self._live_widget is not None:
                output.replace(self._live_widget, profile)
            elif not options.quiet and self._before is not None:
                comparing.display(self._before, profile, view=options.view)
            elif not options.quiet:
                gone.close_with_cell(output.display(profile, **self._opened_with()))
        except Exception:  # noqa: BLE001 - what was run must not be lost to what is shown after it
            shell.showtraceback()
            print(
                f"spprof: the profile itself is in the variable {self._names[-1]}.", file=sys.stderr
            )


def _workers(expression: str | None, names: dict[str, Any]) -> Workers | None:
    """The workers that an expression of the user's stands for."""
    if expression is None:
        return None
    from .._cluster.cluster import Workers

    try:
        return Workers(eval(expression, names))
    except Exception as error:
        raise UsageError(f"--cluster {expression}: {type(error).__name__}: {error}") from error


class Threads:
    """Which threads of a profile are shown: to be made on the cell's thread, before it runs.

    Parameters
    ----------
    which : str or None
        "all", "cell" (the cell's own and those that were started while it ran), or a name with
        wildcards; None: "cell" in wall time, of which idle pools of earlier cells have as much as
        the cell, else "all".
    mode : str
    """

    def __init__(self, which: str | None, mode: str) -> None:
        self._which = which or ("cell" if mode == "wall" else "all")
        self.own = {threading.get_ident(), threading.get_native_id()}
        self._before = _threads_now() if self._which == "cell" else set()

    def are_shown(self, thread: ThreadRow) -> bool:
        """Whether a thread's samples are."""
        if thread["name"] == THREAD_NAME:  # born while the cell ran, but not of its making
            return False
        if self._which == "all":
            return True
        if self._which == "cell":
            return thread["tid"] in self.own or thread["tid"] not in self._before
        return fnmatch.fnmatchcase(thread["name"], self._which)


def _threads_now() -> set[int]:
    """Ids of the threads of this process: all of them, or where that is not told Python's."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return {each.native_id for each in threading.enumerate() if each.native_id is not None}


def localiser(shell: Shell, execution: Execution, threads: Threads) -> Callable[[Profile], Profile]:
    """What makes of a profile of this execution, now or later, the one that its user knows."""
    cell_of = CellTexts(shell, execution.result)

    def localised(profile: Profile) -> Profile:
        whole = cells.localise(
            profile,
            cell_of=cell_of,
            host=cells.HostCode.of_this_process(entry=_ENTRY),
            cell_threads=threads.own,
        )
        return cells.of_threads(whole, threads.are_shown)

    return localised


class RunningCell:
    """A cell being profiled: from its first statement to the end of its execution.

    The cell is not run by the magic but by the shell, as any other.
    """

    def __init__(self, shell: Shell, options: Namespace, done: Callable[[], None]) -> None:
        execution = Execution(shell)
        if execution.result is None:
            raise UsageError("%%spprof profiles a cell that is being run, and none is")
        self._done = done
        self._recording = Recording(shell, options, execution)
        self._recording.start()
        # Figures are drawn after a cell too, and are not the cell's doing: stop before, and show
        # after them.
        self._forget = execution.when_over(self._recording.stop, self._show)

    def _show(self) -> None:
        self._done()
        self._recording.finish()

    def abandon(self) -> None:
        """Stop without a word; a session that is not this cell's is left alone."""
        self._forget()
        self._done()
        self._recording.abandon()


def run_now(shell: Shell, options: Namespace, run: Callable[[], Any]) -> Any:
    """Profile a call that is made here and now; returns its value."""
    __tracebackhide__ = True  # known to IPython: what failed is the user's code
    execution = Execution(shell)
    recording = Recording(shell, options, execution)
    recording.start()
    try:
        value = run()
    except BaseException:
        recording.stop()
        if execution.result is None:
            recording.finish()
        else:
            # The error is shown when the cell ends, and the profile after it.
            execution.when_over(_nothing, recording.finish)
        raise
    recording.stop()
    recording.finish()
    return value


def _nothing() -> None:
    """Before the others, there is nothing to do."""
