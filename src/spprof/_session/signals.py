"""Stand-ins for what must not meet our signal: setting SIGPROF, and becoming another program.

Must not know when they are put in place.
"""

from __future__ import annotations

import _signal
import functools

from . import engine, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def signal_setter(original: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
    """Stand in for `_signal.signal`, so that a session and a handler for SIGPROF get along.

    Without it the usual ``signal.signal(SIGPROF, old)`` at the end of somebody's use of the signal
    would make our next one end the process.
    """

    def set_signal(signalnum: int, handler: Any) -> Any:
        if signalnum != _signal.SIGPROF or not engine.is_active():
            return original(signalnum, handler)
        with state.lock:
            return engine.without_our_signal(original, signalnum, handler)

    return set_signal


def program_starter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for `os.execv` and `os.execve`.

    A signal that is pending when the process becomes another program is delivered to that one, and
    ends it: it does not know what to do with it. Where there is no such program the session goes
    on.
    """

    @functools.wraps(original)
    def execute(*args: Any, **kwargs: Any) -> Any:
        if not engine.is_active():
            return original(*args, **kwargs)
        with state.lock:
            return engine.without_our_signal(original, *args, **kwargs)

    return execute
