"""The torments: programs that do what profilers have crashed on. `run.py` runs them.

Each is a function of `Torment`; it goes on until `torment.over()`, and returns what the undisturbed
program would return as well. What it calls of this file has a name that says who must be its
caller: ``leaf__from__middle``. Skips say what is missing.

Run as a program: NAME SECONDS MODE INTERVAL_MS NATIVE RESULT_FILE, with MODE "off" for the
undisturbed program.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import faulthandler
import functools
import gc
import importlib
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """The torment cannot be had here; says what is missing."""


class Torment:
    """What a torment may use."""

    def __init__(self, seconds: float, options: dict[str, Any], folder: Path) -> None:
        self.seconds, self.options, self.folder = seconds, options, folder
        self._end = time.monotonic() + seconds
        self.samples = 0

    def over(self) -> bool:
        """Whether it has gone on for long enough."""
        return time.monotonic() > self._end

    @property
    def disturbed(self) -> bool:
        """Whether a session is to be run."""
        return self.options["mode"] != "off"

    def start(self) -> None:
        """Start a session as asked for."""
        if self.disturbed:
            import spprof

            spprof.start(
                self.options["interval"], mode=self.options["mode"], native=self.options["native"]
            )

    def stop(self) -> Any:
        """Stop it; returns its profile."""
        if not self.disturbed:
            return None
        import spprof

        profile = spprof.stop()
        self.samples += profile.sample_count
        return profile

    def library(self) -> Any:
        """`torments.cpp`, compiled by `run.py`."""
        path = os.environ.get("TORMENTS_LIBRARY", "")
        if not path:
            raise Skipped("no C++ compiler")
        return ctypes.CDLL(path)

    def child(self, program: str, *, status: int = 0, quiet: bool = True) -> None:
        """Run a program of its own that begins with a session of this kind."""
        begin = "import os, sys, threading, time, signal\n"
        if self.disturbed:
            begin += "import spprof\nspprof.start({interval}, mode={mode!r}, native={native})\n"
            begin = begin.format(**self.options)
        done = subprocess.run(
            [sys.executable, "-c", begin + program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != status or (quiet and done.stderr):
            raise AssertionError(f"a child ended with {done.returncode}: {done.stderr[-500:]}")


TORMENTS: dict[str, Callable[[Torment], Any]] = {}
OWN_SESSIONS: set[str] = set()  # they start and stop by themselves
PRELOADS: dict[str, str] = {}  # libraries to be loaded before


def torment(
    *, own_sessions: bool = False, preload: str = ""
) -> Callable[[Callable[[Torment], Any]], Callable[[Torment], Any]]:
    """Register a torment."""

    def register(function: Callable[[Torment], Any]) -> Callable[[Torment], Any]:
        name = function.__name__
        TORMENTS[name] = function
        if own_sessions:
            OWN_SESSIONS.add(name)
        if preload:
            PRELOADS[name] = preload
        return function

    return register


# --- work whose callers are known ---


def leaf__from__middle(n: int) -> int:
    return sum(range(n))


def middle__from__root(n: int) -> int:
    return leaf__from__middle(n) + leaf__from__middle(n // 2)


def root(rounds: int = 20) -> int:
    return sum(middle__from__root(50) for _ in range(rounds))


def items__from__consume(n: int) -> Iterator[int]:
    for i in range(n):
        yield leaf__from__items(i)


def leaf__from__items(n: int) -> int:
    return sum(range(n))


def consume() -> int:
    total = 0
    for item in items__from__consume(30):
        total += item
    return total


async def inner__from__outer(n: int) -> int:
    await asyncio.sleep(0)
    return sum(range(n))


async def outer() -> int:
    return await inner__from__outer(40) + await inner__from__outer(20)


def key__from__ordered(n: int) -> int:
    if n == 7:
        raise ValueError(n)
    return -n


def ordered() -> int:
    try:
        sorted(range(20), key=key__from__ordered)
    except ValueError as error:
        return int(error.args[0])
    return 0


def burn(seconds: float) -> None:
    """Known work for so much time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        root(2)
        consume()


