"""Tasks of asyncio while a session runs: which loops there are, and when their tasks are looked at.

A loop asks for two of its own methods in each round: `_run_once` before it looks for something to
do, `_process_events` when it has waited for that. Descriptors in their place take the time and hand
out the methods themselves, so no function of ours stands in the program's stacks. When a loop has
waited, none of its tasks has moved yet: they are looked at then. uvloop's loops ask for nothing in
their rounds: they are looked at by timers of their own.

Must not know what is made of it, nor import asyncio: until the program has, there is nothing to
hook. What a look finds is `waits`' business.
"""

from __future__ import annotations

import sys
import threading
import weakref
from time import thread_time_ns

from . import engine
from .allowance import Allowance
from .await_trees import Stacks
from .imported import Awaited
from .task_regions import TaskLabels, enter_name, leave_names
from .waits import Accounts, Moment, Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    class LoopWatch:
        """What cpp/interpreter/loop_rounds.cpp makes, as the next one."""

        waits_since: int  # on the engine's clock; 0: the loop works
        idle: int  # for how long it had nothing to do
        due_idle: int  # when it is looked at next: idle time, and the engine's clock
        due: int

    class LoopHook:
        original: Any

        def __init__(
            self,
            original: Any,
            watches: dict[int, _Watch],
            met: Callable[[Any, int | None], _Watch],
            after_waiting: bool,
            /,
        ) -> None: ...

else:
    LoopWatch, LoopHook = engine.loop_types()

monotonic_ns = engine.monotonic_ns

# A loop that is never idle is looked at, too: after so many intervals.
_BUSY_INTERVALS = 4
# A loop with timers of ours that used less of the processor since the last one has slept: the next
# one comes later, so that it is woken less, but after so many intervals.
_ASLEEP_NS, _ASLEEP_INTERVALS = 100_000, 4


class Found:
    """What a session learnt of the tasks of one thread's loops.

    Attributes
    ----------
    tid, thread
        The thread that ran the loops: its native id, and its name.
    stacks : await_trees.Stacks
    labels : task_regions.TaskLabels
        Of all loops of the session.
    rows : waits.Rows
    """

    def __init__(
        self, tid: int, thread: str, stacks: Stacks, labels: TaskLabels, rows: Rows
    ) -> None:
        self.tid, self.thread = tid, thread
        self.stacks, self.labels, self.rows = stacks, labels, rows


