"""`spprof run`: the program's own behaviour is untouched, and a profile remains."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from programs import BURN, assert_profiled, environment, python, run, shares, write

import spprof


class TestRun:
    def test_script(self, here) -> None:
        write(here / "a.py", "import burn, sys\nburn.burn(0.3)\nprint(sys.argv)\n")
        done = run("a.py", "-i", "--help", "x y")
        assert done.returncode == 0
        assert done.stdout == "['a.py', '-i', '--help', 'x y']\n"
        assert_profiled("a.spprof", "<module>", "burn", "inner")
        assert "spprof view a.spprof" in done.stderr
        assert "inner" in done.stderr

    def test_root_of_the_main_thread_is_the_program(self, here) -> None:
        write(here / "a.py", "import burn\nburn.burn(0.3)\n")
        run("a.py")
        roots = {s.frames[-1] for s in spprof.load("a.spprof").samples}
        # The interpreter waits for threads when the program has ended.
        roots = {f for f in roots if f.function_name != "_shutdown"}
        assert {(f.function_name, f.filename) for f in roots} == {("<module>", str(here / "a.py"))}

    def test_quiet_says_nothing(self, here) -> None:
        write(here / "a.py", "import burn\nburn.burn(0.1)\n")
        assert run("-q", "a.py").stderr == ""

    @pytest.mark.parametrize(
        "form", ["script", "subdirectory", "directory", "module", "package", "command"]
    )
    def test_the_program_sees_what_python_shows_it(self, here, form) -> None:
        code = """
            import sys, json
            main = sys.modules["__main__"]
            print(json.dumps([
                __name__, sys.argv, sys.path, globals().get("__file__"), __package__,
                getattr(__spec__, "name", None), type(__loader__).__name__,
                main.__dict__ is globals(),
                sorted(k for k in globals() if k.startswith("__") and k not in
                       ("__annotations__", "__annotate__", "__conditional_annotations__")),
            ]))
        """
        write(here / "a.py", code)
        write(here / "sub" / "b.py", code)
        write(here / "dir" / "__main__.py", code)
        write(here / "pkg" / "__init__.py", "")
        write(here / "pkg" / "__main__.py", code)
        arguments = {
            "script": ["a.py"],
            "subdirectory": ["sub/b.py"],
            "directory": ["dir"],
            "module": ["-m", "a"],
            "package": ["-m", "pkg"],
            "command": ["-c", textwrap.dedent(code)],
        }[form] + ["-x", "1"]
        plain, profiled = python(*arguments), run("-q", *arguments)
        assert profiled.stderr == plain.stderr == ""
        expected, seen = json.loads(plain.stdout), json.loads(profiled.stdout)
        if form == "command":
            # Python's loader of -c is an implementation detail that nothing can use.
            expected[6] = seen[6]
        assert seen == expected

    def test_relative_imports(self, here) -> None:
        write(here / "pkg" / "__init__.py", "")
        write(here / "pkg" / "work.py", "from burn import burn\n")
        write(here / "pkg" / "app.py", "from .work import burn\nburn(0.3)\n")
        assert run("-m", "pkg.app").returncode == 0
        assert_profiled("app.spprof", "burn", "inner")

    def test_exception(self, here) -> None:
        write(here / "a.py", "import burn\nburn.burn(0.2)\nraise RuntimeError('boom')\n")
        plain, profiled = python("a.py"), run("-q", "a.py")
        assert profiled.returncode == plain.returncode == 1
        assert profiled.stderr == plain.stderr  # not a line of the runner in it
        assert_profiled("a.spprof", "burn")

    def test_own_excepthook(self, here) -> None:
        write(
            here / "a.py",
            "import sys\nsys.excepthook = lambda *e: print('mine', e[0].__name__)\n1 / 0\n",
        )
        done = run("-q", "a.py")
        assert (done.returncode, done.stdout) == (1, "mine ZeroDivisionError\n")

    @pytest.mark.parametrize(
        ("status", "code", "stderr"),
        [("3", 3, ""), ("", 0, ""), ("None", 0, ""), ("'gone'", 1, "gone\n")],
    )
    @pytest.mark.slow_unless(status={"3", "'gone'"})
    def test_sys_exit(self, here, status, code, stderr) -> None:
        write(here / "a.py", f"import burn, sys\nburn.burn(0.2)\nsys.exit({status})\n")
        done = run("-q", "a.py")
        assert (done.returncode, done.stderr) == (code, stderr)
        assert_profiled("a.spprof", "burn")

    def test_syntax_error(self, here) -> None:
        write(here / "a.py", "def f(:\n")
        plain, profiled = python("a.py"), run("-q", "a.py")
        assert (profiled.returncode, profiled.stderr) == (plain.returncode, plain.stderr)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    @pytest.mark.slow_unless(number=signal.SIGTERM)
    def test_killed(self, here, number) -> None:
        write(here / "a.py", "import burn\nprint('ready', flush=True)\nburn.burn(60)\n")
        child = subprocess.Popen(
            [sys.executable, "-m", "spprof", "run", "-i", "1", "a.py"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        child.send_signal(number)
        _, stderr = child.communicate(timeout=30)
        assert child.returncode == -number
        assert ("KeyboardInterrupt" in stderr) == (number == signal.SIGINT)
        assert_profiled("a.spprof", "burn")

    def test_own_signal_handlers(self, here) -> None:
        write(
            here / "a.py",
            """
            import os, signal, sys
            signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            os.kill(os.getpid(), signal.SIGTERM)
            """,
        )
        done = run("-q", "a.py")
        assert (done.returncode, done.stdout) == (7, "True\n")
        assert Path("a.spprof").exists()

    def test_fork(self, here) -> None:
        write(
            here / "a.py",
            """
            import os, sys, burn
            child = os.fork()
            burn.burn(0.3)
            if child:
                print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            else:
                sys.exit(5)
            """,
        )
        done = run("a.py")
        assert (done.returncode, done.stdout) == (0, "status 5\n")
        assert done.stderr.count("saved:") == 1
        profile = spprof.load("a.spprof")
        assert 0.2e9 < profile.total_weight_ns < 0.45e9  # the parent's time alone

    def test_signals_of_forked_children_are_the_programs(self, here) -> None:
        write(
            here / "a.py",
            """
            import os, signal, sys, time
            sys.stdout.write("once\\n")  # not flushed yet
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            for wait in [0.3, *[0] * 200]:
                child = os.fork()
                if not child:
                    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
                    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
                    time.sleep(30)
                # Without a wait it comes before the child has run at all.
                time.sleep(wait)
                os.kill(child, signal.SIGTERM)
                assert os.waitpid(child, 0)[1] == signal.SIGTERM
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
            """,
        )
        done = run("-q", "a.py")
        assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")

    def test_multiprocessing(self, here) -> None:
        write(
            here / "a.py",
            """
            import multiprocessing, burn
            def square(x):
                return x * x
            if __name__ == "__main__":
                burn.burn(0.2)
                for method in ("fork", "spawn"):
                    with multiprocessing.get_context(method).Pool(2) as pool:
                        print(pool.map(square, range(4)))
            """,
        )
        done = run("-q", "a.py")
        assert (done.returncode, done.stdout) == (0, "[0, 1, 4, 9]\n" * 2)
        assert "burn" in shares("a.spprof")

    def test_threads_and_exit_functions_are_in_it(self, here) -> None:
        write(
            here / "a.py",
            """
            import atexit, threading, burn
            def at_exit(): burn.burn(0.2)
            def in_thread(): burn.burn(0.2)
            atexit.register(at_exit)
            threading.Thread(target=in_thread, name="worker").start()
            """,
        )
        run("a.py")
        found = shares("a.spprof")
        assert found["at_exit"] > 0.3
        assert found["in_thread"] > 0.3
        assert "worker" in [t.name for t in spprof.load("a.spprof").threads]

    def test_pickles_of_its_classes(self, here) -> None:
        write(
            here / "a.py",
            "import pickle\nclass A: pass\n"
            "print(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)\n",
        )
        assert run("-q", "a.py").stdout == "True __main__\n"

    def test_standard_input_and_binary_output(self, here) -> None:
        write(
            here / "a.py",
            "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])\n",
        )
        done = run("-q", "a.py", input=b"\xff\x00abc", text=False)
        assert done.stdout == b"cba\x00\xff"

    def test_directory_changed_and_streams_closed_by_the_program(self, here) -> None:
        write(
            here / "a.py",
            "import os, sys, burn\nburn.burn(0.2)\nos.chdir('/')\n"
            "sys.stdout.close()\nsys.stderr.close()\n",
        )
        assert run("a.py").returncode == 0
        assert_profiled(here / "a.spprof", "burn")

    def test_program_that_profiles_itself(self, here) -> None:
        write(here / "a.py", "import spprof\nprint(spprof.stop().interval_ms)\n")
        done = run("a.py")
        assert (done.returncode, done.stdout) == (0, "1.0\n")
        assert "the program stopped the profiler itself" in done.stderr

    def test_http_server_under_load(self, here) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        child = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "spprof",
                    "run",
                    "--mode",
                    "wall",
                    "-i",
                    "1",
                    "-o",
                    "s.json",
                ),
                *("-m", "http.server", str(port), "--bind", "127.0.0.1"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        until = time.monotonic() + 30
        served = 0
        while served < 100 and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/burn.py") as answer:
                    assert answer.read().decode() == BURN
                    served += 1
            except urllib.error.URLError:
                time.sleep(0.1)
        child.terminate()
        child.communicate(timeout=30)
        assert served == 100
        assert child.returncode == -signal.SIGTERM
        profile = spprof.load("s.json")
        assert profile.mode == "wall"
        assert "SimpleHTTPRequestHandler.do_GET" in shares("s.json") or "do_GET" in shares("s.json")

    def test_options_of_start(self, here) -> None:
        write(here / "a.py", "import time\ntime.sleep(0.3)\n")
        done = run("--mode", "wall", "--aggregate", "--memory-limit", 20, "-o", "x.spprof", "a.py")
        assert done.returncode == 0
        profile = spprof.load("x.spprof")
        assert (profile.mode, profile.interval_ms) == ("wall", 1.0)
        assert {s.timestamp_ns for s in profile.samples} <= {None}
        main = profile.filter(thread="MainThread")
        assert 0.28e9 < main.total_weight_ns < 3e9  # a busy machine may let it sleep longer

    def test_format(self, here) -> None:
        write(here / "a.py", "import burn\nburn.burn(0.2)\n")
        run("-o", "x", "-f", "collapsed", "a.py")
        assert re.search(r"^<module> \(.*a\.py:1\);burn", Path("x").read_text(), re.M)

    @pytest.mark.parametrize(
        ("arguments", "message", "status"),
        [
            ([], "what should be run", 2),
            (["-m"], "expected one argument", 2),
            (["missing.py"], "missing.py': [Errno 2] No such file or directory", 2),
            (["-m", "missing_module"], "No module named missing_module", 1),
            (["-m", "missing.module"], "No module named 'missing'", 1),
            (["-o", "no/where.json", "burn.py"], "there is no directory", 1),
            (["-i", "0", "burn.py"], "interval_ms", 1),
            (["-f", "odd", "burn.py"], "invalid choice: 'odd'", 2),
        ],
    )
    def test_wrong_usage(self, here, arguments, message, status) -> None:
        done = python("-m", "spprof", "run", *arguments)
        assert done.returncode == status
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert sorted(p.name for p in here.iterdir() if p.name != "__pycache__") == ["burn.py"]


def test_the_command_that_is_asked_for_is_imported_alone() -> None:
    """The others' imports would be half of what it takes until the program runs."""
    code = (
        "import sys\nfrom spprof._cli.main import main\ntry: main(['run', '--help'])\n"
        "except SystemExit: pass\nprint([n for n in sys.modules if n.startswith('spprof._cli.')])"
    )
    listed = python("-c", code).stdout.splitlines()[-1]
    assert "spprof._cli.run" in listed
    for other in ("report", "diff", "view", "convert", "doctor"):
        assert f"spprof._cli.{other}" not in listed
