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
        self._ours = session.register_thread() and not followed
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
    """Context manager that profiles a block: ``with spprof.Profiler() as p: ...``.

    Parameters
    ----------
    interval_ms, output_path, memory_limit_mb, mode, aggregate, native
        As for `start`.

    Attributes
    ----------
    profile : Profile or None
        After the block, also when it raised; None before.
    """

    profile: Profile | None = None

    def __enter__(self) -> Profiler:
        session.begin(self, stacklevel=3)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.profile = session.stop()
        except OSError as failure:
            self.profile = getattr(failure, "profile", None)
            raise
