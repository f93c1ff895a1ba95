"""Code that is generated while the program runs has the name that its maker tells debuggers."""

from __future__ import annotations

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
