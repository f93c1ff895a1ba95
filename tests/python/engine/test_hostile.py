"""Programs in which a careless profiler would be the reason for a crash, a kill or a hang.

Each runs in an interpreter of its own, whose exit status and output are compared with what they
would be without a session.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from c_library import library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")

PRELUDE = """
import ctypes, os, resource, signal, sys, threading, time, warnings
import spprof
warnings.simplefilter("ignore")
def burn(seconds):
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        sum(range(200))
def together(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def all_descriptors():
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken
"""


def run(program: str, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a program; a hang is a failure."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output_of(program: str, *arguments: str) -> list[str]:
    done = run(program, *arguments)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout.split()


# --- the queue of signals is full ---

FULL_QUEUE = """
_, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
resource.setrlimit(resource.RLIMIT_SIGPENDING, (int(sys.argv[3]), hard))
with spprof.Profiler(float(sys.argv[1]), mode=sys.argv[2]) as profiler:
    together(*[lambda: burn(0.2)] * 3)
profile = profiler.profile
print(profile.sample_count, "RLIMIT_SIGPENDING" in " ".join(profile.notes))
"""


@pytest.mark.parametrize("limit", [0, 2])
@pytest.mark.parametrize(("interval", "mode"), [(10, "cpu"), (1, "cpu"), (0.1, "wall")])
@pytest.mark.slow_unless(limit=0, interval=1)
def test_a_full_queue_of_signals_neither_kills_nor_costs_the_samples(
    interval: float, mode: str, limit: int
) -> None:
    """Signals come without what they carry then, as if from nobody."""
    samples, noted = output_of(FULL_QUEUE, str(interval), mode, str(limit))
    assert int(samples) > 0.3 * 600 / interval
    assert noted == "True"


@pytest.mark.slow
def test_a_handler_of_the_program_gets_none_of_ours_from_a_full_queue() -> None:
    program = """
    got = []
    signal.signal(signal.SIGPROF, lambda *_: got.append(1))
    _, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
    with spprof.Profiler(1) as profiler:
        burn(0.3)
    ours = len(got)
    signal.raise_signal(signal.SIGPROF)
    print(ours, len(got), profiler.profile.sample_count > 50)
    """
    assert output_of(program) == ["0", "1", "True"]


# --- no memory ---

NO_MEMORY = """
sys.setrecursionlimit(5000)
def f(n, k):
    return sum(range(200)) if n == 0 else (f if k >> n % 16 & 1 else g)(n - 1, k)
def g(n, k):
    return sum(range(200)) if n == 0 else (g if k >> n % 16 & 1 else f)(n - 1, k)
def work():
    i = 0
    while not done.is_set():
        i += 1
        try:
            f(60, i * 2654435761 & 0xFFFF)
            exec(f"def a{i % 50}(): return sum(range(50))\\na{i % 50}()", {})
        except MemoryError:
            pass
done = threading.Event()
spprof.start(0.1, native="native" in sys.argv)
threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
time.sleep(0.2)
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used() + (4 << 20), before[1]))
errors = 0
end = time.monotonic() + 2
while time.monotonic() < end:
    hoard = []
    try:
        while True:
            hoard.append(bytearray(1 << 14))
    except MemoryError:
        errors += 1
    time.sleep(0.3)
    hoard = None
done.set()
for thread in threads:
    thread.join()
if "stop" in sys.argv:
    try:
        spprof.stop()
    except MemoryError:
        pass
    assert not spprof.is_active()
    resource.setrlimit(resource.RLIMIT_AS, before)
    spprof.start(1)
    burn(0.2)
else:
    resource.setrlimit(resource.RLIMIT_AS, before)
print(errors > 0, spprof.stop().sample_count > 50, "survived")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("native",), ("native", "stop")])
def test_a_program_that_runs_out_of_memory_goes_on(how: tuple[str, ...]) -> None:
    assert output_of(NO_MEMORY, *how) == ["True", "True", "survived"]


