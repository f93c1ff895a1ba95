"""What becomes of a session when the process forks or ends.

Must not know how a session is run.
"""

from __future__ import annotations

import atexit
import os
import sys

from . import engine, hooks, session, state


def _after_fork_in_child() -> None:
    state.reset_after_fork()
    if not engine.is_active():
        hooks.remove()
        if state.tasks is not None:
            state.tasks.remove()
    engine.after_fork_in_child()


def _at_exit() -> None:
    if state.member is not None:
        state.member.end("exit")
    if engine.is_active():
        try:
            session.stop()
        except OSError as error:
            print(f"spprof: the profile was not saved: {error}", file=sys.stderr)
            kept = session.keep(error)
            if kept is not None:
                print(f"spprof: it is kept in {kept}", file=sys.stderr)
        leave_interrupted()


def leave_interrupted() -> None:
    """Have a program that KeyboardInterrupt ended die of SIGINT, as it would without us.

    The interpreter remembers that until a string is executed again, which importing what saves the
    profile may do; so it is reminded.
    """
    interactive = hasattr(sys, "ps1")
    if not interactive and getattr(sys, "last_type", None) is KeyboardInterrupt:
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            return


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=engine.end_threads,
        after_in_parent=engine.begin_threads,
        after_in_child=_after_fork_in_child,
    )
