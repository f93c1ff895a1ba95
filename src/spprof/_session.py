"""Starting and stopping the profiler of this process, and which threads it follows.

Must not know how formats look inside, nor IPython.
"""

from __future__ import annotations

import _signal
import _thread
import atexit
import functools
import inspect
import math
import os
import platform
import signal
import sys
import threading
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, TypeVar, Union, overload

from . import _native, formats
from ._model import NativeFrame, ProfilerStats
from ._model import Profile as ProfileResult

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "Profiler",
    "ThreadProfiler",
    "capture_native_stack",
    "is_active",
    "native_unwinding_available",
    "native_unwinding_enabled",
    "pause",
    "profile",
    "register_thread",
    "resume",
    "set_native_unwinding",
    "start",
    "stats",
    "stop",
    "unregister_thread",
]

PathLike = Union[str, "os.PathLike[str]"]
Function = TypeVar("Function", bound=Callable[..., Any])

_MODES = ("cpu", "wall")
_SHORTEST_MS, _LONGEST_MS = 0.1, 1000.0

# Guards the two values below and the order of start and stop; the native session has its own locks.
_lock = threading.RLock()
_output_path: PathLike | None = None
_native_unwinding = False
_hooks: list[tuple[Any, str, Any, Any]] = []
_warned: set[str] = set()


def start(
    interval_ms: float = 10,
    output_path: PathLike | None = None,
    memory_limit_mb: float = 100,
    *,
    mode: str = "cpu",
    aggregate: bool = False,
    native: bool | None = None,
) -> None:
    """Start sampling all Python threads of this process.

    Parameters
    ----------
    interval_ms : float
        Time between two samples of a thread in milliseconds, 0.1 to 1000: CPU time of the thread
        in "cpu" mode, elapsed time in "wall" mode.
    output_path : str or os.PathLike, optional
        Where `stop` (or the end of the interpreter, whichever comes first) saves the profile; the
        file name's ending chooses the format.
    memory_limit_mb : float
        Memory in MiB for samples, stacks and buffers together. When it is reached, single
        timestamps are given up; counts and weights go on.
    mode : {"cpu", "wall"}
        What is measured: the CPU time of threads, or elapsed time with waiting included.
    aggregate : bool
        Keep only counts and weights for each stack from the beginning: constant memory for runs
        of any length.
    native : bool, optional
        Unwind native frames too, and sample threads that never run Python. What
        `set_native_unwinding` said last, when not given.

    Raises
    ------
    RuntimeError
        A session is running already, or `native` is asked for where it is not available.
    ValueError
        A value is out of its range.
    TypeError
        `interval_ms` or `memory_limit_mb` is not a number.
    PermissionError
        `output_path` cannot be written; checked before anything starts.

    See Also
    --------
    stop, Profiler, profile
    """
    global _output_path
    interval_ns = round(_number("interval_ms", interval_ms, _SHORTEST_MS, _LONGEST_MS) * 1e6)
    limit = round(_number("memory_limit_mb", memory_limit_mb, 1, 1 << 20) * (1 << 20))
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}")
    with_native = _native_unwinding if native is None else native
    with _lock:
        if _native.is_active():
            raise RuntimeError("Profiler already running")
        if with_native:
            _require_native_unwinding()
        if output_path is not None:
            _check_output(output_path)
        _install_hooks()
        try:
            _native.start(interval_ns, mode, limit, with_native, aggregate, _thread_names())
        except BaseException:
            _remove_hooks()
            raise
        _output_path = output_path
        for note in _native.notes():
            if note not in _warned:
                _warned.add(note)
                warnings.warn(f"spprof: {note}", RuntimeWarning, stacklevel=2)


