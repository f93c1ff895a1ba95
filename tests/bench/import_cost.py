"""What `import spprof` and `spprof.start()` cost, above starting Python alone.

    python tests/bench/import_cost.py [--rounds 40]

Each round starts Python three times: bare, with the import, and with a session as well. Times are
of the processor (user and system, of the whole process), which a busy machine distorts less than
the clock; those on the clock are beside them. Medians of the differences within a round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time

PROGRAMS = {
    "bare": "pass",
    "import spprof": "import spprof",
    "import spprof; spprof.start()": "import spprof; spprof.start()",
}
# Ends without the interpreter's own clean-up, so that a session costs no more than its start.
ENDING = "; import os; os._exit(0)"
LIMITS_MS = {"import spprof": 15, "import spprof; spprof.start()": 20}


def environment(cache: str) -> dict[str, str]:
    """With bytecode, as an installed package has it; kept out of the source tree."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": cache}


def once(code: str, variables: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of the processor and on the clock that Python takes to run `code`."""
    begin = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code + ENDING], variables)
    _, status, used = os.wait4(pid, 0)
    clock = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{code!r} ended with status {status}")
    return (used.ru_utime + used.ru_stime) * 1e3, clock * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        variables = environment(cache)
        for code in PROGRAMS.values():
            once(code, variables)  # writes the bytecode, fills the page cache
        measured = [
            {name: once(code, variables) for name, code in PROGRAMS.items()} for _ in range(rounds)
        ]
    print(f"{'':32} {'processor':>10} {'clock':>10}   at most")
    for name, limit in LIMITS_MS.items():
        above = [
            statistics.median(r[name][kind] - r["bare"][kind] for r in measured) for kind in (0, 1)
        ]
        print(f"{name:32} {above[0]:7.1f} ms {above[1]:7.1f} ms   {limit} ms")


if __name__ == "__main__":
    main()
