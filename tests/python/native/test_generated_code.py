"""Code that is generated while the program runs has the name that its maker tells debuggers."""

from __future__ import annotations

import ast
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spprof

pytestmark = [
    pytest.mark.skipif(
        not spprof.native_unwinding_available(), reason="no native unwinding on this system"
    ),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is for x86-64"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the library needs a C compiler"),
]

# No frame pointer and a moved stack: only its unwind information leads out of it.
CODE = """
extern unsigned long generated_kernel(unsigned long n);
unsigned long generated_kernel(unsigned long n) {
    volatile unsigned long room[64];
    room[5] = 0;
    for (unsigned long i = 0; i < n; ++i) room[5] += i;
    return room[5];
}
"""

# Does what LLVM does: loads an object by itself, and lists it for debuggers.
MAKER = """
#define _GNU_SOURCE
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
struct entry { struct entry *next, *previous; const char* file; uint64_t size; };
struct descriptor { uint32_t version, action; struct entry *relevant, *first; };
struct descriptor __jit_debug_descriptor = {1, 0, 0, 0};
__attribute__((noinline)) void __jit_debug_register_code(void) {
    __asm__ volatile("" ::: "memory");
}

void* load(char* file, uint64_t size) {
    Elf64_Ehdr* header = (Elf64_Ehdr*)file;
    Elf64_Shdr* section = (Elf64_Shdr*)(file + header->e_shoff);
    char* names = file + section[header->e_shstrndx].sh_offset;
    char* memory = mmap(0, 1 << 16, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char* at = memory;
    void* text = 0;
    for (int i = 0; i < header->e_shnum; ++i) {
        const char* name = names + section[i].sh_name;
        if (strcmp(name, ".text") != 0 && strcmp(name, ".eh_frame") != 0) continue;
        memcpy(at, file + section[i].sh_offset, section[i].sh_size);
        section[i].sh_addr = (uintptr_t)at;
        if (strcmp(name, ".text") == 0) text = at;
        at += (section[i].sh_size + 63) & ~63ull;
    }
    for (int i = 0; i < header->e_shnum; ++i) {
        if (strcmp(names + section[i].sh_name, ".rela.eh_frame") != 0) continue;
        Elf64_Rela* rela = (Elf64_Rela*)(file + section[i].sh_offset);
        char* frames = (char*)section[section[i].sh_info].sh_addr;
        for (unsigned k = 0; k < section[i].sh_size / sizeof *rela; ++k) {
            char* field = frames + rela[k].r_offset;
            int32_t value = (int32_t)((char*)text + rela[k].r_addend - field);
            memcpy(field, &value, sizeof value);
        }
    }
    struct entry* entry = calloc(1, sizeof *entry);
    *entry = (struct entry){__jit_debug_descriptor.first, 0, file, size};
    __jit_debug_descriptor.first = __jit_debug_descriptor.relevant = entry;
    __jit_debug_descriptor.action = 1;
    __jit_debug_register_code();
    return text;
}
"""

PROGRAM = """
import ctypes, sys, time, spprof
maker = ctypes.CDLL(sys.argv[1])
code = open(sys.argv[2], "rb").read()
kept = ctypes.create_string_buffer(code, len(code))
maker.load.restype = ctypes.c_void_p
kernel = None
def caller():
    kernel(ctypes.c_ulong(1_000_000))
spprof.start(0.5, native=True)
kernel = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong)(
    maker.load(kept, ctypes.c_uint64(len(code))))
end = time.monotonic() + 2
while time.monotonic() < end:
    caller()
profile = spprof.stop()
named = other = 0
for sample in profile.samples:
    names = [frame.function_name for frame in reversed(sample.frames)]
    if any(name.endswith("caller") for name in names):
        if names[-1] == "generated_kernel":
            named += 1
        elif names[-1].startswith("["):
            other += 1
print(named, other)
"""


