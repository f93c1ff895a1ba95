"""`spprof.cluster`: a session in this process and in each of its workers.

Must not know how any one engine runs what it is asked to.
"""

from __future__ import annotations

import os
import time

from .._profile.processes import process_row
from .._session import result, session, state
from .._session.options import Options
from .._version import __version__
from . import there
from .clocks import SAME, Offset, offset_of
from .engine import engine_of
from .gathering import Part, together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from .._profile.model import Profile

_LOOKS = 5
_NAMED = 5


class Workers:
    """The workers of a program, for the length of a session that somebody else has here.

    Parameters
    ----------
    workers : object
        See `cluster`.
    """

    def __init__(self, workers: Any) -> None:
        self._engine = engine_of(workers)
        self._token = f"{os.getpid()} {time.monotonic_ns()}"
        self._start_ns = 0
        self._known: dict[str, Any] = {}
        self._refused: dict[str, str] = {}
        self._offsets: dict[str, Offset] = {}

    def begin(self, options: Options) -> None:
        """Begin in all workers; the session here runs already.

        Raises
        ------
        RuntimeError
            No worker can be had: for each it says why.
        """
        self._start_ns = there.session_start_ns()
        there.asked_here.add(self._token)
        try:
            self._begin(options)
        except BaseException:
            self._leave()
            raise

    def _begin(self, options: Options) -> None:
        self._known = self._engine.run(there.about)
        asked = {
            "interval_ms": options.interval_ms,
            "memory_limit_mb": options.memory_limit_mb,
            "mode": options.mode,
            "aggregate": options.aggregate,
            "native": session.check(options),
            "processes": options.processes,
        }
        self._refused = {
            worker: reason
            for worker, told in self._known.items()
            for reason in [_why_not(told)]
            if reason
        }
        if self._known and len(self._refused) == len(self._known):
            raise RuntimeError(f"no worker can be had: {_listed(self._refused)}")
        here = there.about()["host"]
        state.covered = frozenset(
            told["pid"]
            for worker, told in self._known.items()
            if worker not in self._refused and told["host"] == here
        )
        follow = getattr(self._engine, "follow", None)
        if follow is not None:
            follow(there.begin, self._token, asked)
        for worker, answer in self._engine.run(there.begin, self._token, asked).items():
            if answer:
                self._refused[worker] = str(answer)
        self._read_clocks()

    def end(self, profile: Profile) -> Profile:
        """End in all workers; returns the profile of this process with theirs in it.

        Never raises for what a worker does: the profile says what is missing.
        """
        lost: dict[str, str] = {}
        parts: list[Part] = []
        try:
            self._read_clocks()
            sent = self._engine.run(there.end, self._token)
        except Exception as error:  # noqa: BLE001 - this process's own samples are not lost to it
            sent = {}
            lost = dict.fromkeys(self._known, f"{type(error).__name__}: {error}")
        finally:
            self._leave()
        for worker, told in sent.items():
            if isinstance(told, BaseException):
                lost[worker] = f"{type(told).__name__}: {told}"
            elif told is not None and told["refusal"]:
                self._refused[worker] = told["refusal"]
            elif told is not None:
                parts.append(Part(worker, told, self._offset(worker, told)))
        tables = profile._tables
        about = there.about()
        profile_ns = sum(tables.sample_weight)
        row = process_row(os.getpid(), os.getppid(), about["command"], profile_ns=profile_ns)
        whole = together(tables, row, self._start_ns, about["host"], parts)
        notes = self._notes(sent, lost)
        return result.profile_over(whole.same_stacks(meta=whole.meta.with_notes(*notes)))

    def _leave(self) -> None:
        there.asked_here.discard(self._token)
        unfollow = getattr(self._engine, "unfollow", None)
        if unfollow is not None:
            try:
                unfollow()
            except Exception as error:  # noqa: BLE001 - as when it was never followed
                self._refused["workers that join later"] = f"{type(error).__name__}: {error}"

    def _read_clocks(self) -> None:
        """Compare the clocks of workers on other machines with ours; the best look counts."""
        ours = there.clock_id()
        if all(_same_clock(told, ours) for told in self._known.values()):
            return
        looks: dict[str, list[tuple[int, int, int]]] = {}
        for _ in range(_LOOKS):
            before = there.clock()
            read = self._engine.run(there.clock)
            after = there.clock()
            for worker, told in read.items():
                if isinstance(told, int):
                    looks.setdefault(worker, []).append((before, told, after))
        for worker, seen in looks.items():
            found = offset_of(seen)
            known = self._offsets.get(worker)
            if found is not None and (known is None or found.error_ns < known.error_ns):
                self._offsets[worker] = found

    def _offset(self, worker: str, told: dict[str, Any]) -> Offset:
        if _same_clock(told, there.clock_id()):
            return SAME
        return self._offsets.get(worker, SAME)

    def _notes(self, sent: dict[str, Any], lost: dict[str, str]) -> list[str]:
        notes = [f"not in the profile: {_listed({**self._refused, **lost})}"]
        if not self._refused and not lost:
            notes.clear()
        gone = dict.fromkeys(name for name in self._known if name not in sent and name not in lost)
        if gone:
            notes.append(
                f"{_names([*gone])} ended before the session did: what they had recorded is lost"
            )
        joined = [name for name, told in sent.items() if name not in self._known and told]
        if joined:
            notes.append(f"{_names(joined)} joined while the session ran")
        restarted = [
            name
            for name, told in sent.items()
            if isinstance(told, dict)
            and isinstance(self._known.get(name), dict)
            and told["pid"] != self._known[name]["pid"]
        ]
        if restarted:
            notes.append(f"{_names(restarted)} restarted: what is here is since then")
        return notes


