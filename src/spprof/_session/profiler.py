"""`Profiler` and `ThreadProfiler`: blocks of code under the profiler.

Must not know how a session is started, but that `session` does it.
"""

from __future__ import annotations

from . import engine, session
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from .._profile.model import Profile


class ThreadProfiler:
    """Context manager that has the calling thread followed while the block runs.

    A thread that was followed before stays followed after the block.
    """

    def __init__(self) -> None:
        self._ours = False

    def __enter__(self) -> ThreadProfiler:
        followed = engine.is_thread_registered()
        self._ours = engine.register_thread() and not followed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ours:
            session.unregister_thread()


class Profiler(Options):
    """A session as an object: ``with spprof.Profiler() as p: ...``, or `start` and `stop`.

    Parameters
    ----------
    interval_ms, output_path, memory_limit_mb, mode, aggregate, native, processes, tasks
        As for `spprof.start`.

    Attributes
    ----------
    profile : Profile or None
        After the block or `stop`, also when the block raised; None before.
    """

    profile: Profile | None = None

    def start(self) -> None:
        """Start the session; see `spprof.start` for what it raises."""
        session.begin(self, stacklevel=3, owner=self)

    def stop(self) -> Profile:
        """Stop the session and return its profile, which `profile` keeps too.

        Raises
        ------
        RuntimeError
            This profiler has no running session.
        OSError
            The profile could not be saved; it is kept in `profile`.
        """
        profile = session.end(self)
        if profile is None:
            raise RuntimeError("Profiler not running")
        return profile

    def print(self) -> None:
        """Print the profile's summary.

        Raises
        ------
        RuntimeError
            There is no profile yet.
        """
        if self.profile is None:
            raise RuntimeError("There is no profile yet: print it after the block, or after stop()")
        print(self.profile)

    def __enter__(self) -> Profiler:
        session.begin(self, stacklevel=3, owner=self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The block may have stopped the session itself, which gave the profile to its owner.
        session.end(self)
