"""`spprof` as its users run it: the program's own behaviour is untouched, and a profile remains."""

from __future__ import annotations

import io
import json
import os
import re
import select
import shlex
import shutil
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

import spprof
from spprof import cli

BURN = """
import time
def inner(n):
    return sum(i * i for i in range(n))
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        inner(500)
"""


def environment(**more: str) -> dict[str, str]:
    source = str(Path(spprof.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory with burn.py in it."""
    (tmp_path / "burn.py").write_text(BURN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, code: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def python(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 60, "env": environment(), **more}
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    return python("-m", "spprof", "run", "-i", 1, *arguments, **more)


def shares(path: object) -> dict[str, float]:
    return {s.function_name: s.total_share for s in spprof.load(path).top(None)}


def assert_profiled(path: object, *functions: str) -> None:
    found = shares(path)
    for function in functions:
        assert found.get(function, 0) > 0.5, (function, found)
    assert not set(found) & {"_execute", "run", "main", "_run_module_as_main"}


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
        assert re.match(r"<module> \(.*a\.py:1\);burn", Path("x").read_text())

    @pytest.mark.parametrize(
        ("arguments", "message", "status"),
        [
            ([], "what should be run", 2),
            (["-m"], "expected one argument", 2),
            (["missing.py"], "can't open file 'missing.py'", 2),
            (["-m", "missing_module"], "No module named missing_module", 2),
            (["-m", "missing.module"], "No module named 'missing'", 2),
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


@pytest.fixture
def saved(make_profile, here):
    profile = make_profile()
    profile.save("p.spprof")
    return profile


class TestReport:
    def test_table(self, saved, capsys) -> None:
        assert cli.main(["report", "-n", "3", "p.spprof"]) == 0
        out = capsys.readouterr().out
        rows = re.findall(r"^ *[\d.]+ (?:m?s|µs) +([\d.]+)% .*?%  (\S+)", out, re.MULTILINE)
        assert [name for _, name in rows] == [s.function_name.split()[0] for s in saved.top(3)]
        assert [float(share) for share, _ in rows] == [
            round(s.self_share * 100, 1) for s in saved.top(3)
        ]
        assert "note: the timer was refused" in out
        assert "\x1b" not in out

    def test_by_total_lines_and_filters(self, saved, capsys) -> None:
        cli.main(["report", "--by", "total", "--thread", "MainThread", "p.spprof"])
        assert re.search(r"100\.0%  <module>", capsys.readouterr().out)
        cli.main(["report", "--module", "libfast", "--lines", "-n", "99", "p.spprof"])
        assert "libfast" in capsys.readouterr().out

    def test_colours_when_asked_for(self, saved, capsys) -> None:
        cli.main(["report", "--color", "always", "p.spprof"])
        assert "\x1b[1m" in capsys.readouterr().out

    def test_tree(self, saved, capsys) -> None:
        cli.main(["report", "--tree", "p.spprof"])
        lines = capsys.readouterr().out.splitlines()
        assert re.match(r" 100\.0%    0\.0%  all", lines[1])
        assert re.match(r" 100\.0%    0\.0%    <module>", lines[2])

    @pytest.mark.parametrize("content", [None, b"", b"SPPROF\r\n", b"{}"])
    def test_files_that_are_no_profiles(self, here, content, capsys) -> None:
        if content is not None:
            Path("bad").write_bytes(content)
        for command in (["report", "bad"], ["convert", "bad", "x.svg"], ["diff", "bad", "bad"]):
            assert cli.main(command) == 1
            error = capsys.readouterr().err
            assert error.startswith("spprof: error: bad: ")
            assert error.count("\n") == 1

    def test_a_reader_that_has_had_enough(self, saved) -> None:
        command = f"{shlex.quote(sys.executable)} -m spprof report -n 99 p.spprof | true"
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, env=environment()
        )
        assert done.stderr == ""


class TestConvert:
    @pytest.mark.parametrize("name", ["x.json", "x.pb.gz", "x.gecko.json", "x.svg", "x.folded"])
    def test_is_save(self, saved, name) -> None:
        assert cli.main(["convert", "p.spprof", name]) == 0
        saved.save("expected_" + name)
        assert Path(name).read_bytes() == Path("expected_" + name).read_bytes()

    def test_to_standard_output(self, saved) -> None:
        done = python("-m", "spprof", "convert", "--to", "collapsed", "p.spprof", "-")
        assert done.stdout == saved.to_collapsed()

    def test_interval_of_counts(self, here) -> None:
        Path("c.txt").write_text("a;b 3\n")
        cli.main(["convert", "--interval", "7", "c.txt", "c.spprof"])
        assert spprof.load("c.spprof").total_weight_ns == 21_000_000

    def test_target_that_cannot_be_written(self, saved, capsys) -> None:
        assert cli.main(["convert", "p.spprof", "no/where.svg"]) == 1
        assert "create it first" in capsys.readouterr().err


class TestDiff:
    def test_prints_or_saves(self, saved, capsys, make_profile) -> None:
        make_profile(seed=2).save("q.spprof")
        assert cli.main(["diff", "p.spprof", "q.spprof"]) == 0
        assert "before" in capsys.readouterr().out
        assert cli.main(["diff", "p.spprof", "q.spprof", "-o", "d.svg"]) == 0
        assert "red: a larger share" in Path("d.svg").read_text()
        assert cli.main(["diff", "p.spprof", "q.spprof", "-o", "d.pb.gz"]) == 1
        assert "for a difference: use one of" in capsys.readouterr().err


def read_line(stream, seconds: float = 20) -> str:
    ready, _, _ = select.select([stream], [], [], seconds)
    assert ready, "nothing was printed"
    return stream.readline()


def get(url: str, **headers: str):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)


front_end = pytest.mark.skipif(
    not (Path(spprof.__file__).parent / "static" / "standalone.js").exists(),
    reason="the front end is not built",
)


@front_end
class TestView:
    @pytest.fixture
    def viewer(self, saved):
        def start(*options: str) -> tuple[subprocess.Popen[str], str]:
            child = subprocess.Popen(
                [sys.executable, "-m", "spprof", "view", "--no-browser", *options, "p.spprof"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            children.append(child)
            return child, read_line(child.stdout).strip()

        children: list[subprocess.Popen[str]] = []
        yield start
        for child in children:
            child.kill()
            child.communicate()

    def test_serves_the_page_at_an_unguessable_path_only(self, viewer) -> None:
        _, url = viewer()
        match = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/", url)
        assert match is not None
        with get(url) as answer:
            assert b'<div id="spprof-root">' in answer.read()
            assert answer.headers["Cache-Control"] == "no-store"
        for path in ("/", "/favicon.ico", f"/{match[2]}x/", f"/{match[2]}"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(match[1] + path)

    def test_refuses_other_names_for_this_machine(self, viewer) -> None:
        _, url = viewer()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(url, Host="evil.example")

    def test_speedscope_gets_the_profile(self, viewer, saved) -> None:
        _, url = viewer("--speedscope")
        page, _, fragment = url.partition("#profileURL=")
        with get(page) as answer:
            assert b"speedscope" in answer.read()
        with get(page.split("/", 3)[0] + "//" + page.split("/", 3)[2] + fragment) as answer:
            document = json.load(answer)
        assert document == saved.to_speedscope("p.spprof")

    def test_ends_when_the_page_is_closed(self, viewer) -> None:
        child, url = viewer()
        with get(url + "alive") as stream:
            assert stream.readline().startswith(b":")
            time.sleep(1)
            assert child.poll() is None
        assert child.wait(timeout=20) == 0

    @pytest.mark.parametrize("options", [[], ["--speedscope"]])
    def test_in_a_browser(self, viewer, saved, options) -> None:
        sync_api = pytest.importorskip("playwright.sync_api")
        path = os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
        unsandboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        child, url = viewer(*options)
        with sync_api.sync_playwright() as playwright:
            try:
                browser = playwright.chromium.launch(executable_path=path, args=unsandboxed)
            except sync_api.Error as error:
                pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
            page = browser.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(url)
            if options:
                page.wait_for_function("document.title == 'p.spprof - speedscope'")
            else:
                page.get_by_text(f"{saved.sample_count} samples").first.wait_for()
            page.reload()
            time.sleep(2)
            assert child.poll() is None
            assert errors == []
            server = url.split("/", 3)[2]
            kinds = ("data:", "blob:", f"http://{server}/")
            assert [u for u in asked if not u.startswith(kinds)] == []
            browser.close()
        assert child.wait(timeout=20) == 0

    def test_ends_with_ctrl_c(self, viewer) -> None:
        child, _ = viewer()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 0


class TestProgress:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def test_shown_once_it_takes_long(self) -> None:
        terminal = self.Terminal()
        began = time.monotonic()
        with cli._progress("saving x", terminal):
            while not terminal.getvalue() and time.monotonic() < began + 20:
                time.sleep(0.05)
        assert time.monotonic() - began > 1
        assert re.fullmatch(r"(\rspprof: saving x \.\.\. \d+ s)+\r\x1b\[K", terminal.getvalue())

    def test_not_shown_for_what_is_fast_or_no_terminal(self) -> None:
        terminal, file = self.Terminal(), io.StringIO()
        with cli._progress("saving x", terminal):
            pass
        with cli._progress("saving x", file):
            time.sleep(1.8)
        assert terminal.getvalue() == file.getvalue() == ""


class TestHelp:
    @pytest.mark.parametrize("command", ["run", "view", "report", "convert", "diff", "completion"])
    def test_every_command_has_examples(self, command, capsys) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--help"])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert f"spprof {command}" in out.split("examples:")[1]

    def test_version(self, capsys) -> None:
        with pytest.raises(SystemExit):
            cli.main(["--version"])
        assert capsys.readouterr().out == f"spprof {spprof.__version__}\n"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("spprof re", ["report"]),
            ("spprof report --li", ["--lines"]),
            ("spprof run bu", ["burn.py"]),
        ],
    )
    def test_bash_completes(self, here, words, expected) -> None:
        script = python("-m", "spprof", "completion", "bash").stdout
        code = (
            f"{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _spprof; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected
