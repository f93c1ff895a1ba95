"""Interpreters other than the main one: sampled right, or counted as what they are.

Until 3.11 the time in another interpreter counts for the call that entered it. From 3.12 on, where
the main interpreter may be asked about its own code only, it counts under [subinterpreter].
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

# The lowest layer that the version has, with the names of 3.13.
INTERPRETERS = """
import sys, threading, time
try:
    import _interpreters as interpreters
    def run(i, code): assert interpreters.run_string(i, code) is None
except ImportError:
    import _xxsubinterpreters as interpreters
    def run(i, code): interpreters.run_string(i, code)
if sys.version_info >= (3, 13):
    def create(own_gil): return interpreters.create("isolated" if own_gil else "legacy")
elif sys.version_info >= (3, 12):
    def create(own_gil): return interpreters.create(isolated=own_gil)
else:
    def create(own_gil): return interpreters.create()
def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
IN_OTHER = '''
import time
def spin_there(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
spin_there(%s)
'''
"""


def run_program(body: str, *options: str) -> None:
    program = INTERPRETERS + textwrap.dedent(body)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "No module named '_xxsubinterpreters'" in result.stderr:
        pytest.skip("this interpreter was built without _xxsubinterpreters")
    assert result.returncode == 0, result.stdout + result.stderr


CHECK = """
def check(profile, here, there):
    total = {}
    for stack in profile.aggregate().stacks:
        names = [f.function_name for f in stack.frames]
        assert "spin_there" not in names, stack
        if "[subinterpreter]" in names:
            assert sys.version_info >= (3, 12) and len(names) == 1, stack
        if names[0] in ("spin", "run", "[subinterpreter]"):
            name = "here" if names[0] == "spin" else "there"
            total[name] = total.get(name, 0) + stack.weight_ns / 1e9
    assert abs(total["here"] - here) < 0.25 * here, total
    # Making the interpreter and importing there counts, too.
    assert 0.7 * there < total["there"] < there + 1.5, total
"""


@pytest.mark.parametrize("own_gil", [False, True])
@pytest.mark.slow_unless(own_gil=True)
def test_time_in_another_interpreter_is_counted(own_gil: bool) -> None:
    run_program(
        CHECK
        + f"""
import spprof
i = create({own_gil})
with spprof.Profiler(1) as p:
    spin(0.3)
    run(i, IN_OTHER % 0.4)
    spin(0.3)
interpreters.destroy(i)
check(p.profile, 0.6, 0.4)
"""
    )


@pytest.mark.parametrize("own_gil", [False, True])
@pytest.mark.slow_unless(own_gil=True)
def test_threads_of_other_interpreters(own_gil: bool) -> None:
    run_program(
        CHECK
        + f"""
import spprof
def work(i):
    run(i, IN_OTHER % 0.3)
with spprof.Profiler(1) as p:
    made = [create({own_gil}) for _ in range(3)]
    threads = [threading.Thread(target=work, args=(i,)) for i in made]
    for t in threads: t.start()
    spin(0.3)
    for t in threads: t.join()
    for i in made: interpreters.destroy(i)
check(p.profile, 0.3, 0.9)
"""
    )


# What is freed in the wrong interpreter does its harm later, and somewhere else: with faulthandler
# memory lies differently, and Debian's 3.9 crashed each time.
@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")])
def test_other_interpreters_come_and_go_with_their_code(options: tuple[str, ...]) -> None:
    run_program(
        """
import spprof
STORM = '''
for k in range(60):
    source = "def f%d(): return sum(range(500))\\\\nf%d()" % (k, k)
    exec(compile(source, "file%d" % k, "exec"))
'''
with spprof.Profiler(0.2) as p:
    for n in range(8):
        i = create(n % 2 == 0)
        run(i, STORM)
        interpreters.destroy(i)
        source = "def g%d(): return sum(range(50000))\\ng%d()" % (n, n)
        exec(compile(source, "here%d" % n, "exec"))
for s in p.profile.aggregate().stacks:
    for f in s.frames:
        if sys.version_info >= (3, 12):
            assert not f.filename.startswith("file"), f
        if f.filename.startswith("here"):
            assert f.function_name in ("<module>", "g" + f.filename[4:]), f
""",
        *options,
    )


@pytest.mark.parametrize("own_gil", [False, True])
def test_import_in_another_interpreter_says_what_to_do(own_gil: bool) -> None:
    run_program(
        f"""
import spprof  # first: a module of the standard library breaks the other way round, in 3.12
i = create({own_gil})
run(i, '''
try:
    import spprof
except ImportError as error:
    text = str(error)
    assert "subinterpreter" in text, text
else:
    raise SystemExit("imported")
''')
interpreters.destroy(i)
with spprof.Profiler(1) as p:
    spin(0.05)
assert p.profile.sample_count
"""
    )


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters came with 3.14")
def test_the_standard_librarys_interpreter_pool() -> None:
    run_program(
        """
import spprof
from concurrent.futures import InterpreterPoolExecutor
with spprof.Profiler(1) as p:
    with InterpreterPoolExecutor(2) as pool:
        assert list(pool.map(sum, [range(3_000_000)] * 6))
    spin(0.1)
names = {s.frames[0].function_name for s in p.profile.aggregate().stacks}
assert "[subinterpreter]" in names and "spin" in names, names
"""
    )
