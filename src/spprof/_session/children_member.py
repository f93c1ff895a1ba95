"""A process that belongs to the session of another one: takes its samples, and writes its part.

It writes what it has now and then, as nobody tells it when it will be killed. Must not know what
becomes of the parts.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time

from . import children_cpu, engine, hooks, offspring, state
from .children_folder import ANSWER_S, Folder, identity, is_alive
from .children_told import Told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The thread that writes is none of the program's: `threading` does not know it, no session
# follows it.
_start_thread, _new_lock = _thread.start_new_thread, _thread.allocate_lock

# How often a process asks whether the session is over, which its owner waits for.
LOOK_S = 0.05
# What a killed process loses at most: this share of the time so far, and this much.
WRITE_SHARE, WRITE_LATEST_S = 0.25, 1.0
# A process that used less CPU time since then does not write: this thread's own is some.
TELLING_NS = 5_000_000
# Writing takes at most this share of the time.
WRITE_COST = 0.05


def pause_before_next(since_start_s: float, last_took_s: float) -> float:
    """Seconds from one writing to the next."""
    rhythm = min(WRITE_LATEST_S, max(LOOK_S, WRITE_SHARE * since_start_s))
    return max(rhythm, last_took_s / WRITE_COST)


class Member:
    """This process as part of another one's session.

    Parameters
    ----------
    folder : Folder
    command : str
        What runs here; "" where it is what its parent runs.
    """

    def __init__(self, folder: Folder, command: str) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._wake: Any = None
        self._ended: Any = None
        self._over = False
        self._writer_ns = 0
        self._options = folder.asked()["options"]
        self._start_s = time.monotonic()
        self._pid = os.getpid()
        self._name = f"{self._pid}-{time.monotonic_ns()}"
        self._about: dict[str, Any] = {
            "identity": identity(self._pid),
            "pid": self._pid,
            "ppid": os.getppid(),
            "command": command,
            "name": "",
            "python_version": sys.version.partition(" ")[0],
            "start_ns": time.monotonic_ns(),
            "before_ns": 0,
            "reaped_ns": 0,
            "lost_s": LOOK_S,
            "final": False,
            "ended": "",
        }

    def begin(self) -> None:
        """Start the session of this process.

        Raises
        ------
        OSError
            The folder is gone, or no part can be written to it.
        RuntimeError
            Nothing can be sampled here.
        """
        self._write(None)
        o = self._options
        with state.lock:
            offspring.forget()
            try:
                hooks.install(processes=True)
                self._about["before_ns"] = time.process_time_ns()
                engine.start(
                    o["interval_ns"],
                    o["mode"],
                    o["memory_limit_bytes"],
                    o["native"],
                    o["aggregate"],
                )
                # After a fork `threading` may not know its identifier.
                engine.register_thread()
            except BaseException:
                if not engine.is_active():
                    hooks.remove()
                raise
            state.member = self
            state.told = Told(self._folder)
        self.begin_thread()

    def begin_thread(self) -> None:
        """Begin to write now and then; a process without threads left writes at its end only."""
        if self._over or self._wake is not None:
            return
        wake, ended = _new_lock(), _new_lock()
        wake.acquire()
        ended.acquire()
        try:
            _start_thread(self._keep_writing, (wake, ended))
        except RuntimeError:
            return
        self._wake, self._ended = wake, ended

    def end_thread(self) -> None:
        """End that, before a fork: Python warns where there are several threads."""
        wake, ended = self._wake, self._ended
        if wake is None:
            return
        self._wake = self._ended = None
        wake.release()
        ended.acquire()

    def _keep_writing(self, wake: Any, ended: Any) -> None:
        try:
            engine.ignore_thread()
            due = time.monotonic() + LOOK_S
            written_ns = 0
            answered_at = self._folder.asked_at()
            while not wake.acquire(timeout=LOOK_S):
                asked_at = self._folder.asked_at()
                if asked_at is None:
                    self.finish("")
                    return
                begin = time.monotonic()
                if begin < due and asked_at == answered_at:
                    continue
                used_ns = time.process_time_ns()
                if asked_at != answered_at:
                    self._about["lost_s"] = ANSWER_S  # it is about to be killed
                if asked_at != answered_at or used_ns > written_ns + TELLING_NS:
                    if not self.write():
                        return
                    written_ns, answered_at = used_ns, asked_at
                took = time.monotonic() - begin
                self._writer_ns = time.thread_time_ns()
                pause = pause_before_next(begin - self._start_s, took)
                self._about["lost_s"] = max(LOOK_S, pause)
                due = time.monotonic() + pause
                if not is_alive(*self._folder.owner):
                    self.leave()
                    self._folder.remove()
                    return
        finally:
            ended.release()

    def write(self) -> bool:
        """Write what there is up to now; False where the session is over."""
        with self._lock:
            if self._over:
                return False
            raw = engine.snapshot()
            try:
                self._write(raw)
            except OSError:
                if self._folder.asked_at() is None:
                    self.leave()
                    return False
                # No room: what was written before stays, and there may be room later.
            return True

    def write_as_ended(self, how: str) -> None:
        """Write as if the process ended now, as it does unless `os.exec*` fails."""
        with self._lock:
            self._about["final"], self._about["ended"] = True, how
            self.write()
            self._about["final"], self._about["ended"] = False, ""

    def finish(self, how: str) -> None:
        """End the session of this process and write its part for the last time.

        Parameters
        ----------
        how : str
            How the process ends, "" where it does not.
        """
        with self._lock:
            if self._over or os.getpid() != self._pid:
                return
            self._about["final"], self._about["ended"] = True, how
            raw = self.leave()
            if raw is None:
                return
            try:
                self._write(raw)
            except OSError:
                return  # the session is over, or there is no room: the owner says what is missing
        if not is_alive(*self._folder.owner):
            self._folder.remove()

    def leave(self) -> dict[str, Any] | None:
        """End the session of this process; returns what it recorded."""
        with self._lock, state.lock:
            if self._over:
                return None
            self._over = True
            raw = None
            try:
                if engine.is_active():
                    engine.pause()
                    raw = engine.stop()
            finally:
                hooks.remove()
                if state.told is not None:
                    state.told.take_back()
                state.member = state.told = None
            return raw

    def end(self, how: str) -> None:
        """As `finish`; the thread that writes has ended after it, which does not call this."""
        self.finish(how)
        self.end_thread()

    def _write(self, raw: dict[str, Any] | None) -> None:
        self._about["name"] = _role() or self._about["name"]
        self._about["cpu_ns"] = time.process_time_ns()
        ours_ns = 0 if raw is None else raw["stats"]["background_cpu_ns"]
        self._about["profiler_ns"] = ours_ns + self._writer_ns
        self._about["end_ns"] = time.monotonic_ns()
        self._about["reaped_ns"] = children_cpu.reaped_ns()
        self._about["reaped"] = dict(offspring.ended)
        self._about["made"] = dict(offspring.made)
        self._folder.write_part(self._name, {"process": self._about, "raw": raw})


def _role() -> str:
    """What `multiprocessing` calls this process; it may be in the middle of its import."""
    who = getattr(sys.modules.get("multiprocessing.process"), "current_process", None)
    try:
        return "" if who is None else str(who().name)
    except Exception:  # noqa: BLE001 - programs make processes of their own kind
        return ""
