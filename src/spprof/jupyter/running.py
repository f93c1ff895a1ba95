"""How a cell or a statement is run under the profiler: from its beginning to what is shown of it.

Must not know how options are written; what the frames of a notebook mean is `cells`', what is
shown is `output`'s business.
"""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from .._session import session
from .._session.options import Options
from . import cells, comparing, output
from .options import LAST_PROFILE
from .texts import CellTexts

if TYPE_CHECKING:
    from .._profile.model import Profile

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
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.result = shell.displayhook.exec_result
        # None where the kernel awaits the cell itself.
        self._caller = _innermost(_RUN)

    def is_over(self) -> bool:
        """Whether the shell is done with it: to be asked by callbacks of `post_execute`."""
        # An interrupted event loop leaves without a result, but not without its caller.
        return self._shell.last_execution_result is self.result or (
            self._caller is not None and _innermost(_RUN, _RUN_ASYNC) is self._caller
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
            events.unregister("post_execute", before)
            events.unregister("post_execute", after)

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


class Recording:
    """A session of the profiler for one cell or statement; owns its profile, whoever stops it."""

    def __init__(self, shell: Shell, options: Namespace, execution: Execution) -> None:
        self._shell, self._options, self._execution = shell, options, execution
        self._names = [LAST_PROFILE] + ([options.name] if options.name is not None else [])
        self.profile: Profile | None = None
        # Read before the cell runs: it may change the variable, or the directory.
        self._before: Profile | None = None
        if options.compare is not None:
            self._before = comparing.baseline(
                options.compare, shell.user_ns, LAST_PROFILE, options.mode
            )

    def start(self) -> None:
        """Start the session; what it refuses is the user's to know."""
        options = self._options
        try:
            session.begin(
                Options(
                    options.interval,
                    memory_limit_mb=options.memory_limit,
                    mode=options.mode,
                    aggregate=options.aggregate,
                    # None where nothing was said: then `set_native_unwinding` decides.
                    native=options.native,
                ),
                stacklevel=2,
                owner=self,
            )
        except (ValueError, RuntimeError) as error:
            raise UsageError(str(error)) from error

    def stop(self) -> None:
        """Stop the session and keep its profile, whatever happens after."""
        stopped_now = session.end(self) is not None
        if self.profile is None:
            return
        if not stopped_now:
            tables = self.profile._tables
            meta = tables.meta.with_notes(_STOPPED_INSIDE)
            self.profile = type(self.profile)._of(tables.same_stacks(meta=meta))
        self._shell.user_ns.update(dict.fromkeys(self._names, self.profile))

    def finish(self) -> None:
        """Save and show the profile as the user of a notebook knows it."""
        if self.profile is None:  # forgotten in a forked child
            return
        shell, options = self._shell, self._options
        try:
            profile = cells.localise(
                self.profile,
                cell_of=CellTexts(shell, self._execution.result),
                host=cells.HostCode.of_this_process(entry=_ENTRY),
                cell_threads={threading.get_ident(), threading.get_native_id()},
            )
            shell.user_ns.update(dict.fromkeys(self._names, profile))
            if options.output is not None:
                profile.save(Path(options.output), format=options.format)
            if not options.quiet and self._before is not None:
                comparing.display(self._before, profile, view=options.view)
            elif not options.quiet:
                output.display(profile, view=options.view)
        except Exception:  # noqa: BLE001 - what was run must not be lost to what is shown after it
            shell.showtraceback()
            print(
                f"spprof: the profile itself is in the variable {self._names[-1]}.", file=sys.stderr
            )


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
        session.end(self._recording)


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