# --- no descriptor, no list of threads ---


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1, native=True)
def test_the_main_thread_is_there_where_threads_cannot_be_listed(
    interval: float, native: bool
) -> None:
    program = f"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    taken = all_descriptors()
    spprof.start({interval}, native={native})
    together(lambda: burn(0.2))
    burn(0.2)
    for number in taken:
        os.close(number)
    profile = spprof.stop()
    names = {{thread.name for thread in profile.threads}}
    print("MainThread" in names, len(names), "cannot be listed" in " ".join(profile.notes))
    """
    assert output_of(program) == ["True", "2", "True"]


def test_a_warning_that_cannot_be_shown_does_not_end_start() -> None:
    """Not even `warnings` can be imported then: the profile has the note."""
    program = """
    for limit, left in ((resource.RLIMIT_SIGPENDING, 0), (resource.RLIMIT_NOFILE, 64)):
        resource.setrlimit(limit, (left, resource.getrlimit(limit)[1]))
    taken = all_descriptors()
    del sys.modules["warnings"]
    spprof.start(1, native=sys.argv[1] == "native")
    burn(0.1)
    for number in taken:
        os.close(number)
    profile = spprof.stop()
    print(profile.sample_count > 20, "RLIMIT_SIGPENDING" in " ".join(profile.notes))
    """
    for how in ("native", "python"):
        assert output_of(program, how) == ["True", "True"]


def test_start_that_raises_for_a_warning_leaves_no_session() -> None:
    program = """
    warnings.simplefilter("error")
    limit = resource.RLIMIT_SIGPENDING
    resource.setrlimit(limit, (0, resource.getrlimit(limit)[1]))
    import _thread
    before = _thread.start_new_thread
    try:
        spprof.start(1)
    except RuntimeWarning:
        print(spprof.is_active(), _thread.start_new_thread is before)
    spprof.start(1)  # once told, it is no news
    burn(0.1)
    print(spprof.stop().sample_count > 20)
    """
    assert output_of(program) == ["False", "True", "True"]


# --- other programs and processes ---

EXEC = """
{bind}
def child(i):
    threads = [threading.Thread(target=burn, args=(9,), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    spprof.start({interval}, mode={mode!r})
    burn(0.002 * (i % 7))
    {execute}
ends = []
for i in range(25):
    pid = os.fork()
    if pid == 0:
        child(i)
    ends.append(os.waitpid(pid, 0)[1])
print(sum(end != 0 for end in ends))
"""


@pytest.mark.parametrize(("interval", "mode"), [(10, "cpu"), (1, "cpu"), (0.1, "wall")])
@pytest.mark.parametrize(
    ("bind", "execute"),
    [
        ("from os import execv", "execv('/bin/true', ['true'])"),
        (
            "libc = ctypes.CDLL(None)",
            "libc.execv(b'/bin/true', (ctypes.c_char_p * 2)(b'true', None))",
        ),
    ],
    ids=["bound before", "C"],
)
@pytest.mark.slow
def test_the_next_program_is_not_ended_by_a_pending_signal_of_ours(
    bind: str, execute: str, interval: float, mode: str
) -> None:
    """`os.execv` is hooked; what was bound before, and C, go another way."""
    program = EXEC.format(bind=bind, execute=execute, interval=interval, mode=mode)
    assert output_of(program) == ["0"]


@pytest.mark.parametrize("mode", ["cpu", "wall"])
def test_who_gets_the_signal_back_gets_none_of_ours_that_is_pending(mode: str) -> None:
    """For a thread that has not run since it was sent one: the default action would end us."""
    program = f"""
    from spprof._session import engine
    libc, over, tids = ctypes.CDLL(None), threading.Event(), []
    def pending():
        with open(f"/proc/self/task/{{tids[0]}}/status") as file:
            masks = dict(line.split(":", 1) for line in file)
        return int(masks["SigPnd"], 16) >> (signal.SIGPROF - 1) & 1
    def work():
        tids.append(threading.get_native_id())
        blocked = (ctypes.c_ulong * 16)(1 << (signal.SIGPROF - 1))
        libc.pthread_sigmask(signal.SIG_BLOCK, blocked, None)  # of which nobody is told
        while not over.is_set():
            burn(0.0005)
    spprof.start(5, mode={mode!r})
    for attempt in range(20):  # once known to have blocked it, it is sent no more
        over.clear()
        tids.clear()
        worker = threading.Thread(target=work)
        worker.start()
        end = time.monotonic() + 1
        while not (tids and (seen := pending())) and time.monotonic() < end:
            pass
        left = engine.without_our_signal(pending)
        over.set()
        worker.join()
        if seen:
            break
    print(seen, left)
    spprof.stop()
    """
    assert output_of(program) == ["1", "0"]


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_faulthandler_may_give_up_our_signal(interval: float) -> None:
    """Registered before the session, it restores the default action, which ends the process."""
    program = f"""
    import faulthandler
    null = open(os.devnull, "w")
    faulthandler.register(signal.SIGPROF, file=null, chain=False)
    spprof.start({interval})
    burn(0.1)
    faulthandler.unregister(signal.SIGPROF)
    burn(0.1)
    faulthandler.register(signal.SIGPROF, file=null)
    faulthandler.unregister(signum=signal.SIGPROF)
    burn(0.1)
    profile = spprof.stop()
    burn(0.05)
    print(profile.sample_count > 0.5 * 300 / {interval})
    """
    assert output_of(program) == ["True"]


@pytest.mark.parametrize(("interval", "mode"), [(10, "cpu"), (0.1, "wall")])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.slow
def test_a_child_of_the_bare_system_call_is_not_profiled_and_ends(
    interval: float, mode: str, native: bool
) -> None:
    """Nobody tells it of the fork: it must find out that the parent's threads are not there."""
    program = f"""
    # clone() with nothing shared: on every machine there is.
    number = {{"x86_64": 56, "aarch64": 220}}[{platform.machine()!r}]
    libc = ctypes.PyDLL(None)
    spprof.start({interval}, mode={mode!r}, native={native})
    ends = []
    for i in range(8):
        burn(0.01)
        pid = libc.syscall(number, signal.SIGCHLD.value, 0, 0, 0, 0)
        if pid == 0:
            was_active = spprof.is_active()
            together(lambda: burn(0.01))
            exec("def f(): return 1\\nf()")
            if i % 2:
                spprof.start(1)
                burn(0.1)
                assert spprof.stop().sample_count > 5
            sys.exit(was_active)
        end = time.monotonic() + 20
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.005)
        if ended[0] == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        ends.append(ended[1] if ended[0] else "hung")
    print(*ends, spprof.is_active(), spprof.stop().sample_count > 0)
    """
    assert output_of(program) == ["0"] * 8 + ["True", "True"]


# --- faults in a visit ---

# Machine code without unwind information, whose frame pointer is a plain number.
BAD_FRAME_POINTER = """
import mmap
code = bytes.fromhex("5548bd00e0ffffff7f00004889f848ffc875fb5dc3")
pages = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
pages.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
spin = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(address)
"""

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="its machine code")


@needs_x86
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("blocked", ["SIGSEGV", "SIGBUS"])
@pytest.mark.slow
def test_a_thread_that_has_faults_blocked_survives_a_bad_load(blocked: str, mode: str) -> None:
    """The system ends a process for a fault whose signal is blocked."""
    program = f"""
    {textwrap.indent(BAD_FRAME_POINTER, " " * 4).strip()}
    def work():
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.{blocked}}})
        for _ in range(5):
            spin(100_000_000)
            burn(0.05)
    spprof.start(1, native=True, mode={mode!r})
    together(work)
    print(spprof.stop().sample_count > 20)
    """
    assert output_of(program) == ["True"]


SIGNAL_STACK = """
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
/* A signal stack with nothing below it. */
int give_signal_stack(unsigned long size) {
    unsigned long room = (size + 4095) & ~4095ul;
    char* p = mmap(0, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p, 4096, PROT_NONE);
    stack_t s = {.ss_sp = p + 4096 + room - size, .ss_size = size};
    return sigaltstack(&s, 0);
}
"""


@needs_x86
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("size", [4096, 5000, 6000, 7000, 8192, 12000, 65536])
@pytest.mark.slow
def test_a_small_signal_stack_is_not_overrun(size: int, native: bool, tmp_path: Path) -> None:
    """What does not fit is not sampled; from 12 KB on everything does, on every machine."""
    program = f"""
    {textwrap.indent(BAD_FRAME_POINTER, " " * 4).strip()}
    own = ctypes.CDLL({library(tmp_path, SIGNAL_STACK)!r})
    def work():
        if own.give_signal_stack(ctypes.c_ulong({size})):
            return  # too small for the system
        burn(0.2)
        spin(200_000_000)
    spprof.start(0.1, native={native})
    together(work)
    print(spprof.stop().sample_count)
    """
    (samples,) = output_of(program)
    if size >= 12000:
        assert int(samples) > 300


# --- signals that a program waits for ---


@pytest.mark.parametrize(("interval", "mode"), [(1, "cpu"), (0.1, "wall")])
@pytest.mark.slow
def test_who_blocks_sigprof_in_mid_session_finds_none_of_ours(interval: float, mode: str) -> None:
    program = f"""
    got = []
    def wait():
        burn(0.05)
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGPROF}})
        for _ in range(20):
            burn(0.005)
            info = signal.sigtimedwait({{signal.SIGPROF}}, 0.005)
            if info is not None:
                got.append(info.si_code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGPROF}})
        burn(0.5)
    spprof.start({interval}, mode={mode!r})
    together(wait)
    profile = spprof.stop()
    print(len(got), profile.sample_count > 0.3 * 300 / {interval})
    """
    assert output_of(program) == ["0", "True"]


@pytest.mark.parametrize(("interval", "mode"), [(1, "cpu"), (0.1, "wall")])
@pytest.mark.slow_unless(mode="wall")
def test_who_queues_for_the_processor_in_sigwait_is_not_taken_for_open(
    interval: float, mode: str
) -> None:
    """The kernel says that nothing is blocked, from being woken up until it runs."""
    program = f"""
    import subprocess
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(5)]
    got = []
    def wait():
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGPROF}})
        end = time.monotonic() + 2
        while time.monotonic() < end:
            burn(0.0005)
            info = signal.sigtimedwait({{signal.SIGPROF}}, 0.002)
            if info is not None:
                got.append(info.si_code)
        for child in busy:
            child.kill()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGPROF}})
        burn(0.3)
        for _ in range(60):
            burn(0.003)
            time.sleep(0.001)
    spprof.start({interval}, mode={mode!r})
    together(wait)
    profile = spprof.stop()
    for child in busy:
        child.wait()
    print(len(got), profile.sample_count > 0.3 * 480 / {interval})
    """
    assert output_of(program) == ["0", "True"]


SENT_FAULT = """
#include <signal.h>
#include <unistd.h>
#include <sys/syscall.h>
int on_main, elsewhere;
static void on_fault(int signal) {
    if (syscall(SYS_gettid) == getpid()) { on_main++; } else { elsewhere++; }
}
void handle(int signal) { struct sigaction a = {.sa_handler = on_fault}; sigaction(signal, &a, 0); }
"""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("sent", ["SIGSEGV", "SIGBUS"])
@pytest.mark.slow_unless(mode="wall", before=True)
def test_a_fault_that_is_sent_is_handled_by_a_thread_of_the_program(
    sent: str, mode: str, before: bool, tmp_path: Path
) -> None:
    """Faults are open in threads of ours, but a handler may jump, or be written for the others."""
    program = f"""
    own = ctypes.CDLL({library(tmp_path, SENT_FAULT)!r})
    def counts():
        return [ctypes.c_int.in_dll(own, name).value for name in ("on_main", "elsewhere")]
    if {before}:
        own.handle(signal.{sent})
    spprof.start(1, mode={mode!r})
    if not {before}:
        own.handle(signal.{sent})
        burn(0.2)
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.{sent}}})
    for _ in range(3):
        os.kill(os.getpid(), signal.{sent})
        time.sleep(0.02)
    print(*counts())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.{sent}}})
    print(*counts())
    for _ in range(100):
        os.kill(os.getpid(), signal.{sent})
        burn(0.001)
    spprof.stop()
    print(*counts())
    """
    waiting, taken, more = zip(*[iter(map(int, output_of(program)))] * 2)
    assert waiting == (0, 0)
    assert taken == (1, 0)
    assert more[0] > 1
    assert more[1] == 0


JUMPING = """
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static sigjmp_buf target;
static volatile int armed;
static struct sigaction before;
static void on_fault(int signal) { if (armed) siglongjmp(target, 1); }
void handle(int number) {
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(number, &action, &before);
}
static double now(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9;
}
long jump_often(int number, double seconds) {
    const int whom = getpid();
    const int sender = fork();
    if (sender < 0) return -1;
    if (sender == 0) {
        const double end = now() + seconds + 30;
        struct timespec pause = {0, 30000};
        while (now() < end && getppid() == whom && kill(whom, number) == 0) nanosleep(&pause, 0);
        _exit(0);
    }
    volatile long jumps = -1;
    const double end = now() + seconds;
    sigsetjmp(target, 1);
    jumps++;
    armed = 1;
    while (now() < end) {}
    armed = 0;
    kill(sender, SIGKILL);
    while (waitpid(sender, 0, 0) < 0 && errno == EINTR) {}
    return jumps;
}
"""


@pytest.mark.parametrize("sent", ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow_unless(sent="SIGSEGV", mode="wall")
def test_who_jumps_out_of_a_fault_that_is_sent_leaves_no_visit_and_no_thread_of_ours(
    sent: str, mode: str, before: bool, tmp_path: Path
) -> None:
    """As cysignals does: the sampling of the thread would end there, and stop() never."""
    program = f"""
    own = ctypes.CDLL({library(tmp_path, JUMPING)!r})
    own.jump_often.argtypes = [ctypes.c_int, ctypes.c_double]
    if {before}:
        own.handle(signal.{sent})
    spprof.start(0.1, mode={mode!r}, native=True)
    if not {before}:
        own.handle(signal.{sent})
    jumps = own.jump_often(signal.{sent}, 1.0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = spprof.stats().collected_samples
    burn(0.2)
    more = spprof.stats().collected_samples - before
    spprof.stop()
    print(jumps > 100, len(blocked), more > 200)
    """
    assert output_of(program) == ["True", "0", "True"]


# --- what must be undone ---


@pytest.mark.parametrize("seconds", [1, 10])
@pytest.mark.slow_unless(seconds=1)
def test_a_keyboard_interrupt_in_start_or_stop_leaves_no_hook_behind(seconds: int) -> None:
    program = """
    seconds = int(sys.argv[1])
    import _signal, _thread, random
    def hooks():
        starts = [getattr(threading, f"_start_{kind}_thread", None) for kind in ("new", "joinable")]
        return [_thread.start_new_thread, *starts, os.execv, _signal.signal,
                _signal.pthread_sigmask, getattr(threading.Thread, "_delete", None)]
    before = hooks()
    main, over = threading.main_thread().ident, threading.Event()
    # Elsewhere than in a call of ours an interrupt may come where nothing of this catches it.
    def on_interrupt(number, frame):
        while frame is not None:
            if "/spprof/" in frame.f_code.co_filename:
                raise KeyboardInterrupt
            frame = frame.f_back
    signal.signal(signal.SIGINT, on_interrupt)
    def interrupt():
        end = time.monotonic() + seconds
        # Most come elsewhere; how many do not is chance.
        while time.monotonic() < end + (20 if interrupts <= 10 else 0):
            time.sleep(random.random() * 0.002)
            signal.pthread_kill(main, signal.SIGINT)
        over.set()
    sessions = interrupts = 0
    poke = threading.Thread(target=interrupt)
    poke.start()
    while not over.is_set():
        try:
            try:
                # A stop() that was interrupted early leaves its session running.
                if spprof.is_active():
                    spprof.stop()
                spprof.start(1, native=sessions % 2 == 0)
                time.sleep(0.0005)
            finally:
                try:
                    spprof.stop()
                    sessions += 1
                except RuntimeError:
                    pass
        except KeyboardInterrupt:
            interrupts += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poke.join()
    if spprof.is_active():
        spprof.stop()
    with spprof.Profiler(1):
        burn(0.01)
    left = [a for a, b in zip(before, hooks()) if a is not b]
    print(interrupts > 10, left, signal.getsignal(signal.SIGPROF) == signal.SIG_DFL)
    """
    assert output_of(program, str(seconds)) == ["True", "[]", "True"]


# --- filters of system calls ---

FILTER = """
import errno, struct
numbers = {
    "x86_64": dict(timer_create=222, timer_settime=223, rt_tgsigqueueinfo=297, tgkill=234,
                   process_vm_readv=310, clock_nanosleep=230, ppoll=271),
    "aarch64": dict(timer_create=107, timer_settime=110, rt_tgsigqueueinfo=240, tgkill=131,
                    process_vm_readv=270, clock_nanosleep=115, ppoll=73),
}[__import__("platform").machine()]
refused = [numbers[name] for name in sys.argv[3].split(",")]
LD, JEQ, RET = 0x20, 0x15, 0x06
program = b"".join(
    [struct.pack("HBBI", LD, 0, 0, 0)]
    + [struct.pack("HBBI", JEQ, len(refused) - i, 0, number) for i, number in enumerate(refused)]
    + [struct.pack("HBBI", RET, 0, 0, 0x7FFF0000)]
    + [struct.pack("HBBI", RET, 0, 0, 0x00050000 | errno.EPERM)]
)
buffer = ctypes.create_string_buffer(program, len(program))
filter = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0):
    print("seccomp filters are refused here")
    sys.exit()
try:
    with spprof.Profiler(float(sys.argv[1]), mode=sys.argv[2]) as profiler:
        together(lambda: burn(0.2), lambda: burn(0.2))
        threading.Event().wait(0.1)  # not time.sleep(), which may be refused, too
        before = time.process_time()
        threading.Event().wait(0.2)
        idle = time.process_time() - before
except RuntimeError as error:
    print("refused:", error)
    sys.exit()
profile = profiler.profile
print(profile.sample_count, profile.engine, round(idle, 3), *profile.notes)
"""


@pytest.mark.parametrize(("interval", "mode"), [(10, "cpu"), (1, "cpu"), (1, "wall")])
@pytest.mark.parametrize(
    ("refused", "says"),
    [
        ("timer_create", "CPU timers are refused"),
        ("timer_settime", "CPU timers are refused"),
        ("rt_tgsigqueueinfo", ""),
        ("timer_create,rt_tgsigqueueinfo", "CPU timers are refused"),
        ("clock_nanosleep", ""),
        ("ppoll,process_vm_readv", ""),
        ("rt_tgsigqueueinfo,tgkill", "signals to threads are refused"),
    ],
)
@pytest.mark.slow_unless(
    interval=1,
    mode="wall",
    refused={
        "timer_create,rt_tgsigqueueinfo",
        "ppoll,process_vm_readv",
        "rt_tgsigqueueinfo,tgkill",
    },
)
def test_what_a_filter_refuses_is_done_another_way(
    refused: str, says: str, interval: float, mode: str
) -> None:
    words = output_of(FILTER, str(interval), mode, refused)
    if words[0] == "seccomp":
        pytest.skip("seccomp filters are refused here")
    samples, _, idle, *notes = words
    on_the_tick = "tgkill" in refused
    assert int(samples) > 0.3 * 400 / (10 if on_the_tick else interval)
    assert float(idle) < 0.15  # nothing of ours spins
    if not (on_the_tick and interval >= 10):
        assert says in " ".join(notes)
    if not says:
        assert "refused" not in " ".join(notes)


@pytest.mark.parametrize("mode", ["cpu", "wall"])
def test_where_nothing_can_be_had_it_is_said(mode: str) -> None:
    words = " ".join(output_of(FILTER, "1", mode, "timer_create,rt_tgsigqueueinfo,tgkill"))
    if words.startswith("seccomp"):
        pytest.skip("seccomp filters are refused here")
    assert "neither" in words
    if mode == "cpu":
        assert words.startswith("refused: spprof can neither set timers nor signal threads")
