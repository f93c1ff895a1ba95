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


def signal_setter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for `_signal.signal`, so that a session and a handler for SIGPROF get along.

    Without it the usual ``signal.signal(SIGPROF, old)`` at the end of somebody's use of the signal
    would make our next one end the process; and so would ``faulthandler.unregister(SIGPROF)``.
    """

    @functools.wraps(original)
    def set_signal(signum: int, *args: Any, **kwargs: Any) -> Any:
        if signum != _signal.SIGPROF or not engine.is_active():
            return original(signum, *args, **kwargs)
        with state.lock:
            return engine.without_our_signal(original, signum, *args, **kwargs)

    return set_signal


def mask_setter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for `_signal.pthread_sigmask`: a thread that is about to block SIGPROF is sent none.

    What it were sent would lie there until it takes it itself (`signal.sigwait`), as if somebody
    had sent it.
    """

    @functools.wraps(original)
    def set_mask(how: int, mask: Any) -> Any:
        if how != _signal.SIG_UNBLOCK and engine.is_active():
            mask = set(mask)
            if _signal.SIGPROF in mask:
                engine.about_to_block_signal()
        return original(how, mask)

    return set_mask


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
