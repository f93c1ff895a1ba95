"""Nothing is allocated while the dynamic loader's lock is held: an allocator may wait for it.

Allocators that unwind in `malloc` (tcmalloc's debug build, memray's tracker) take it while they
hold their own; a callback of `dl_iterate_phdr` that allocates takes both in the other order.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spprof

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the loader's lock of Linux"),
    pytest.mark.skipif(
        not spprof.native_unwinding_available(), reason="no native unwinding on this system"
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the library needs a C compiler"),
]

# Preloaded: says when a thread allocates or frees inside of a callback of dl_iterate_phdr, and
# counts the callbacks of the profiler.
WATCH = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void __libc_free(void*);

typedef int (*callback)(struct dl_phdr_info*, size_t, void*);
struct call { callback function; void* data; };
static __thread int inside __attribute__((tls_model("initial-exec")));

static void say(const char* text) {
    if (write(2, text, strlen(text)) < 0) abort();
}
static void check(void) {
    if (inside) { inside = 0; say("ALLOCATED UNDER THE LOADER'S LOCK\n"); abort(); }
}
void* malloc(size_t size) { check(); return __libc_malloc(size); }
void* calloc(size_t n, size_t size) { check(); return __libc_calloc(n, size); }
void* realloc(void* old, size_t size) { check(); return __libc_realloc(old, size); }
void free(void* old) { if (old) check(); __libc_free(old); }

static int call_it(struct dl_phdr_info* info, size_t size, void* data) {
    struct call* call = data;
    inside = 1;
    int result = call->function(info, size, call->data);
    inside = 0;
    return result;
}
int dl_iterate_phdr(callback function, void* data) {
    static int (*real)(callback, void*);
    if (!real) *(void**)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
    Dl_info where;
    if (dladdr((void*)function, &where) && strstr(where.dli_fname, "_native")) {
        struct call call = {function, data};
        say("callback\n");
        return real(call_it, &call);
    }
    return real(function, data);
}
"""

PROGRAM = """
import time
import spprof
for _ in range(2):
    spprof.start(1, native=True)
    import decimal, sqlite3, xml.parsers.expat  # libraries that come in mid-session
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        sorted(range(1000))
    profile = spprof.stop()
assert any(frame.is_native for sample in profile.samples for frame in sample.frames)
spprof.capture_native_stack()
print("done")
"""


def test_nothing_is_allocated_under_the_loaders_lock(tmp_path: Path) -> None:
    source = tmp_path / "watch.c"
    source.write_text(WATCH)
    library = tmp_path / "libwatch.so"
    command = ["cc", "-O1", "-fPIC", "-shared", str(source), "-o", str(library), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "LOADER'S LOCK" not in ran.stderr
    assert ran.stdout == "done\n", ran.stderr
    assert ran.stderr.count("callback") > 3  # it was watched