def stop() -> ProfileResult:
    """Stop sampling and return the profile; saves it when `start` was given an `output_path`.

    Returns
    -------
    Profile

    Raises
    ------
    RuntimeError
        No session is running.
    OSError
        The profile could not be saved. It is not lost: the exception has it as ``profile``.
    """
    global _output_path
    with _lock:
        if not _native.is_active():
            raise RuntimeError("Profiler not running")
        _native.pause()  # what follows is no part of the profile
        raw = _native.stop(_thread_names())
        _remove_hooks()
        path, _output_path = _output_path, None
    result = ProfileResult._from_tables(_finished(raw))
    if raw["meta"]["modules"]:
        result = _with_source_lines(result)
    if path is not None:
        try:
            result.save(path)
        except OSError as error:
            error.profile = result  # type: ignore[attr-defined]
            raise
    return result


def is_active() -> bool:
    """Whether a session is running in this process (never inherited by a forked child)."""
    return bool(_native.is_active())


def stats() -> ProfilerStats | None:
    """Figures of the running session; None when there is none.

    Returns
    -------
    ProfilerStats or None
        `overhead_estimate_pct` is what the handler (measured by itself, in CPU time) and the
        profiler's own threads used, as a share of the CPU time of the process since the start.
    """
    with _lock:
        if not _native.is_active():
            return None
        figures = _native.stats()
    spent = figures["handler_ns"] + figures["background_cpu_ns"]
    return ProfilerStats(
        collected_samples=figures["samples"],
        dropped_samples=figures["dropped"],
        duration_ms=figures["duration_ns"] / 1e6,
        overhead_estimate_pct=100.0 * spent / max(figures["process_cpu_ns"], 1),
        handler_mean_ns=figures["handler_ns"] / max(figures["handler_calls"], 1),
        handler_worst_ns=figures["handler_worst_ns"],
        threads=figures["threads"],
        memory_bytes=figures["memory_bytes"],
        failed_samples=figures["torn"],
        mismatched_samples=figures["mismatched"],
    )


def pause() -> None:
    """Take no samples until `resume`; the time in between is not counted. Twice is as once.

    Raises
    ------
    RuntimeError
        No session is running.
    """
    _native.pause()


def resume() -> None:
    """Go on after `pause`; does nothing when not paused.

    Raises
    ------
    RuntimeError
        No session is running.
    """
    _native.resume()


def register_thread() -> bool:
    """Follow the calling thread from now on, at once.

    Python's threads are followed by themselves; this is for threads that C or C++ code made, which
    are otherwise noticed within 50 ms (where another thread ended just then 200, among hundreds of
    threads up to a second), and for threads that called `unregister_thread`.

    Returns
    -------
    bool
        Whether the thread is followed now: False when no session is running.
    """
    return bool(
        _native.register_thread(threading.current_thread().name, threading.get_ident())
    )


def unregister_thread() -> bool:
    """Take no more samples of the calling thread in this session.

    Returns
    -------
    bool
        Whether it was followed until now.
    """
    return bool(_native.unregister_thread())


def native_unwinding_available() -> bool:
    """Whether native frames can be unwound on this system (Linux on x86-64 and aarch64)."""
    return bool(_native.native_unwinding_available())


def native_unwinding_enabled() -> bool:
    """Whether `start` unwinds native frames when it is not told otherwise; off at first."""
    return _native_unwinding


def set_native_unwinding(enabled: bool) -> None:
    """Have `start` unwind native frames from now on, or not.

    Raises
    ------
    RuntimeError
        Native unwinding is not available on this system.
    """
    global _native_unwinding
    if enabled:
        _require_native_unwinding()
    _native_unwinding = bool(enabled)


def capture_native_stack() -> list[NativeFrame]:
    """The calling thread's native stack now, innermost first.

    Returns
    -------
    list of NativeFrame
        `ip` is a return address, `offset` its distance in bytes from the start of the function.

    Raises
    ------
    RuntimeError
        Native unwinding is not available on this system.
    """
    _require_native_unwinding()
    return [NativeFrame(*frame) for frame in _native.capture_native_stack()]


class ThreadProfiler:
    """Context manager that has the calling thread followed while the block runs.

    A thread that was followed before stays followed after the block.
    """

    def __init__(self) -> None:
        self._ours = False

    def __enter__(self) -> ThreadProfiler:
        followed = _native.is_thread_registered()
        self._ours = register_thread() and not followed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ours:
            unregister_thread()