class _Clock:
    """Time of a session without its pauses, in ns."""

    def __init__(self, since_start: int) -> None:
        self.paused = 0  # for how long it was
        self.offset = monotonic_ns() - since_start
        self._stopped_at: int | None = None

    def now(self) -> int:
        return (monotonic_ns() if self._stopped_at is None else self._stopped_at) - self.offset

    def pause(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = monotonic_ns()

    def resume(self) -> None:
        if self._stopped_at is not None:
            length = monotonic_ns() - self._stopped_at
            self.offset, self.paused = self.offset + length, self.paused + length
            self._stopped_at = None


class _Watch(LoopWatch):
    """One loop, from its first round in a session on."""

    __slots__ = (
        "_allowance",
        "_chance",
        "_last",
        "_loop",
        "_session",
        "accounts",
        "ident",
        "key",
    )

    def __init__(self, session: _Session, loop: Any, since: int) -> None:
        self._session = session
        self._loop = weakref.ref(loop, lambda _: session.forget(self))
        self.key, self.ident = id(loop), threading.get_ident()
        self.waits_since = since
        now = since - session.clock.offset
        rows = session.found_here().rows
        self._last = Moment(now, 0, now + session.clock.paused)
        self.accounts = Accounts(session.stacks, rows, self._last, session.met)
        self._allowance = Allowance()
        self._chance = id(self) >> 4 & 0x7FFFFFFF

    def look(self, fair: bool) -> None:
        """Read how the tasks stand, after a look of another thread; none after the last one."""
        session = self._session
        with session.looking:
            if session.idle is None:
                self._look(fair)

    def _look(self, fair: bool) -> None:
        loop, session = self._loop(), self._session
        if loop is None or session.failure is not None:
            return
        clock = session.clock
        # Of the processor: while another thread has it, or the GIL, a look takes nothing.
        now, used = clock.now(), thread_time_ns()
        try:
            moment = Moment(now, self.idle, now + clock.paused)
            self.accounts.look(session.all_tasks(loop), moment, fair=fair)
        except Exception as error:  # noqa: BLE001 - said in the profile; the loop must go on
            session.failure = error
            return
        idle = self.idle - self._last.idle
        worked = max(0, now - self._last.now - idle)
        rest, idle_rest = self._allowance.spend(worked, idle, thread_time_ns() - used)
        self._last = moment
        interval = session.interval_ns
        self.due = clock.offset + now + max(interval * _BUSY_INTERVALS, rest)
        if fair:
            # At random, so that no rhythm of the program meets ours; on average one an interval.
            self._chance = (self._chance * 1103515245 + 12345) & 0x7FFFFFFF
            jittered = (interval >> 1) + interval * (self._chance >> 11 & 1023) // 1024
            self.due_idle = self.idle + max(jittered, idle_rest)

    def pause(self, now: int) -> bool:
        """Count no idle time until `resume`; whether the loop had nothing to do."""
        waits = self.waits_since != 0
        if waits:
            self.idle += now - self.waits_since
            self.waits_since = 0
        return waits

    def end(self, waits: bool) -> None:
        """Look a last time, where the tasks do not move meanwhile."""
        if waits or self.ident == threading.get_ident():
            self._look(True)
        self._session.forget(self)


class _TimedWatch(_Watch):
    """A loop that is looked at by timers of its own, as it tells nobody when it waits.

    What its thread did not run it had nothing to do.
    """

    __slots__ = ("_counted", "_delay", "_ran")

    def __init__(self, session: _Session, loop: Any, since: int) -> None:
        super().__init__(session, loop, since)
        self.waits_since = 0
        self._counted, self._ran = monotonic_ns(), thread_time_ns()
        self._delay = session.interval_ns
        self._look_later()

    def _look_later(self) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_later(self._delay / 1e9, self._time_has_come)

    def _time_has_come(self) -> None:
        session = self._session
        if session.watches.get(self.key) is not self:
            return
        ran = self._count()
        if session.idle is None and self.idle >= self.due_idle:
            self.look(True)
        longer = min(2 * self._delay, _ASLEEP_INTERVALS * session.interval_ns)
        self._delay = longer if ran < _ASLEEP_NS else session.interval_ns
        # What this took is not the loop's.
        self._counted, self._ran = monotonic_ns(), thread_time_ns()
        self._look_later()

    def _count(self) -> int:
        """Add up idle time; how much the thread ran since that was done last."""
        now, ran = monotonic_ns(), thread_time_ns()
        since, self._ran = ran - self._ran, ran
        if self._session.idle is None:
            self.idle += max(0, now - self._counted - since)
        self._counted = now
        return since

    def pause(self, now: int) -> bool:
        """Count no idle time until `resume`."""
        if self.ident == threading.get_ident():
            self._count()
        return False


class _Hook(LoopHook):
    """Stands for a method in a class of loops and hands it out; whoever asks is told of."""

    __slots__ = ("inherited", "name", "owner")

    owner: type
    name: str
    inherited: bool  # the class had no such method of its own

    def install(self) -> None:
        setattr(self.owner, self.name, self)

    def remove(self) -> None:
        # Whoever replaced ours keeps theirs.
        if vars(self.owner).get(self.name) is self:
            if self.inherited:
                delattr(self.owner, self.name)
            else:
                setattr(self.owner, self.name, self.original)


# Module, class and method that a loop asks for, and whether it has waited then.
_METHODS = (
    ("base_events", "BaseEventLoop", "_run_once", False),
    ("selector_events", "BaseSelectorEventLoop", "_process_events", True),
    ("proactor_events", "BaseProactorEventLoop", "_process_events", True),
)
# Modules that are there when loops can be made.
_LOOPS = ("selector_events", "proactor_events") if sys.platform == "win32" else ("selector_events",)


class _Session:
    """The hooks of one session, and what it has learnt."""

    def __init__(
        self, interval_ns: int, since_start: int, memory_bytes: int, label_bytes: int
    ) -> None:
        self.interval_ns, self.clock = interval_ns, _Clock(since_start)
        self.looking = threading.RLock()
        self._most_rows = memory_bytes // Rows.BYTES
        self.stacks, self.labels = Stacks(), TaskLabels(label_bytes)
        self.watches: dict[int, _Watch] = {}
        self.found: dict[tuple[int, str], Found] = {}  # by the thread's id and name
        self.failure: Exception | None = None
        self.idle: list[_Watch] | None = None  # while it is paused: loops that had nothing to do
        self._hooks: list[_Hook] = []
        self._awaited = [
            Awaited((f"asyncio.{name}" for name in _LOOPS), self._hook),
            Awaited(["uvloop"], self._hook_uvloop),
        ]

    def install(self) -> None:
        """Hook what there is of asyncio, and what is imported later."""
        self._hook()
        self._hook_uvloop()
        for awaited in self._awaited:
            awaited.begin()

    def remove(self) -> None:
        """Take all hooks out."""
        for awaited in self._awaited:
            awaited.end()
        for hook in self._hooks:
            hook.remove()

    def _hook(self) -> None:
        done = {(hook.owner, hook.name) for hook in self._hooks}
        for module, name, method, after_waiting in _METHODS:
            owner = getattr(sys.modules.get(f"asyncio.{module}"), name, None)
            if owner is not None and (owner, method) not in done:
                original = vars(owner)[method]
                self._add(_Hook(original, self.watches, self.watch, after_waiting), owner, method)

    def _hook_uvloop(self) -> None:
        owner = getattr(sys.modules.get("uvloop"), "Loop", None)
        if isinstance(owner, type) and not any(hook.owner is owner for hook in self._hooks):
            original = getattr(owner, "run_forever")  # noqa: B009 - of a class known by now only
            self._add(_Hook(original, self.watches, self.timed_watch, False), owner, "run_forever")
            running = sys.modules["asyncio.events"]._get_running_loop()
            if isinstance(running, owner):
                self.timed_watch(running, None)

    def _add(self, hook: _Hook, owner: type, method: str) -> None:
        hook.owner, hook.name, hook.inherited = owner, method, method not in vars(owner)
        self._hooks.append(hook)
        if self.idle is None:
            hook.install()

    def all_tasks(self, loop: Any) -> set[Any]:
        """All tasks of a loop that are not done."""
        found: set[Any] = sys.modules["asyncio.tasks"].all_tasks(loop)
        return found

    def pause(self) -> None:
        """Count no time until `resume`."""
        if self.idle is None:
            for hook in self._hooks:
                hook.remove()
            self.clock.pause()
            now = self.clock.offset + self.clock.now()
            self.idle = [watch for watch in list(self.watches.values()) if watch.pause(now)]

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.idle is not None:
            self.clock.resume()
            now = monotonic_ns()
            for watch in self.idle:
                watch.waits_since = now
            self.idle = None
            for hook in self._hooks:
                hook.install()

    def settle(self) -> None:
        """Look a last time."""
        with self.looking:
            self.pause()
            idle = self.idle or ()
            for watch in list(self.watches.values()):
                watch.end(watch in idle)
            leave_names()

    def watch(self, loop: Any, since: int | None) -> _Watch:
        """Watch a loop of the calling thread's, which waits since then, or before the session."""
        if since is None:
            since = self.clock.offset
        watch = self.watches[id(loop)] = _Watch(self, loop, since)
        return watch

    def timed_watch(self, loop: Any, since: int | None) -> _Watch:
        """Watch a loop of the calling thread's that asks for nothing in its rounds."""
        since = monotonic_ns() if since is None else since
        watch = self.watches[id(loop)] = _TimedWatch(self, loop, since)
        return watch

    def met(self, task: Any) -> int:
        """A task has moved; the label of its waits from now on."""
        enter_name(task)
        return self.labels.of(task)

    def found_here(self) -> Found:
        """Where it is kept what is learnt of the calling thread's loops."""
        tid, ident = threading.get_native_id(), threading.get_ident()
        # `current_thread` would make one up where threading does not know it.
        names = [one.name for one in threading.enumerate() if one.ident == ident]
        name = names[0] if names else f"Thread {tid}"
        if (tid, name) not in self.found:
            rows = Rows(self._most_rows)
            self.found[tid, name] = Found(tid, name, self.stacks, self.labels, rows)
        return self.found[tid, name]

    def forget(self, watch: _Watch) -> None:
        """No more is learnt of a loop."""
        if self.watches.get(watch.key) is watch:
            del self.watches[watch.key]
        watch.accounts.end()


_session: _Session | None = None


def begin(interval_ns: int, since_start: int, memory_bytes: int, label_bytes: int) -> None:
    """Look at the tasks of all loops from now on.

    Parameters
    ----------
    interval_ns : int
        Idle time of a loop between two looks at its tasks, at least.
    since_start : int
        How long the session runs already, in ns.
    memory_bytes : int
        For times of waits, a thread that runs loops. Beyond it they are only summed.
    label_bytes : int
        For the labels of regions. Beyond it tasks wait in none.
    """
    global _session
    remove()
    _session = _Session(interval_ns, since_start, memory_bytes, label_bytes)
    _session.install()


def pause() -> None:
    """Count no time until `resume`."""
    if _session is not None:
        _session.pause()


def resume() -> None:
    """Go on after `pause`."""
    if _session is not None:
        _session.resume()


def settle() -> None:
    """Look a last time, before `take`."""
    if _session is not None:
        _session.settle()


def take() -> tuple[list[Found], Exception | None]:
    """What was found, and what ended the looking before its time; takes the hooks out."""
    if _session is None:
        return [], None
    session = _session
    remove()
    return [found for found in session.found.values() if found.rows], session.failure


def remove() -> None:
    """Take the hooks out."""
    global _session
    if _session is not None:
        _session.remove()
        _session = None
