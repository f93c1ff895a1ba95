"""What runs while a thread is visited, or in a signal handler, calls nothing that could wait.

The thread may hold any lock there is, malloc's for one, when it is made to stand still. So nothing
reached from there may allocate, take a lock, throw, or be bound on its first call. Machine code
tells, also of what the compiler calls by itself: everything that can be reached from ROOTS is
followed, and may call only what ALLOWED names. A call through a pointer cannot be followed;
THROUGH_POINTERS says where each of them leads.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine_code import MACHINES, Call, Program

import spprof._native

ROOT = Path(__file__).resolve().parents[3]
CPP = ROOT / "cpp"
MACHINE = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())

pytestmark = [
    pytest.mark.skipif(not CPP.is_dir(), reason="no source tree here"),
    pytest.mark.skipif(
        sys.platform != "linux" or MACHINE not in MACHINES, reason="reads ELF of x86-64 and aarch64"
    ),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("c++", "objdump", "c++filt", "readelf")),
        reason="needs a C++ compiler and binutils",
    ),
]

# Where visits and handlers begin. Functions in C++ spelling; each must exist.
ROOTS = {
    "SIGPROF": r"spprof::platform::\(anonymous namespace\)::on_signal\(.*",
    "SIGSEGV and SIGBUS": r"spprof::platform::\(anonymous namespace\)::on_fault\(.*",
    "the visitor": r"spprof::sampling::\(anonymous namespace\)::record_subject\(.*",
    "the visitor's keep": r"spprof::sampling::\(anonymous namespace\)::keep_record\(.*",
    "the visitor's call": r"spprof::sampling::\(anonymous namespace\)::call_collector\(.*",
    "a frozen thread": r"spprof::platform::SuspendingObserver::visit_running\(.*",
    "a frozen thread that waits": r"spprof::platform::SuspendingObserver::meet_waiting\(.*",
}

# What is outside of our own code and may be called, and why it may.
ALLOWED = {
    "memcpy": "touches its arguments only",
    "memmove": "touches its arguments only",
    "memset": "touches its arguments only",
    "memcmp": "touches its arguments only",
    "strlen": "touches its argument only",
    "syscall": "one system call",
    "clock_gettime": "the vDSO, or one system call; POSIX lists it",
    "clock_nanosleep": "one system call; the loop's sleep between two attempts",
    "getpid": "one system call; POSIX lists it",
    "getrusage": "one system call",
    "open": "one system call; POSIX lists it",
    "read": "one system call; POSIX lists it",
    "close": "one system call; POSIX lists it",
    "sigaction": "one system call; POSIX lists it",
    "raise": "system calls; POSIX lists it",
    "sigismember": "looks at its arguments only; POSIX lists it",
    "strtol": "reads digits, and the locale by way of initial-exec TLS; no lock",
    "strtoull": "the same",
    "__errno_location": "initial-exec TLS of the C library",
    # Python's faulthandler calls these two in handlers.
    "PyGILState_GetThisThreadState": "pthread_getspecific, or a thread-local that exists",
    "_PyThreadState_UncheckedGet": "one load",
    "PyThreadState_GetUnchecked": "one load",
}
# Names of what is allowed: helpers that compilers call for aarch64's atomic instructions.
ALLOWED_NAMES = re.compile(r"__aarch64_(cas|swp|ldadd|ldset|ldclr|ldeor)\d+_\w+")

RECORD = r"spprof::sampling::\(anonymous namespace\)::record_subject\(.*"
KEEP = r"spprof::sampling::\(anonymous namespace\)::keep_record\(.*"
CALL = r"spprof::sampling::\(anonymous namespace\)::call_collector\(.*"
# Nothing of ours: no system that freezes threads is linked here, and observer.h binds those that
# are.
FREEZER: list[str] = []
# The handler that the program had for the signal: what it calls is its own affair.
OWNER: list[str] = []

# Calls through pointers: the file, what its line of source must hold, the functions it can lead to.
THROUGH_POINTERS = [
    ("sampling_signal.cpp", "side.visitor.record(watch.subject, moment)", [RECORD]),
    ("sampling_signal.cpp", "side.visitor.keep(watch.subject)", [KEEP]),
    ("sampling_signal.cpp", "side.visitor.call_keeper()", [CALL]),
    ("suspending_observer.cpp", "visitor_.record(thread.subject, moment)", [RECORD]),
    ("suspending_observer.cpp", "visitor_.keep(thread.subject)", [KEEP]),
    ("suspending_observer.cpp", "freezer_->freeze(thread.handle)", FREEZER),
    ("suspending_observer.cpp", "freezer_->thaw(thread.handle)", FREEZER),
    ("suspending_observer.cpp", "freezer_->registers(thread.handle, registers)", FREEZER),
    ("suspending_observer.cpp", "freezer_->spares_waits()", FREEZER),
    ("suspending_observer.cpp", "freezer_->cpu_ns(thread.handle)", FREEZER),
    ("shared_signal.cpp", "owner.sa_sigaction(signal_, info, context)", OWNER),
    ("shared_signal.cpp", "owner.sa_handler(signal_)", OWNER),
]

# Where everything lies that is reached. What is elsewhere is met as an unknown function.
SOURCES = [
    CPP / "sampling" / "capture.cpp",
    CPP / "interpreter" / "python_thread.cpp",
    CPP / "interpreter" / "region_label.cpp",
    *sorted((CPP / "platform").glob("*.cpp")),
    *sorted((CPP / "platform" / "linux").glob("*.cpp")),
]

# A line of the visitor after which something is planted.
VISIT_BEGINS = "    Visits& visits = static_cast<Subject*>(raw)->visits;\n"


@dataclass
class Report:
    problems: list[str]
    pointers: set[int]  # rows of THROUGH_POINTERS that were met
    files: set[Path]  # of ours, whose code is reached


def compile_all(sources: list[Path], folder: Path) -> list[Path]:
    """Objects as the module has them, with lines of source beside."""
    includes = [CPP, Path(sysconfig.get_path("include")), Path(sysconfig.get_path("platinclude"))]
    # As in CMakeLists.txt and nanobind's; `-g1` does not change the code.
    flags = ["-O3", "-DNDEBUG", "-std=c++17", "-fPIC", "-fno-stack-protector", "-g1"]
    flags += ["-fvisibility=hidden", "-fvisibility-inlines-hidden"]
    flags += ["-ffunction-sections", "-fno-omit-frame-pointer"]

    def compile_one(source: Path) -> Path:
        target = folder / (source.stem + ".o")
        done = subprocess.run(
            ["c++", *flags, *(f"-I{path}" for path in includes), "-c", source, "-o", target],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def check(program: Program) -> Report:
    report = Report([], set(), set())
    came_from: dict[str, str] = {}
    ahead: list[str] = []

    def way_to(key: str) -> str:
        way = [key]
        while came_from[way[-1]]:
            way.append(came_from[way[-1]])
        names = [re.sub(r"\(.*|spprof::", "", simple(step)) for step in reversed(way)]
        return " > ".join(names)

    def simple(key: str) -> str:
        return program.functions[key].name.replace("(anonymous namespace)::", "")

    def reach(keys: list[str], before: str) -> None:
        for key in keys:
            if key not in came_from:
                came_from[key] = before
                ahead.append(key)

    def follow(call: Call, key: str) -> None:
        if call.target in program.functions:
            reach([call.target], key)
        elif call.target is not None:
            if call.target not in ALLOWED and not ALLOWED_NAMES.fullmatch(call.target):
                where = f"{call.place}: {call.source}"
                report.problems.append(f"{way_to(key)} calls {call.target} ({where})")
        else:
            rows = [
                row
                for row, (file, text, _) in enumerate(THROUGH_POINTERS)
                if Path(call.file).name == file and text in call.source
            ]
            if len(rows) != 1:
                where = f"{call.place}: {call.source}"
                report.problems.append(f"{way_to(key)} calls through a pointer ({where})")
            for row in rows:
                report.pointers.add(row)
                for pattern in THROUGH_POINTERS[row][2]:
                    found = program.named(pattern)
                    if not found:
                        report.problems.append(f"there is no {pattern}")
                    reach(found, key)

    for what, pattern in ROOTS.items():
        roots = program.named(pattern)
        if not roots:
            report.problems.append(f"there is no {pattern} ({what})")
        reach(roots, "")
    while ahead:
        key = ahead.pop(0)
        function = program.functions[key]
        report.files.update(Path(f) for f in function.files if Path(f).is_relative_to(CPP))
        for call in function.calls:
            follow(call, key)
    return report


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return compile_all(SOURCES, tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def report(objects: list[Path]) -> Report:
    return check(Program(objects, MACHINE))


@pytest.mark.slow
def test_a_visit_calls_nothing_that_could_wait(report: Report) -> None:
    assert report.problems == []


@pytest.mark.slow
def test_every_pointer_of_the_list_is_called(report: Report) -> None:
    missing = [row for i, row in enumerate(THROUGH_POINTERS) if i not in report.pointers]
    assert missing == []


@pytest.mark.slow
def test_files_that_are_reached_say_so(report: Report) -> None:
    """In the words at their beginning, or at that of their header."""

    def head(path: Path) -> str:
        if not path.exists():
            return ""
        lines = path.read_text(encoding="utf-8").splitlines()
        end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
        return " ".join(line.lstrip("/ ") for line in lines[:end])

    def headers(path: Path) -> list[Path]:
        return [path, path.with_suffix(".h"), CPP / "platform" / f"{path.stem}.h"]

    assert len(report.files) > 20
    silent = [
        str(path.relative_to(CPP))
        for path in sorted(report.files)
        if not any(
            re.search(r"(([Rr]eached|touched) from|while (a|the) thread) ", head(h))
            for h in headers(path)
        )
    ]
    assert silent == [], silent


# What somebody might write into a visit, and what must be said of it.
PLANTS = {
    "an allocation": ("planted = static_cast<int*>(std::malloc(8));", r"calls malloc"),
    "an allocation of C++": ("planted = new int(1);", r"calls _Znwm"),
    "a deallocation of C++": ("delete planted; planted = nullptr;", r"calls _ZdlPv"),
    "a lock": ("const std::lock_guard<std::mutex> lock(planted_mutex);", r"calls pthread_mutex"),
    "a local": (
        "static const long once = std::time(nullptr); planted_long = once;",
        r"__cxa_guard",
    ),
    "an exception": ("if (planted_long == 7) { throw 1; }", r"calls __cxa_throw"),
    "output": ('std::printf("%ld", planted_long);', r"calls (printf|__printf_chk)"),
    "Python": ("planted_long = _PyEval_SliceIndex(nullptr, nullptr);", r"calls _PyEval_SliceIndex"),
    "a pointer": ("planted_pointer();", r"calls through a pointer \(capture\.cpp"),
    "a call at its end": ("return planted_tail();", r"calls planted_outside"),
    "a virtual function": ("planted_object->planted();", r"calls through a pointer \(capture\.cpp"),
    "lazy TLS": ("planted_long += planted_far;", r"calls (__tls_get_addr|_ZTH11planted_far|__tls)"),
}

DECLARATIONS = """
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
int* volatile planted;
volatile long planted_long;
std::mutex planted_mutex;
void (*volatile planted_pointer)();
struct Planted { virtual void planted() = 0; };
Planted* volatile planted_object;
extern "C" int _PyEval_SliceIndex(void*, void*);
extern "C" spprof::platform::Visited planted_outside();
__attribute__((noinline)) spprof::platform::Visited planted_tail() { return planted_outside(); }
__attribute__((visibility("default"))) extern thread_local long planted_far;
"""


@pytest.mark.slow
def test_what_is_planted_into_a_visit_is_found(objects: list[Path], tmp_path: Path) -> None:
    """Each in a visit of its own, by its name; how it was reached is told, too."""
    source = (CPP / "sampling" / "capture.cpp").read_text(encoding="utf-8")
    assert source.count(VISIT_BEGINS) == 2  # in `record`, and in `keep`
    before, after = source.split(VISIT_BEGINS, 1)
    head, rest = before.split("namespace spprof::sampling {", 1)
    switch = "".join(
        f"    if (planted_long == {100 + i}) {{ {text} }}\n"
        for i, (text, _) in enumerate(PLANTS.values())
    )
    planted = tmp_path / "capture.cpp"
    planted.write_text(
        f"{head}{DECLARATIONS}namespace spprof::sampling {{{rest}{VISIT_BEGINS}{switch}{after}",
        encoding="utf-8",
    )
    (visitor,) = compile_all([planted], tmp_path)
    others = [path for path in objects if path.name != visitor.name]
    assert len(others) == len(objects) - 1
    problems = check(Program([*others, visitor], MACHINE)).problems
    for what, (_, said) in PLANTS.items():
        found = [problem for problem in problems if re.search(said, problem)]
        assert found, f"{what} was not found in {problems}"
    assert any("record_subject calls malloc" in problem for problem in problems)


def test_the_module_binds_nothing_lazily() -> None:
    """Else the first call of a function, from a handler, would enter the loader, which locks."""
    dynamic = subprocess.run(
        ["readelf", "--dynamic", "--wide", str(spprof._native.__file__)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(r"\((FLAGS|FLAGS_1|BIND_NOW)\).*\b(BIND_NOW|NOW)\b|\(BIND_NOW\)", dynamic)