class Profiler:
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

    def __init__(
        self,
        interval_ms: float = 10,
        output_path: PathLike | None = None,
        memory_limit_mb: float = 100,
        *,
        mode: str = "cpu",
        aggregate: bool = False,
        native: bool | None = None,
    ) -> None:
        self._start = functools.partial(
            start,
            interval_ms,
            output_path,
            memory_limit_mb,
            mode=mode,
            aggregate=aggregate,
            native=native,
        )
        self.profile: ProfileResult | None = None

    def __enter__(self) -> Profiler:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.profile = stop()
        except OSError as failure:
            self.profile = getattr(failure, "profile", None)
            raise


@overload
def profile(interval_ms: Function) -> Function: ...
@overload
def profile(
    interval_ms: float = 10,
    output_path: PathLike | None = None,
    memory_limit_mb: float = 100,
    *,
    mode: str = "cpu",
    aggregate: bool = False,
    native: bool | None = None,
) -> Callable[[Function], Function]: ...


def profile(
    interval_ms: Any = 10,
    output_path: PathLike | None = None,
    memory_limit_mb: float = 100,
    *,
    mode: str = "cpu",
    aggregate: bool = False,
    native: bool | None = None,
) -> Any:
    """Decorate a function (also ``async def``) so that each call is profiled.

    Use as ``@spprof.profile`` or ``@spprof.profile(interval_ms=1, output_path="f.json")``. The
    latest profile is kept as the function's attribute ``last_profile``. Calls made while a session
    is running already (recursion, another thread) become part of that session.

    Raises
    ------
    TypeError
        For generator functions: profile the code that iterates them instead.
    """
    if callable(interval_ms):
        return profile()(interval_ms)

    def decorate(function: Function) -> Function:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function, whose call only makes the "
                "generator: profile the code that iterates it"
            )

        def begin() -> Profiler | None:
            profiler = Profiler(
                interval_ms,
                output_path,
                memory_limit_mb,
                mode=mode,
                aggregate=aggregate,
                native=native,
            )
            with _lock:
                return None if is_active() else profiler.__enter__()

        def end(profiler: Profiler | None) -> None:
            if profiler is not None:
                try:
                    profiler.__exit__(None, None, None)
                finally:
                    wrapper.last_profile = profiler.profile

        wrapper: Any
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def profiled_coroutine(*args: Any, **kwargs: Any) -> Any:
                profiler = begin()
                try:
                    return await function(*args, **kwargs)
                finally:
                    end(profiler)

            wrapper = profiled_coroutine
        else:

            @functools.wraps(function)
            def profiled(*args: Any, **kwargs: Any) -> Any:
                profiler = begin()
                try:
                    return function(*args, **kwargs)
                finally:
                    end(profiler)

            wrapper = profiled
        wrapper.last_profile = None
        result: Function = wrapper
        return result

    return decorate


# --- checking what users pass ------


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number from {least:g} to {most:g}, not {value!r}"
        ) from None
    if math.isnan(number) or not least <= number <= most:
        raise ValueError(f"{name} must be from {least:g} to {most:g}, not {value!r}")
    return number


def _require_native_unwinding() -> None:
    if not native_unwinding_available():
        raise RuntimeError(
            f"native unwinding is not available on {platform.system()} {platform.machine()}: it "
            "works on Linux on x86-64 and aarch64"
        )


def _check_output(path: PathLike) -> None:
    try:
        formats.check_writable(path)
    except PermissionError:
        raise
    except OSError as error:
        raise PermissionError(str(error)) from error


# --- threads ------


def _replace(module: Any, name: str, ours: Any) -> None:
    _hooks.append((module, name, getattr(module, name), ours))
    setattr(module, name, ours)


