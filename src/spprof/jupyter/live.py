"""The graph of a cell while it runs: when to look, and what is shown of what was seen.

Has a thread of its own, which is not profiled. Must not know how a session is started or ended, nor
how a profile becomes what its user knows.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._profile.words import format_ns
from .._session import session
from . import output

if TYPE_CHECKING:
    from .._profile.model import Profile
    from .widget import FlameGraphWidget

THREAD_NAME = "spprof-live"

# When a running cell is first shown, and the shortest time between two looks.
FIRST_S, PERIOD_S = 2.0, 0.5
# What looking may take of the time of a processor, and what it waits for at most to keep to that.
_SHARE, _LONGEST_S = 0.01, 60.0


def next_wait(spent_s: float) -> float:
    """Seconds to wait after a look that took so much CPU time."""
    return min(max(PERIOD_S, spent_s / _SHARE), _LONGEST_S)


class LiveGraph:
    """Looks at the running session now and then, until it is ended.

    Parameters
    ----------
    shell : InteractiveShell
    look : callable
        Returns the profile up to now as it is shown; None once the session is over.
    opened_with : dict
        Options of `output.display`.
    """

    def __init__(
        self, shell: Any, look: Callable[[], Profile | None], opened_with: dict[str, Any]
    ) -> None:
        self._shell, self._look_at, self._opened_with = shell, look, opened_with
        self._widget: FlameGraphWidget | None = None
        self._publisher = shell.display_pub
        self._over = threading.Event()
        self._began = time.monotonic()
        # What is shown from a thread belongs to the cell whose context it has.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=THREAD_NAME,
            daemon=True,
        )

    def begin(self) -> None:
        """Look for the first time when the cell has run for a while."""
        self._began = time.monotonic()
        # Where no thread is to be had, the graph is shown at the end, as without.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def end(self) -> FlameGraphWidget | None:
        """Look no more; returns what shows the graph, where it was long enough to be shown."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        return self._widget

    def _run(self) -> None:
        session.unregister_thread()
        wait = FIRST_S
        try:
            while not self._over.wait(wait):
                began = time.thread_time()
                # What captures outputs now would keep the graph to itself.
                if self._shell.display_pub is self._publisher:
                    # To make the widget takes long, and is not live's doing: it would be made at
                    # the end.
                    first = self._widget is None
                    self._look()
                    wait = PERIOD_S if first else next_wait(time.thread_time() - began)
        except Exception as error:  # noqa: BLE001 - the cell must not suffer
            print(f"spprof: no graph before the cell's end: {error!r}", file=sys.stderr)

    def _look(self) -> None:
        profile = self._look_at()
        if profile is None:
            self._over.set()
        if self._over.is_set() or profile is None or not profile.sample_count:
            return
        said = f"running for {format_ns((time.monotonic() - self._began) * 1e9)}"
        if self._widget is None:
            self._widget = output.show_live(profile, said, **self._opened_with)
            if self._widget is None:
                self._over.set()
        else:
            output.update(self._widget, profile, said)
