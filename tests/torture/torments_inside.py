"""Torments of threads, stacks, the interpreter and signals. See `torment.py`."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import functools
import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from torment import Skipped, Torment, burn, consume, ordered, outer, root, together, torment

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
    while not t.over() or not errors:
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
    caught = 0
    while not t.over() or caught <= 10:
        caught += library.throw_often(t.seconds, 30, ctypes.cast(call, ctypes.c_void_p))
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
    while not t.over() or not seen[0]:
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

    while not t.over() or not ended[0]:
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
    jumps = 0
    while not t.over() or jumps <= 10:
        jumps += library.jump_out_of_handlers(t.seconds / 2, 0, 97)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        jumps += library.jump_out_of_handlers(t.seconds / 2, 1, 97)
    return jumps > 10, signal.SIGPROF in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@torment()
def faults_that_the_program_mends(t: Torment) -> Any:
    library = t.library()
    library.fault_and_jump.argtypes = [ctypes.c_double]
    faults = 0
    while not t.over() or faults <= 10:
        faults += library.fault_and_jump(0.1)
        root(5)
    return faults > 10


@torment()
def faults_that_somebody_sends(t: Torment) -> Any:
    """The program's handler jumps away, from whatever runs: from the visit of a profiler, too."""
    library = t.library()
    library.jump_out_of_sent.argtypes = [ctypes.c_double, ctypes.c_int]
    jumped = {}
    sent = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
    while not t.over() or len(jumped) < len(sent):
        for name in sent:
            number = getattr(signal, name)
            jumped[name] = library.jump_out_of_sent(t.seconds / 5, number) > 0
            root(5)
    return jumped, signal.SIGPROF in signal.pthread_sigmask(signal.SIG_BLOCK, [])


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
    while not t.over() or not got[0]:
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

    # Once for each time that something is there to be interrupted, so that it hits nothing else.
    armed, pressed = [False], [0]

    def interrupt(number: int, frame: Any) -> None:
        if armed[0]:
            armed[0] = False
            pressed[0] += 1
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    keyboard = threading.Thread(target=press)
    keyboard.start()
    while not t.over() or not pressed[0]:
        try:
            armed[0] = True
            if t.disturbed:
                try:
                    if spprof.is_active():
                        spprof.stop()
                    t.start()
                except RuntimeError:
                    pass
            root(20)
            armed[0] = False
        except KeyboardInterrupt:
            pass
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