def _install_hooks() -> None:
    """Have the interpreter start its threads through us, so that they are followed from birth."""
    _replace(_signal, "signal", _signal_setter(_signal.signal))
    at_end, stand_in = _AT_THE_END_OF_A_THREAD
    _replace(*at_end, stand_in(getattr(*at_end)))
    for module in (os, sys.modules[os.name]):
        for name in ("execv", "execve"):
            if hasattr(module, name):
                _replace(module, name, _program_starter(getattr(module, name)))
    replaced: dict[int, Any] = {}
    for module in (_thread, threading):
        for name in (
            "start_new_thread",
            "start_new",
            "start_joinable_thread",
            "_start_new_thread",
            "_start_joinable_thread",
        ):
            original = getattr(module, name, None)
            if original is None:
                continue
            if id(original) not in replaced:
                replaced[id(original)] = _native.thread_starter(original)
            _replace(module, name, replaced[id(original)])


def _remove_hooks() -> None:
    while _hooks:
        module, name, original, ours = _hooks.pop()
        # Whoever replaced ours keeps theirs; ours passes on to the original.
        if getattr(module, name, None) is ours:
            setattr(module, name, original)


def _thread_names() -> list[tuple[int, str, int]]:
    return [
        (thread.native_id, thread.name, thread.ident)
        for thread in threading.enumerate()
        if thread.native_id is not None and thread.ident is not None
    ]


def _born_before() -> dict[int, threading.Thread]:
    """Threads born before the session: nobody tells what they used since their last sample."""
    return {
        thread.ident: thread
        for thread in threading.enumerate()
        if thread.ident is not None and thread is not threading.main_thread()
    }


def _thread_deleter(
    original: Callable[[threading.Thread], None],
) -> Callable[[threading.Thread], None]:
    """Stand in for the last thing that a thread of `threading` does, from 3.11 on."""
    born_before = _born_before()

    def delete(thread: threading.Thread) -> None:
        original(thread)
        if thread.ident is not None and born_before.get(thread.ident) is thread:
            del born_before[thread.ident]
            _native.settle_thread(thread.name)

    return delete


class _WatchedLock:
    """Stand in for the lock that a thread of `threading` takes as its last thing, until 3.10."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.acquire, self.release = lock.acquire, lock.release
        self._born_before = _born_before()

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)
        thread = self._born_before.get(threading.get_ident())
        if thread is not None and thread.ident not in threading._active:  # type: ignore[attr-defined]
            del self._born_before[threading.get_ident()]
            _native.settle_thread(thread.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


# What of `threading` a thread uses last: until 3.10 nothing but a lock.
_AT_THE_END_OF_A_THREAD: tuple[tuple[Any, str], Callable[[Any], Any]] = (
    ((threading.Thread, "_delete"), _thread_deleter)
    if sys.version_info >= (3, 11)
    else ((threading, "_active_limbo_lock"), _WatchedLock)
)


def _signal_setter(original: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
    """Stand in for `_signal.signal`, so that a session and a handler for SIGPROF get along.

    Without it the usual ``signal.signal(SIGPROF, old)`` at the end of somebody's use of the signal
    would make our next one end the process.
    """

    def set_signal(signalnum: int, handler: Any) -> Any:
        if signalnum != signal.SIGPROF or not _native.is_active():
            return original(signalnum, handler)
        with _lock:
            was_running = _native.pause()
            _native.give_signal_back()
            try:
                return original(signalnum, handler)
            finally:
                _native.take_signal_again()
                if was_running:
                    _native.resume()

    return set_signal


def _program_starter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for `os.execv` and `os.execve`.

    A signal that is pending when the process becomes another program is delivered to that one, and
    ends it: it does not know what to do with it.
    """

    @functools.wraps(original)
    def execute(*args: Any, **kwargs: Any) -> Any:
        if not _native.is_active():
            return original(*args, **kwargs)
        with _lock:
            was_running = _native.pause()
            _native.give_signal_back()
            try:
                return original(*args, **kwargs)
            finally:  # there is no such program: go on
                _native.take_signal_again()
                if was_running:
                    _native.resume()

    return execute


