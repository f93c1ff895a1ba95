"""Starting and stopping the profiler of this process, and which threads it follows.

Must not know how formats look inside, nor IPython. What `stop` needs is imported by `start`: a
program may do anything in between.
"""

from __future__ import annotations

import os

from . import children_cpu, engine, hooks, jobs, late, offspring, state
from .options import Options, accepting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .._profile.model import Profile
    from .._profile.tables import Tables
    from .._profile.values import NativeFrame, PathLike, ProfilerStats

# Makes profiles: a child that only sends what it has need not import it.
_RESULT = "_session.result"
_warned: set[str] = set()


@accepting(Options)
def start(options: Options) -> None:
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
    processes : bool
        The profile has every Python process, too, that this one and those make until `stop`; each
        takes up to `memory_limit_mb`. See docs/PROCESSES.md.
    tasks : bool
        In "wall" mode, look at the suspended tasks of asyncio's event loops too: who awaits whom,
        where, and for how long. They are in threads of their own, ``asyncio tasks of MainThread``.

    Raises
    ------
    RuntimeError
        A session is running already, or `native` or `processes` is asked for where it is not
        available.
    ValueError
        A value is out of its range.
    TypeError
        `interval_ms` or `memory_limit_mb` is not a number.
    PermissionError
        `output_path` cannot be written; checked before anything starts.
    OSError
        There is no place for the files of other processes.

    See Also
    --------
    stop, Profiler, profile
    """
    begin(options, stacklevel=4)


def begin(
    options: Options,
    stacklevel: int,
    owner: state.Owner | None = None,
    *,
    gives_way: bool = False,
) -> None:
    """Start a session; see `start`. Warnings point so many calls up from here.

    Whoever stops it, `owner` gets the profile. One that gives way is stopped by the next start, one
    that gives way itself excepted.
    """
    native = check(options)
    try:  # noqa: SIM105 - contextlib is not imported for this
        late.module(_RESULT)  # for `stop`
    except OSError:
        pass  # no descriptor is left; `stop` tries again
    member = state.member
    if member is not None:  # this process's own session comes before another one's
        member.end("")
    with state.lock:
        if is_taken() or (gives_way and engine.is_active()):
            raise RuntimeError("Profiler already running")
        if options.output_path is not None:
            _prepare_output(options.output_path)
        if native:
            _import_symbols()
        if engine.is_active():
            end()
        if options.mode == "wall" and options.tasks:
            from . import tasks

            state.tasks = tasks
        try:
            offspring.forget()
            hooks.install(options.processes)
            jobs.begin(noting=options.mode == "wall" and options.tasks)
            if options.processes:
                children = late.module("_session.children")
                late.module("_session.children_profile")  # for `stop`
                state.folder = children.open_folder(options, native)
                state.told = children.Told(state.folder)
            state.children_before = children_cpu.usage()
            state.processes_spelling = options.processes_spelling
            engine.start(
                options.interval_ns,
                options.mode,
                options.memory_limit_bytes,
                native,
                options.aggregate,
            )
        except BaseException:
            if not engine.is_active():
                hooks.remove()
                _forget_children()
            raise
        if state.tasks is not None and options.mode == "wall" and options.tasks:
            part = options.memory_limit_bytes // 10
            room = 0 if options.aggregate else part
            state.tasks.begin(options.interval_ns, engine.stats()["duration_ns"], room, part)
        # Where it was checked: the program may change the directory.
        asked = options.output_path
        state.output_path = None if asked is None else os.path.abspath(asked)
        state.owner, state.gives_way = owner, gives_way
        try:
            _warn_of(engine.notes(), stacklevel + 1)
        except BaseException:
            # A filter made an error of it: who gets one from start() has no session.
            end()
            raise


def _warn_of(notes: Iterable[str], stacklevel: int) -> None:
    """Warn of what the session has to do without, of each once in a process."""
    for note in notes:
        if note not in _warned:
            _warned.add(note)
            try:
                import warnings

                warnings.warn(f"spprof: {note}", RuntimeWarning, stacklevel=stacklevel)
            except (OSError, MemoryError):
                pass  # there is nothing left to show it with; the profile has the note


def check(options: Options) -> bool:
    """Verify options as far as that can be done beforehand; returns whether native frames follow.

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As `start` says.
    """
    options.check()
    native = state.native_unwinding if options.native is None else options.native
    if native:
        _require_native_unwinding()
    if options.processes:
        late.module("_session.children").check()
    return native


def stop() -> Profile:
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
    profile = end()
    if profile is None:
        raise RuntimeError("Profiler not running")
    return profile


def end(owner: state.Owner | None = None) -> Profile | None:
    """Stop the session, with an `owner` only if it is theirs; None where there is none. See `stop`.

    The owner has the profile even where saving it raises.
    """
    with state.lock:
        if not is_active() or (owner is not None and state.owner is not owner):
            return None
        try:
            engine.pause()  # what follows is no part of the profile
            if state.tasks is not None:
                state.tasks.settle()
            raw = engine.stop()
        finally:
            # After a KeyboardInterrupt the session may go on; after a MemoryError it has ended.
            if not engine.is_active():
                hooks.remove()
                waited = state.tasks.take() if state.tasks is not None else ()
        path, owner = state.output_path, state.owner
        before, folder = state.children_before, state.folder
        covered, state.covered = state.covered, frozenset()
        if state.told is not None:
            state.told.take_back()
        state.output_path = state.owner = state.children_before = state.folder = state.told = None
        state.gives_way = False
    result = late.module(_RESULT)
    own: Tables = result.tables_of(raw, *waited)
    if folder is None:
        meta = own.meta.with_notes(*_children_note(raw, before, covered))
        profile: Profile = result.profile_over(own.same_stacks(meta=meta))
    else:
        all_of = late.module("_session.children_profile").profile_of
        profile = all_of(own, raw, folder, before)
    if owner is not None:
        owner.profile = profile
    if path is not None:
        try:
            profile.save(path)
        except OSError as error:
            error.profile = profile  # type: ignore[attr-defined]
            error.asked_path = path  # type: ignore[attr-defined]
            raise
    return profile


def _forget_children() -> None:
    if state.told is not None:
        state.told.take_back()
    if state.folder is not None:
        state.folder.remove()
    state.folder = state.told = None


def _children_note(
    raw: dict[str, Any], before: children_cpu.Usage | None, covered: frozenset[int]
) -> list[str]:
    """What to say of children whose time is not in the profile."""
    if before is None:
        return []
    now, before = children_cpu.usage().without(covered), before.without(covered)
    busy = now.busy_since(before) | offspring.made.keys()
    own_ns: int = late.module(_RESULT).own_ns(raw)
    note = children_cpu.note(now.since(before), len(busy), own_ns, state.processes_spelling)
    return [] if note is None else [note]


def snapshot() -> Profile:
    """Return what the running session has recorded up to now; it goes on as if nobody had asked.

    Any thread may ask. The profile ends with each thread's last sample: what it has used since then
    is in the next one. Native functions go by the names that are known by now; some may still be
    addresses.

    Returns
    -------
    Profile

    Raises
    ------
    RuntimeError
        No session is running.
    """
    profile = look()
    if profile is None:
        raise RuntimeError("Profiler not running")
    return profile


def look(owner: state.Owner | None = None) -> Profile | None:
    """As `snapshot`, with an `owner` only of their session; None where there is none."""
    with state.lock:
        if not is_active() or (owner is not None and state.owner is not owner):
            return None
        raw = engine.snapshot()
    profile: Profile = late.module(_RESULT).profile_of(raw)
    return profile


def keep(failure: OSError) -> str | None:
    """Keep the profile that `stop` could not save somewhere else; returns where."""
    profile = getattr(failure, "profile", None)
    if profile is None:
        return None
    from ..formats import registry

    return registry.keep(profile._tables, failure.asked_path)  # type: ignore[attr-defined]


def is_active() -> bool:
    """Whether a session is running in this process (never inherited by a forked child).

    One that another process asked for with ``processes=True`` is not this process's own.
    """
    return engine.is_active() and state.member is None


def is_taken() -> bool:
    """Whether a session is running that does not give way to another."""
    with state.lock:
        return engine.is_active() and not state.gives_way


def stats() -> ProfilerStats | None:
    """Figures of the running session; None when there is none.

    Returns
    -------
    ProfilerStats or None
    """
    with state.lock:
        if not is_active():
            return None
        make = late.module("_profile.values").ProfilerStats
        figures = engine.stats()
    spent = figures["handler_ns"] + figures["background_cpu_ns"]
    made: ProfilerStats = make(
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
    return made


def pause() -> None:
    """Take no samples until `resume`; the time in between is not counted. Twice is as once.

    Raises
    ------
    RuntimeError
        No session is running.
    """
    engine.pause()
    if state.tasks is not None:
        state.tasks.pause()


def resume() -> None:
    """Go on after `pause`; does nothing when not paused.

    Raises
    ------
    RuntimeError
        No session is running.
    """
    engine.resume()
    if state.tasks is not None:
        state.tasks.resume()


def register_thread() -> bool:
    """Follow the calling thread from now on, at once.

    Python's threads are followed by themselves; this is for threads that C or C++ code made, which
    are otherwise noticed within 50 ms (where another thread ended just then 200, among hundreds of
    threads up to a second), and for threads that called `unregister_thread`.

    Calling it is always harmless, outside of a session as well.

    Returns
    -------
    bool
        True; False where a running session has no memory left to follow one thread more.
    """
    return engine.register_thread() or not engine.is_active()


def unregister_thread() -> bool:
    """Take no more samples of the calling thread in this session.

    Calling it is always harmless, outside of a session and twice as well.

    Returns
    -------
    bool
        True: the thread is not followed now.
    """
    engine.unregister_thread()
    return True


def native_unwinding_available() -> bool:
    """Whether native frames can be unwound here: on Linux, macOS, and Windows on x86-64."""
    return engine.native_unwinding_available()


def native_unwinding_enabled() -> bool:
    """Whether `start` unwinds native frames when it is not told otherwise; off at first."""
    return state.native_unwinding


def set_native_unwinding(enabled: bool) -> None:
    """Have `start` unwind native frames from now on, or not.

    Raises
    ------
    RuntimeError
        Native unwinding is not available on this system.
    """
    if enabled:
        _require_native_unwinding()
    state.native_unwinding = bool(enabled)


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
    make = late.module("_profile.values").NativeFrame
    return [make(*frame) for frame in engine.capture_native_stack()]


def _require_native_unwinding() -> None:
    if not native_unwinding_available():
        import platform

        raise RuntimeError(
            f"native unwinding is not available on {platform.system()} {platform.machine()}: it "
            "works on Linux and macOS (x86-64, aarch64) and on Windows (x86-64)"
        )


def _import_symbols() -> None:
    """Import what reads source lines of native frames, for `stop`."""
    try:
        from . import symbols  # noqa: F401
    except OSError as error:  # no descriptor is left: native frames go without their lines
        _warn_of([f"native frames may have no source lines: {error}"], stacklevel=6)


def _prepare_output(path: PathLike) -> None:
    """Verify that the profile can be saved, and import what saves it while that is possible."""
    from ..formats import files, registry

    try:
        files.check_writable(path)
        registry.for_path(path).prepare()
    except PermissionError:
        raise
    except OSError as error:
        raise PermissionError(str(error)) from error
