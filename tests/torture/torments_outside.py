"""Torments of libraries, processes, limits and other tools. See `torment.py`."""

from __future__ import annotations

import ctypes
import errno
import functools
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
from pathlib import Path
from typing import Any

from torment import Skipped, Torment, burn, consume, leaf__from__items, root, together, torment

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


def _wait(t: Torment, pid: int, status: int = 0) -> None:
    end = time.monotonic() + t.patience
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
            _wait(t, pid)
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
        _wait(t, pid)
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
                    exec(leave, {"os": os, "sys": sys})
                except SystemExit as error:
                    os._exit(int(error.code or 0))
                finally:
                    os._exit(99)  # whatever else: a child must not go on as its parent
            _wait(t, pid, status << 8)
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
        _wait(t, pid)
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
            done = subprocess.run(command, capture_output=True, timeout=t.patience, check=False)
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
    while not t.over():  # the first one leaves a pipe open, with spprof or without
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
    names += ("test_signal_segv", "test_signal_bus")  # sent to the process, not to a thread
    outcomes = set()
    while not t.over():
        for name in names:
            try:
                getattr(tests, name, root)()
            except BaseException as error:  # noqa: BLE001 - what it raises is compared
                outcomes.add((name, type(error).__name__))
        root(5)
    return sorted(outcomes)