# --- the finished profile ------


def _with_source_lines(result: ProfileResult) -> ProfileResult:
    from . import _symbols

    try:
        return ProfileResult._of(_symbols.with_source_lines(result._tables))
    except Exception as error:  # noqa: BLE001 - a strange file costs its lines, not the profile
        warnings.warn(
            f"spprof: native frames have no source lines: {error!r}", RuntimeWarning, stacklevel=3
        )
        return result


def _time(realtime_ns: int) -> str:
    return datetime.fromtimestamp(realtime_ns / 1e9, timezone.utc).astimezone().isoformat()


def _platform_name() -> str:
    """As `platform.platform`, which starts another program to ask for the processor's name."""
    own = platform.uname()
    libc = "".join(platform.libc_ver())
    return "-".join((own.system, own.release, own.machine, *(["with", libc] if libc else [])))


def _finished(raw: dict[str, Any]) -> dict[str, Any]:
    """Turn what the native session returns into tables as docs/ARCHITECTURE.md has them."""
    native = raw["meta"]
    notes: list[str] = list(native["notes"])
    until = native["timestamps_until_ns"]
    if until >= 0:
        notes.append(
            f"the memory limit was reached after {until / 1e9:.1f} s: from there on counts and "
            "weights were kept, but no timestamps"
        )
    if native["stacks_were_cut"]:
        notes.append(
            "the memory limit left no room for new stacks: what is missing of them is counted "
            "under [memory limit]"
        )
    unsampled = native["unsampled_ns"] - sum(cpu_ns for _, cpu_ns in native["out_of_reach"])
    # A little is lost with every thread that hardly runs; only what changes the picture is said.
    if unsampled > max(5e6, native["duration_ns"] * 0.01):
        notes.append(
            f"{unsampled / 1e9:.3f} s of CPU time were used by threads too short to be sampled, "
            "and are not in the profile; a shorter interval shows them"
        )
    for thread, cpu_ns in native["out_of_reach"]:
        notes.append(
            f"thread {thread!r} has SIGPROF blocked: {cpu_ns / 1e9:.3f} s of its CPU time were not "
            "sampled; signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF}) in it lets "
            "spprof see it"
        )
    cut = raw["stats"]["calls_cut_short"]
    if cut:
        notes.append(
            f"{cut} blocking system calls of the program were ended early (EINTR) by a sample; "
            "see docs/TROUBLESHOOTING.md"
        )
    if native["dropped_count"]:
        notes.append(f"{native['dropped_count']} samples were dropped: a buffer was full")
    meta = {
        "version": 1,
        "start_time": _time(native["start_realtime_ns"]),
        "end_time": _time(native["end_realtime_ns"]),
        "duration_ns": native["duration_ns"],
        "interval_ns": native["interval_ns"],
        "mode": native["mode"],
        "engine": native["engine"],
        "weights": "measured",
        "dropped_count": native["dropped_count"],
        "python_version": platform.python_version(),
        "platform": _platform_name(),
        "notes": notes,
        "modules": native["modules"],
        "timestamps_until_ns": until if until >= 0 else None,
    }
    for thread in raw["threads"]:
        thread["name"] = thread["name"] or f"Thread {thread['tid']}"
    return {**raw, "meta": meta}


# --- fork and exit ------


def _after_fork_in_child() -> None:
    global _lock, _output_path
    _lock = threading.RLock()
    _output_path = None
    if not _native.is_active():
        _remove_hooks()
    _native.after_fork_in_child()


def _at_exit() -> None:
    if is_active():
        try:
            stop()
        except OSError as error:
            print(f"spprof: the profile was not saved: {error}", file=sys.stderr)
        _leave_interrupted()


def _leave_interrupted() -> None:
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
    # Python counts the threads of a process that forks, and warns where there are several.
    os.register_at_fork(
        before=_native.end_threads,
        after_in_parent=_native.begin_threads,
        after_in_child=_after_fork_in_child,
    )