def test_generated_code_is_named_under_its_caller(tmp_path: Path) -> None:
    (tmp_path / "code.c").write_text(CODE)
    (tmp_path / "maker.c").write_text(MAKER)
    # Its sections are loaded by hand: nothing in the code may need a relocation.
    flags = ["-O1", "-fomit-frame-pointer", "-fno-stack-protector", "-c"]
    subprocess.run(
        ["cc", *flags, str(tmp_path / "code.c"), "-o", str(tmp_path / "code.o")], check=True
    )
    library = str(tmp_path / "libmaker.so")
    subprocess.run(
        ["cc", "-O1", "-fPIC", "-shared", str(tmp_path / "maker.c"), "-o", library], check=True
    )
    command = [sys.executable, "-c", PROGRAM, library, str(tmp_path / "code.o")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    named, other = map(int, ran.stdout.split())
    assert named > 200
    assert named > 0.95 * (named + other)


# Code without any description, and the files that its makers write for `perf`.
PUBLISHED = r"""
import ctypes, mmap, os, struct, sys, time, spprof
# Counts its argument down to nothing.
CODE = bytes.fromhex("4889f8" "48ffc8" "75fb" "c3")
PLACES = {"listed": 0, "later": 256, "dumped": 512, "moved": 768, "nobody": 1024, "bytes": 1280}
room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
base = ctypes.addressof(ctypes.c_char.from_buffer(room))
functions = {}
for name, place in PLACES.items():
    room[place : place + len(CODE)] = CODE
    kind = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong)
    functions[name] = kind(base + place)

def caller(name):
    end = time.thread_time() + 0.25
    while time.thread_time() < end:
        functions[name](ctypes.c_ulong(3_000_000))

def line(name, text):
    return b"%x %x %s\n" % (base + PLACES[name], len(CODE), text)

def record(kind, body):
    return struct.pack("=IIQ", kind, 16 + len(body), 0) + body

def load(name):
    head = struct.pack("=IIQQQQ", os.getpid(), 0, 0, base + PLACES[name], len(CODE), 0)
    return record(0, head + b"dump:" + name.encode() + b"\0" + CODE)

map_path, dump_path = f"/tmp/perf-{os.getpid()}.map", f"{sys.argv[1]}/jit-{os.getpid()}.dump"
try:
    with open(map_path, "wb") as file:
        file.write(b"\0\xff" * 3000)
        file.write(b"\n\nzz 1 x\n1 \n-1 5 x\nfffffffffffffffff 1 x\n0x10 0x10 y\n")
        file.write(line("listed", b"old name") + line("listed", b"map:listed"))
        file.write(line("bytes", b"map:\xff\x07bytes") + line("later", b"half a li")[:-6])
    with open(dump_path, "w+b") as file:
        header = struct.pack("=IIIIIIQQ", 0x4A695444, 1, 40, 62, 0, os.getpid(), 0, 0)
        file.write(header + record(7, b"?" * 20) + load("dumped"))
        file.flush()
        mark = mmap.mmap(file.fileno(), 40, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        spprof.start(1, native=True)
        for name in ("listed", "dumped", "nobody", "bytes"):
            caller(name)
        with open(map_path, "ab") as more:
            more.write(b"ne\n" + line("later", b"map:later"))
        # "moved" is where the other one went.
        head = struct.pack("=IIQQQQQ", os.getpid(), 0, 0, base + PLACES["dumped"],
                           base + PLACES["moved"], len(CODE), 1)
        file.write(record(1, head) + b"\1\0\0\0\xff\xff\xff\xff" + bytes(8))
        file.flush()
        for name in ("later", "moved"):
            caller(name)
        profile = spprof.stop()
finally:
    os.unlink(map_path)
seen = {}
for sample in profile.samples:
    frames = list(reversed(sample.frames))
    if frames[-1].is_native and not frames[-1].filename:
        python = [f.function_name for f in frames if not f.is_native][-1]
        key = (python, frames[-1].function_name)
        seen[key] = seen.get(key, 0) + 1
print(seen)
"""


@pytest.mark.slow
def test_what_makers_publish_for_perf_is_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PUBLISHED, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    seen: dict[tuple[str, str], int] = ast.literal_eval(ran.stdout)
    names = ("map:listed", "dump:dumped", "[generated code]", "map:??bytes", "map:later")
    for name in names:
        assert seen.pop(("caller", name), 0) > 10, ran.stdout
    # The same name as before it was moved.
    assert not seen, ran.stdout


TRAMPOLINES = """
import sys, time, spprof
sys.activate_stack_trampoline("perf")
def leaf():
    return sum(i * i for i in range(200))
def key(x):
    return leaf() - x
def caller():
    sorted(range(50), key=key)
caller()
spprof.start(1, native=True)
end = time.thread_time() + 1.5
while time.thread_time() < end:
    caller()
figures = spprof.stats()
profile = spprof.stop()
sys.deactivate_stack_trampoline()
stacks = [[f.function_name for f in reversed(s.frames)] for s in profile.samples]
inner = [s[s.index("caller") :] for s in stacks if any(n.endswith("<genexpr>") for n in s)]
whole = sum(s[: s.index("key")].count("caller") == 1 and s.count("key") == s.count("leaf") == 1
            and s.index("leaf") == s.index("key") + 1 for s in inner)
odd = {n for s in stacks for n in s if n.startswith("py::") or n == "[generated code]"}
print([figures.collected_samples, figures.mismatched_samples, len(inner), whole, sorted(odd)])
"""


def has_trampolines() -> bool:
    """Whether this interpreter can list its functions for perf: 3.12 and later, as built."""
    if not hasattr(sys, "activate_stack_trampoline"):
        return False
    probe = "import sys; sys.activate_stack_trampoline('perf')"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_trampolines(), reason="no trampolines for perf in this interpreter")
def test_trampolines_for_perf_do_not_double_python_frames() -> None:
    command = [sys.executable, "-c", TRAMPOLINES]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    collected, mismatched, inner, whole, odd = ast.literal_eval(ran.stdout)
    assert collected > 500
    assert mismatched <= 0.002 * collected
    assert inner > 200
    assert whole == inner
    assert odd == []