class Cluster(Options):
    """A session in this process and in its workers: ``with spprof.cluster(client) as p: ...``.

    Parameters
    ----------
    workers : object
        A Client of dask.distributed, a view or Client of ipyparallel, a communicator of mpi4py, an
        actor of Ray or a list of them; or any object with a method ``run(function, *args)`` that
        calls the function in each worker and returns what it returned (or the exception that it
        raised) by the worker's name.
    *args, **options
        Those of `spprof.start`; each worker has up to `memory_limit_mb`.

    Attributes
    ----------
    profile : Profile or None
        After the block or `stop`, also when the block raised; None before.

    Raises
    ------
    TypeError
        `workers` are none that spprof knows.
    """

    profile: Profile | None = None
    _runs = False

    def __init__(self, workers: Any, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._workers = Workers(workers)
        # Saved here, when workers have answered.
        self._path, self.output_path = self.output_path, None

    def start(self) -> None:
        """Start the session here and in the workers.

        Raises
        ------
        RuntimeError
            A session is running already, or no worker can be had.
        """
        session.begin(self, stacklevel=3, owner=self)
        self.profile = None
        self._runs = True
        try:
            self._workers.begin(self)
        except BaseException:
            self._runs = False
            session.end(self)
            raise

    def stop(self) -> Profile:
        """Stop the session and return its profile, which `profile` keeps too.

        Raises
        ------
        RuntimeError
            It is not running.
        OSError
            The profile could not be saved; it is kept in `profile`.
        """
        if not self._runs:
            raise RuntimeError("Profiler not running")
        self._runs = False
        session.end(self)  # the block may have done so itself, which gave the profile to its owner
        if self.profile is None:  # in a forked child
            raise RuntimeError("Profiler not running")
        self.profile = self._workers.end(self.profile)
        if self._path is not None:
            self.profile.save(self._path)
        return self.profile

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _why_not(told: Any) -> str:
    """Why a worker that says this of itself cannot take part; "" where it can."""
    if isinstance(told, ModuleNotFoundError) and told.name == "spprof":
        return "spprof is not installed there"
    if isinstance(told, BaseException):
        return f"{type(told).__name__}: {told}"
    if told["spprof"] != __version__:
        return f"spprof {told['spprof']} is installed there, and {__version__} here"
    return ""


def _same_clock(told: Any, ours: str) -> bool:
    return not isinstance(told, dict) or bool(ours and told["clock"] == ours)


def _listed(reasons: dict[str, str]) -> str:
    """Reasons, each with who has it."""
    by_reason: dict[str, list[str]] = {}
    for worker, reason in reasons.items():
        by_reason.setdefault(reason, []).append(worker)
    return "; ".join(f"{_names(workers)} ({reason})" for reason, workers in by_reason.items())


def _names(workers: list[str]) -> str:
    if len(workers) <= _NAMED:
        return ", ".join(workers)
    return f"{', '.join(workers[:_NAMED])} and {len(workers) - _NAMED} more"
