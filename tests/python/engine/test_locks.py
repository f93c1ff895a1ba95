"""No Python code runs while its thread holds a lock of ours: it might call us, and wait for itself.

A library that is loaded before all others counts the mutexes that a thread has locked from within
the native module; whatever Python code comes to run there asks for that number.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from c_library import library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD of glibc and musl")

COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
static char *begin, *end;  /* of the module */
static __thread int held;
typedef int call(pthread_mutex_t *);
static int passed_on(const char *name, call **known, pthread_mutex_t *mutex) {
    if (!*known) *known = (call *)dlsym(RTLD_NEXT, name);
    return (*known)(mutex);
}
static int is_ours(char *caller) { return caller >= begin && caller < end; }
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static call *known;
    const int result = passed_on("pthread_mutex_lock", &known, mutex);
    held += result == 0 && is_ours(__builtin_return_address(0));
    return result;
}
int pthread_mutex_trylock(pthread_mutex_t *mutex) {
    static call *known;
    const int result = passed_on("pthread_mutex_trylock", &known, mutex);
    held += result == 0 && is_ours(__builtin_return_address(0));
    return result;
}
int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    static call *known;
    held -= is_ours(__builtin_return_address(0));
    return passed_on("pthread_mutex_unlock", &known, mutex);
}
void count_those_of(void *from, void *to) { begin = from; end = to; }
int locks_held(void) { return held; }
/* Stands in for a mistake of ours: calls Python with a lock held. */
void call_with_lock(void (*python)(void)) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    python();
    pthread_mutex_unlock(&mutex);
}
"""

PROGRAM = """
import ctypes, faulthandler, gc, sys, threading, time
import spprof
from spprof import _native

# Should it hang, it says where.
faulthandler.dump_traceback_later(100, exit=True)
counter = ctypes.CDLL(sys.argv[1])
counter.count_those_of.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
locks_held = counter.locks_held
caught = []
checks = 0

def check(*_):
    global checks
    checks += 1
    if locks_held():
        caught.append(sys._getframe(1).f_code.co_name)

def range_of(path):
    with open("/proc/self/maps") as maps:
        lines = [line.split()[0] for line in maps if line.rstrip().endswith(path)]
    return int(lines[0].partition("-")[0], 16), int(lines[-1].partition("-")[2], 16)

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        check()
        spprof.is_active()

def make_garbage():
    names = {}
    exec(compile("def made(): return [[] for _ in range(50)]", "made", "exec"), names)
    Garbage()
    names["made"]()

# The mistake is seen.
counter.count_those_of(*range_of(sys.argv[1]))
with_lock = ctypes.CFUNCTYPE(None)(lambda: check())
counter.call_with_lock(with_lock)
print(len(caught))
caught.clear()

counter.count_those_of(*range_of(_native.__file__))
def storm():
    while not over:
        make_garbage()
sys.setprofile(check)
threading.setprofile(check)
gc.callbacks.append(check)
gc.set_threshold(1)
# While another thread collects garbage, this one does not: so first alone.
for others in (0, 3):
    over = False
    threads = [threading.Thread(target=storm) for _ in range(others)]
    for thread in threads:
        thread.start()
    for native in (False, True):
        for mode in ("cpu", "wall"):
            spprof.start(1, mode=mode, native=native)
            with spprof.region("part", number=1):
                make_garbage()
            spprof.pause()
            spprof.resume()
            spprof.stats()
            late = threading.Thread(target=make_garbage)
            late.start()
            late.join()
            profile = spprof.stop()
    over = True
    for thread in threads:
        thread.join()
sys.setprofile(None)
print(len(caught), *sorted(set(caught)))
print(checks > 1000)
"""


def test_python_code_never_runs_with_a_lock_of_ours_held(tmp_path: Path) -> None:
    counter = library(tmp_path, COUNTER)
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", program, counter],
        env={**os.environ, "LD_PRELOAD": counter},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.split() == ["1", "0", "True"]