def together(*works: Callable[[], Any]) -> None:
    """Run in a thread each; what one raises is raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- threads ---


@torment()
def thread_churn(t: Torment) -> Any:
    while not t.over():
        together(*[functools.partial(root, 3)] * 8)
    return root()


@torment()
def many_threads(t: Torment) -> Any:
    go = threading.Event()
    threads = [threading.Thread(target=lambda: (go.wait(), root(5))) for _ in range(200)]
    for thread in threads:
        thread.start()
    burn(t.seconds / 2)
    go.set()
    for thread in threads:
        thread.join()
    return len(threads)


@torment(own_sessions=True)
def start_and_stop_from_many_threads(t: Torment) -> Any:
    if t.disturbed:
        import spprof

        def sessions() -> None:
            while not t.over():
                try:
                    t.start()
                    root(5)
                    t.stop()
                except RuntimeError:
                    root(1)

        together(*[sessions] * 4, functools.partial(burn, t.seconds))
        if spprof.is_active():
            t.stop()
    return root()


# --- stacks ---


@torment()
def recursion_to_its_limit(t: Torment) -> Any:
    def down(n: int) -> int:
        return down(n + 1)

    errors = 0
    while not t.over():
        try:
            down(0)
        except RecursionError:
            errors += 1
    return errors > 0


@torment()
def generators_and_coroutines(t: Torment) -> Any:
    async def storm() -> None:
        await asyncio.gather(*[outer() for _ in range(50)])

    while not t.over():
        consume()
        asyncio.run(storm())
    return consume()


@torment()
def exceptions_through_c_and_cpp(t: Torment) -> Any:
    library = t.library()
    library.throw_often.argtypes = [ctypes.c_double, ctypes.c_int, ctypes.c_void_p]
    call = ctypes.CFUNCTYPE(None)(lambda: ordered() and None)
    caught = library.throw_often(t.seconds, 30, ctypes.cast(call, ctypes.c_void_p))
    return caught > 10, ordered()


@torment()
def greenlets(t: Torment) -> Any:
    try:
        from greenlet import greenlet
    except ImportError:
        raise Skipped("greenlet is not installed") from None

    def run() -> None:
        while True:
            root(2)
            greenlet.getcurrent().parent.switch()

    tasks = [greenlet(run) for _ in range(20)]
    while not t.over():
        for task in tasks:
            task.switch()
        greenlet(consume).switch()
    return root()


@torment()
def gevent_loop(t: Torment) -> Any:
    try:
        import gevent
    except ImportError:
        raise Skipped("gevent is not installed") from None

    def run() -> None:
        while not t.over():
            root(2)
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(run) for _ in range(20)])
    return root()


@torment()
def uvloop_loop(t: Torment) -> Any:
    try:
        import uvloop
    except ImportError:
        raise Skipped("uvloop is not installed") from None

    async def main() -> None:
        while not t.over():
            await asyncio.gather(*[outer() for _ in range(20)])

    loop = uvloop.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    return root()


# --- the interpreter's own machinery ---


@torment()
def collector_all_the_time(t: Torment) -> Any:
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        while not t.over():
            loop: list[Any] = [object()]
            loop.append(loop)
            consume()
    finally:
        gc.set_threshold(*before)
    return consume()


@torment()
def compile_and_exec(t: Torment) -> Any:
    def codes() -> None:
        number = 0
        while not t.over():
            number = (number + 1) % 100
            space: dict[str, Any] = {}
            source = (
                f"def deep__from__made_{number}():\n    return sum(range(50))\n"
                f"def made_{number}():\n    return deep__from__made_{number}()\nmade_{number}()"
            )
            exec(source, space)

    together(*[codes] * 3)
    return root()


@torment()
def modules_reloaded(t: Torment) -> Any:
    sys.path.insert(0, str(t.folder))
    file = t.folder / "reloaded_module.py"
    lines = [f"def work_{i}__from__call_{i}(): return sum(range(60))\n" for i in range(10)]
    calls = [f"def call_{i}(): return work_{i}__from__call_{i}()\n" for i in range(10)]
    file.write_text("".join(lines + calls))
    module = importlib.import_module("reloaded_module")
    while not t.over():
        module = importlib.reload(module)
        for i in range(10):
            getattr(module, f"call_{i}")()
    return module.call_3()


@torment()
def traced_and_monitored(t: Torment) -> Any:
    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1

    monitoring = getattr(sys, "monitoring", None)
    while not t.over():
        sys.setprofile(count)
        sys.settrace(count)
        if monitoring is not None:
            monitoring.use_tool_id(3, "torment")
            monitoring.register_callback(3, monitoring.events.PY_START, count)
            monitoring.set_events(3, monitoring.events.PY_START)
        root(2)
        sys.settrace(None)
        sys.setprofile(None)
        if monitoring is not None:
            monitoring.set_events(3, 0)
            monitoring.free_tool_id(3)
        consume()
    return seen[0] > 0


@torment(own_sessions=True)
def finalizers_that_call_us(t: Torment) -> Any:
    ended = [0]

    class Node:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            ended[0] += 1
            if t.disturbed:
                import spprof

                spprof.is_active()
                spprof.stats()
            if ended[0] % 8 == 0:
                thread = threading.Thread(target=root, args=(1,))
                thread.start()
                thread.join()

    while not t.over():
        t.start()
        Node()
        keep = [[] for _ in range(random.randrange(650))]  # noqa: F841 - the collector counts them
        burn(0.002)
        t.stop()
    gc.collect()
    return ended[0] > 0


# --- signals ---


@torment()
def jumps_out_of_handlers(t: Torment) -> Any:
    library = t.library()
    library.jump_out_of_handlers.argtypes = [ctypes.c_double, ctypes.c_int, ctypes.c_long]
    jumps = library.jump_out_of_handlers(t.seconds / 2, 0, 97)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    jumps += library.jump_out_of_handlers(t.seconds / 2, 1, 97)
    return jumps > 10, signal.SIGPROF in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@torment()
def faults_that_the_program_mends(t: Torment) -> Any:
    library = t.library()
    library.fault_and_jump.argtypes = [ctypes.c_double]
    faults = 0
    while not t.over():
        faults += library.fault_and_jump(0.1)
        root(5)
    return faults > 10


@torment()
def faulthandler_toggled(t: Torment) -> Any:
    with open(os.devnull, "w", encoding="ascii") as null:
        while not t.over():
            faulthandler.enable(file=null)
            faulthandler.register(signal.SIGUSR1, file=null)
            signal.raise_signal(signal.SIGUSR1)
            root(3)
            faulthandler.unregister(signal.SIGUSR1)
            faulthandler.disable()
            root(3)
    return root()


@torment()
def the_programs_own_handlers(t: Torment) -> Any:
    got = [0]

    def handle(*_: Any) -> None:
        got[0] += 1

    signal.signal(signal.SIGUSR1, handle)
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while not t.over():
        before = signal.signal(signal.SIGPROF, handle)
        signal.raise_signal(signal.SIGUSR1)
        root(3)
        signal.signal(signal.SIGPROF, before)
        root(3)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return got[0] > 0, signal.getsignal(signal.SIGPROF) == signal.SIG_DFL


@torment()
def profiling_timer_of_the_program(t: Torment) -> Any:
    got = [0]

    def handle(*_: Any) -> None:
        got[0] += 1

    signal.signal(signal.SIGPROF, handle)
    signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
    burn(t.seconds)
    signal.setitimer(signal.ITIMER_PROF, 0)
    # It counts CPU time in ticks, of which a loaded machine leaves some for others.
    return got[0] <= t.seconds / 0.01 * 2


@torment()
def small_signal_stacks(t: Torment) -> Any:
    library = t.library()
    library.give_signal_stack.argtypes = [ctypes.c_ulong]

    def on_stack(size: int) -> None:
        # One that holds no signal of the program's, either, is no use to it.
        if library.give_signal_stack(size) == 0:
            while not t.over():
                root(5)

    together(*[functools.partial(on_stack, size) for size in (5000, 6000, 8192, 16384)])
    return root()


@torment()
def all_signals_blocked(t: Torment) -> Any:
    def blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        while not t.over():
            root(5)
        if signal.sigpending() & {signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS}:
            raise AssertionError("a signal of ours is pending")

    together(blocked, blocked, functools.partial(burn, t.seconds))
    return root()


@torment()
def interrupted_by_the_keyboard(t: Torment) -> Any:
    """Ctrl-C at any moment of `start` and `stop`."""
    import spprof

    main, over = threading.main_thread().ident, threading.Event()
    assert main is not None

    def press() -> None:
        while not over.is_set():
            time.sleep(random.random() * 0.01)
            signal.pthread_kill(main, signal.SIGINT)

    pressed = [0]
    keyboard = threading.Thread(target=press)
    while not t.over():
        try:
            if keyboard.ident is None:
                keyboard.start()
            if t.disturbed:
                try:
                    if spprof.is_active():
                        spprof.stop()
                    t.start()
                except RuntimeError:
                    pass
            root(20)
        except KeyboardInterrupt:
            pressed[0] += 1
    before = signal.getsignal(signal.SIGINT)
    while True:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            break
        except KeyboardInterrupt:
            continue
    over.set()
    keyboard.join()
    signal.signal(signal.SIGINT, before)
    if t.disturbed and not spprof.is_active():
        t.start()
    return pressed[0] > 0


@torment()
def stopped_and_continued(t: Torment) -> Any:
    pid = os.getpid()
    code = (
        "import os, signal, sys, time\n"
        "pid = int(sys.argv[1])\n"
        "while True:\n"
        "    os.kill(pid, signal.SIGSTOP); time.sleep(0.02)\n"
        "    os.kill(pid, signal.SIGCONT); time.sleep(0.02)\n"
    )
    stopper = subprocess.Popen([sys.executable, "-S", "-c", code, str(pid)])
    try:
        together(*[functools.partial(burn, t.seconds)] * 2)
    finally:
        stopper.kill()
        stopper.wait()
    return root()


# --- libraries ---


def _copy(t: Torment, number: int) -> Path:
    t.library()
    path = t.folder / f"copy{number}.so"
    shutil.copy(os.environ["TORMENTS_LIBRARY"], path)
    return path


def _close(library: Any) -> None:
    import _ctypes

    _ctypes.dlclose(library._handle)


@torment()
def libraries_opened_and_closed(t: Torment) -> Any:
    paths = [_copy(t, number) for number in range(4)]
    while not t.over():
        for path in paths:
            library = ctypes.CDLL(str(path))
            library.work_in_library(200_000)
            _close(library)
    return True


@torment()
def libraries_cut_short_and_replaced(t: Torment) -> Any:
    number = 0
    while not t.over():
        path = _copy(t, number)
        how = number % 3
        number += 1
        if how == 0:
            # What is gone cannot be run any more: such a program dies at its end, if not before.
            t.child(
                f"import ctypes; path = {str(path)!r}; library = ctypes.CDLL(path)\n"
                f"library.work_in_library(500_000); os.truncate(path, {number % 2 * 4096})\n"
                "sum(range(10**6)); time.sleep(0.06)\n"
                + ("spprof.stop(); " if t.disturbed else "")
                + "os._exit(0)"
            )
            continue
        library = ctypes.CDLL(str(path))
        library.work_in_library(500_000)
        if how == 1:
            path.unlink()
        elif how == 2:
            other = path.with_suffix(".new")
            other.write_bytes(b"\x7fELF" + os.urandom(20_000))
            other.replace(path)
        library.work_in_library(500_000)
        _close(library)
    return True


# --- processes ---


def _wait(pid: int, status: int = 0) -> None:
    end = time.monotonic() + 30
    while True:
        done, ended = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("a child hangs")
        time.sleep(0.001)
    if ended != status:
        raise AssertionError(f"a child ended with {ended}")


@torment()
def forks_from_any_thread(t: Torment) -> Any:
    def forks(seed: int) -> None:
        number = seed
        while not t.over():
            number += 1
            pid = os.fork()
            if pid == 0:
                if number % 3 == 0:
                    os.execv("/bin/true", ["true"])
                if number % 3 == 1 and t.disturbed:
                    import spprof

                    if spprof.is_active():
                        os._exit(9)
                root(2)
                os._exit(0)
            _wait(pid)
            root(2)

    together(*[functools.partial(forks, seed) for seed in range(2)])
    return root()


@torment()
def bare_forks(t: Torment) -> Any:
    """The system call alone: nobody is told. Only from a process of one thread."""
    numbers = {"x86_64": 56, "aarch64": 220}
    if platform.machine() not in numbers:
        raise Skipped(f"the number of clone() on {platform.machine()} is not known")
    libc = ctypes.PyDLL(None)
    clone = libc.syscall
    while not t.over():
        pid = clone(numbers[platform.machine()], int(signal.SIGCHLD), 0, 0, 0, 0)
        if pid == 0:
            root(3)
            exec("def f(): return 1\nf()")
            os._exit(0)
        _wait(pid)
        root(3)
    return root()


@torment()
def execs_with_threads(t: Torment) -> Any:
    program = (
        "from os import execv\n"
        "def work():\n    while True: sum(range(100))\n"
        "for _ in range(2): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.02)\nexecv('/bin/true', ['true'])"
    )
    while not t.over():
        t.child(program)
    return True


@torment()
def subprocess_storm(t: Torment) -> Any:
    def storm() -> None:
        while not t.over():
            subprocess.run(["/bin/true"], check=True)
            root(2)

    together(storm, storm)
    return root()


@torment()
def multiprocessing_of_all_kinds(t: Torment) -> Any:
    import multiprocessing

    total = 0
    for method in ("fork", "forkserver", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            total += sum(pool.map(leaf__from__items, range(20)))
    while not t.over():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(leaf__from__items, range(20))
    return total


@torment()
def exits_of_children(t: Torment) -> Any:
    while not t.over():
        for status, leave in ((3, "os._exit(3)"), (0, "sys.exit()"), (5, "raise SystemExit(5)")):
            pid = os.fork()
            if pid == 0:
                try:
                    root(2)
                    exec(leave)
                except SystemExit as error:
                    os._exit(int(error.code or 0))
            _wait(pid, status << 8)
    return root()


@torment()
def interpreter_ends_while_active(t: Torment) -> Any:
    save = t.folder / "at_exit.spprof"
    while not t.over():
        t.child("sum(range(200_000))")
        t.child("sys.exit(4)", status=4)
        t.child("os._exit(5)", status=5)
        if t.disturbed:
            t.child(f"spprof.stop(); spprof.start(1, output_path={str(save)!r}); sum(range(10**6))")
            if not save.exists():
                raise AssertionError("nothing was saved at exit")
    return True


@torment()
def daemon_threads_at_exit(t: Torment) -> Any:
    program = (
        "def work():\n    while True: sum(range(100)); time.sleep(0)\n"
        "for _ in range(4): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.05)\n"
    )
    while not t.over():
        t.child(program)
    return True


# --- limits ---


@torment()
def every_descriptor_closed(t: Torment) -> Any:
    while not t.over():
        os.closerange(3, 256)
        first, second = os.pipe()
        root(5)
        os.write(second, b"x")
        if os.read(first, 10) != b"x":
            raise AssertionError("a pipe of the program's has something else")
        os.close(first)
        os.close(second)
    return root()


@torment(own_sessions=True)
def no_descriptor_left(t: Torment) -> Any:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    t.start()  # imports what it needs
    t.stop()
    while not t.over():
        taken: list[int] = []
        try:
            while True:
                taken.append(os.dup(2))
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        t.start()
        together(*[functools.partial(burn, 0.05)] * 2)
        for number in taken:
            os.close(number)
        t.stop()
    return root()


@torment(own_sessions=True)
def no_memory_left(t: Torment) -> Any:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    t.start()

    def varied() -> None:
        number = 0
        while not t.over():
            number = (number + 1) % 1000
            try:
                exec(f"def f{number}(): return sum(range(20))\nf{number}()", {})
            except MemoryError:
                continue

    workers = [threading.Thread(target=varied) for _ in range(2)]
    for worker in workers:
        worker.start()
    time.sleep(t.seconds / 4)
    errors = 0
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), hard))
    while not errors or not t.over():
        hoard: list[bytearray] = []
        try:
            while True:
                hoard.append(bytearray(1 << 14))
        except MemoryError:
            errors += 1
        time.sleep(0.01)
        hoard.clear()
    for worker in workers:
        worker.join()
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    t.stop()
    return errors > 0


@torment(own_sessions=True)
def full_queue_of_signals(t: Torment) -> Any:
    _, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    while not t.over():
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (random.randrange(4), hard))
        t.start()
        together(*[functools.partial(burn, 0.1)] * 3)
        t.stop()
    return root()


@torment(own_sessions=True)
def no_thread_to_be_had(t: Torment) -> Any:
    t.start()  # imports what it needs
    t.stop()
    while not t.over():
        pid = os.fork()
        if pid == 0:
            try:
                resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
                if os.getuid() == 0:
                    os.setresuid(65534, 65534, 65534)  # root is not bound by it
                try:
                    threading.Thread(target=root).start()
                    os._exit(8)
                except RuntimeError:
                    t.start()
                    burn(0.1)
                    t.stop()
                os._exit(0)
            except BaseException:  # noqa: BLE001 - must not return into the parent's program
                traceback.print_exc()
                os._exit(9)
        _wait(pid)
    return root()


@torment(own_sessions=True)
def full_disk_on_save(t: Torment) -> Any:
    if not t.disturbed:
        return 0
    import spprof

    target = t.folder / "full.spprof"
    target.write_bytes(b"what was there")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    while not t.over():
        spprof.start(t.options["interval"], output_path=target, mode=t.options["mode"])
        burn(0.02)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        try:
            spprof.stop()
            raise AssertionError("a file of 64 bytes has room for a profile")
        except OSError as error:
            t.samples += getattr(error, "profile").sample_count  # noqa: B009
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        if target.read_bytes() != b"what was there":
            raise AssertionError("half a file")
    signal.signal(signal.SIGXFSZ, before)
    return 0


@torment()
def many_distinct_stacks(t: Torment) -> Any:
    def down__from__down(n: int, key: int) -> int:
        if n == 0:
            return sum(range(50))
        return (down__from__down if key & 1 else up__from__down)(n - 1, key >> 1)

    def up__from__down(n: int, key: int) -> int:
        if n == 0:
            return sum(range(50))
        return (down__from__down if key & 1 else up__from__down)(n - 1, key >> 1)

    number = 0
    while not t.over():
        number += 1
        down__from__down(30, number * 2654435761 & 0x3FFFFFFF)
    return True


# --- other allocators, debuggers and profilers ---


@torment(preload="libtcmalloc_minimal.so.4")
def under_tcmalloc(t: Torment) -> Any:
    while not t.over():
        together(functools.partial(root, 20), lambda: [bytearray(n) for n in range(5000)])
    return root()


@torment(preload="libjemalloc.so.2")
def under_jemalloc(t: Torment) -> Any:
    while not t.over():
        together(functools.partial(root, 20), lambda: [bytearray(n) for n in range(5000)])
    return root()


def _again_and_again(t: Torment, command: list[str]) -> int:
    """Run a tool on this process while it works; how often that ended."""
    ends = [0]

    def look() -> None:
        while not t.over() or not ends[0]:
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if done.returncode != 0:
                raise Skipped(f"{command[0]}: {done.stderr.decode(errors='replace')[-100:]}")
            ends[0] += 1

    together(look, functools.partial(burn, t.seconds))
    return ends[0]


@torment()
def gdb_attached_and_detached(t: Torment) -> Any:
    if shutil.which("gdb") is None:
        raise Skipped("gdb is not installed")
    command = ["gdb", "-nx", "-p", str(os.getpid()), "-batch", "-ex", "info threads"]
    return _again_and_again(t, command) > 0


@torment()
def py_spy_beside(t: Torment) -> Any:
    if shutil.which("py-spy") is None:
        raise Skipped("py-spy is not installed")
    return _again_and_again(t, ["py-spy", "dump", "--pid", str(os.getpid())]) > 0


@torment()
def cprofile_and_tracemalloc_beside(t: Torment) -> Any:
    import cProfile

    while not t.over():
        profiler = cProfile.Profile()
        tracemalloc.start()
        profiler.runcall(root, 5)
        tracemalloc.take_snapshot()
        tracemalloc.stop()
        consume()
    return root()


@torment()
def memray_beside(t: Torment) -> Any:
    try:
        import memray
    except ImportError:
        raise Skipped("memray is not installed") from None
    number = 0
    while not t.over():
        number += 1
        with memray.Tracker(t.folder / f"{number}.memray"):
            together(*[functools.partial(burn, 0.02)] * 2)
    return root()


@torment()
def cysignals_of_sage(t: Torment) -> Any:
    try:
        import cysignals.tests as tests
    except ImportError:
        raise Skipped("cysignals is not installed") from None
    names = ("test_dereference_null_pointer", "test_sig_error", "test_sig_str", "test_abort")
    outcomes = set()
    while not t.over():
        for name in names:
            try:
                getattr(tests, name, root)()
            except BaseException as error:  # noqa: BLE001 - what it raises is compared
                outcomes.add((name, type(error).__name__))
        root(5)
    return sorted(outcomes)


# --- one of them, as a program ---


def wrong_names(profile: Any) -> dict[str, int]:
    """Samples in which somebody was called by whom they cannot have been called."""
    wrong: dict[str, int] = {}
    for sample in profile.samples:
        frames = [frame for frame in sample.frames if not frame.is_native]
        for inner, outer in zip(frames, frames[1:]):
            name = inner.function_name.rpartition(".")[2]
            _, says, caller = name.partition("__from__")
            found = outer.function_name.rpartition(".")[2]
            while says and found in ("<genexpr>", "<listcomp>", "<lambda>"):
                found = caller  # these belong to whoever wrote them
            found = found.partition("__from__")[0]
            # Of the two that call each other only one can be in a name.
            callers = ("down", "up", "many_distinct_stacks") if caller == "down" else (caller,)
            if says and found not in callers and not outer.function_name.startswith("["):
                key = f"{name} under {outer.function_name}"
                wrong[key] = wrong.get(key, 0) + 1
    return wrong


def _counts() -> dict[str, int]:
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "mappings": maps,
    }


def main(arguments: list[str]) -> int:
    name, seconds, mode, interval, native, result_file = arguments
    options = {"mode": mode, "interval": float(interval), "native": native == "native"}
    result_path = Path(result_file)
    faulthandler.dump_traceback_later(float(seconds) + 45, exit=True)
    if mode != "off":
        import spprof

        spprof.start(options["interval"], native=options["native"])  # imports what it needs
        spprof.stop()
    before = _counts()
    given = Torment(float(seconds), options, result_path.parent)
    result: dict[str, Any] = {"wrong": {}, "error": "", "skipped": ""}
    begin = time.monotonic()
    own = name in OWN_SESSIONS
    try:
        if not own:
            given.start()
        try:
            result["output"] = repr(TORMENTS[name](given))
        finally:
            profile = None if own else given.stop()
        if profile is not None:
            result["wrong"] = wrong_names(profile)
    except Skipped as missing:
        result["skipped"] = str(missing)
    except BaseException:  # noqa: BLE001 - told to run.py
        result["error"] = traceback.format_exc()[-1500:]
    result["seconds"] = time.monotonic() - begin
    result["samples"] = given.samples
    end = time.monotonic() + 2
    while _counts()["threads"] > before["threads"] and time.monotonic() < end:
        time.sleep(0.01)
    gc.collect()
    after = _counts()
    result["grown"] = {what: after[what] - before[what] for what in before}
    faulthandler.cancel_dump_traceback_later()
    result_path.write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
