"""The C++ tests under valgrind: whatever is read was written, and nothing is lost.

    python tests/cpp/under_valgrind.py BUILD

BUILD: where CMake has built the tests without sanitizers (SPPROF_BUILD_TESTS=ON). Exit status 0: no
test failed, and valgrind has said nothing. What is left out is told, and why; the sanitizers have
all of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# Of the tests' own sources. Valgrind runs one thread at a time, in slices, and a signal comes at
# the end of one.
FILES_LEFT_OUT = {
    "pacing_test": "hours of simulated time: arithmetic",
    "interrupting_observer_test": "when signals come",
    "observer_contract_test": "when signals come",
    "suspending_observer_test": "when threads stand still",
    "interrupted_call_test": "signals in the middle of a system call",
    "fault_guard_test": "faults at an instruction that valgrind does not run",
    "native_recent_steps_test": "20,000 random stacks: minutes",
}
CASES_LEFT_OUT = {
    "modules are listed with path, range and build id; the vDSO has names": "there is no vDSO",
    "one thread writes while another reads": "two threads that wait for each other: minutes",
    "a million samples of 5,000 stacks take at most 40 bytes each": "minutes",
    "at the memory limit timestamps go and every count and weight stays": "minutes",
    "where memory runs out a sample is not there at all": "valgrind has its own operator new",
    "records never wrap, whatever their sizes": "minutes",
    "rules are kept by address and version": "threads that wait for each other: minutes",
    "a broken Mach-O file has no names, or fewer": "minutes",
    "where even stacks do not fit, new ones are counted under a mark of their caller": "minutes",
    "whatever stands in a ring, the collector stays within it and goes on": "minutes",
}
MEMCHECK = (
    *("valgrind", "-q", "--error-exitcode=99", "--child-silent-after-fork=yes"),
    *("--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"),
    "--fair-sched=try",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path)
    build = parser.parse_args().build.resolve()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed (Debian: valgrind)")
        return 2
    for what, why in {**FILES_LEFT_OUT, **CASES_LEFT_OUT}.items():
        print(f"left out: {what} ({why})")
    files = ",".join(f"*{name}*" for name in FILES_LEFT_OUT)
    # A comma parts patterns: of a name with one, what is before it.
    cases = ",".join(f"*{name.partition(',')[0]}*" for name in CASES_LEFT_OUT)
    tests = {
        "spprof_tests": [f"--source-file-exclude={files}", f"--test-case-exclude={cases}"],
        "spprof_interpreter_tests": [],
    }
    failed = []
    for name, options in tests.items():
        begin = time.monotonic()
        # From there, as the tests' files are found by paths of the compiler's.
        command = [*MEMCHECK, str(build / name), *options]
        done = subprocess.run(command, cwd=build, check=False)
        print(f"{name}: status {done.returncode} in {time.monotonic() - begin:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    print(f"{len(tests) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
