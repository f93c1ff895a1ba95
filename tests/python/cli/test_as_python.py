"""Programs run under `spprof run` as Python runs them: same words, same status, same `__main__`."""

from __future__ import annotations

import json
import os
import py_compile
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from programs import environment, write

import spprof

# What a program can tell about itself; addresses and module objects aside.
ABOUT = """
    import json, sys
    def plain(value):
        return value if isinstance(value, (str, int, list, dict, type(None))) else type(value).__name__
    shown = {k: plain(v) for k, v in globals().items() if k not in ("__builtins__", "plain")}
    main = sys.modules["__main__"]
    print(json.dumps([shown, sys.argv, sys.path, main.__dict__ is globals(), sys.orig_argv[-2:]
                      if hasattr(sys, "orig_argv") else [], type(__builtins__).__name__]))
"""
PROGRAMS = {
    "about": ABOUT,
    "hello": "print('hello')",
    "raises": "def f(): return 1 / 0\ndef g(): f()\ng()",
    "chained": "try: 1 / 0\nexcept ZeroDivisionError as e: raise KeyError('x') from e",
    "exits": "import sys; sys.exit(3)",
    "exits_text": "import sys; sys.exit('gone')",
    "exits_huge": "import sys; sys.exit(300)",
    "exits_in_exit_function": "import atexit, sys; atexit.register(sys.exit, 4)",
    "system_exit_subclass": "class E(SystemExit): pass\nraise E(5)",
    "hard_exit": "import os, sys; print('x', flush=True); os._exit(6)",
    "interrupted": "raise KeyboardInterrupt",
    "interrupts_itself": "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(9)",
    "terminates_itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\nimport time; time.sleep(9)",
    "kills_itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "aborts": "import os; os.abort()",
    "last_type": "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.last_value))\n1 / 0",
    "no_last_type": "import atexit, sys\natexit.register(lambda: print(hasattr(sys, 'last_type')))",
    "annotations": "print(__annotations__)\nx: int = 1\nprint(__annotations__)",
    "hook": "import sys\nsys.excepthook = lambda *e: print('mine', e[0].__name__)\n1 / 0",
    "hook_raises": "import sys\ndef h(*a): raise KeyError('in hook')\nsys.excepthook = h\n1 / 0",
    "hook_exits": "import sys\ndef h(*a): sys.exit(9)\nsys.excepthook = h\n1 / 0",
    "unraisable": "class A:\n  def __del__(self): 1 / 0\na = A(); del a; print('on')",
    "depth": "def f(n): return n and f(n - 1)\nfor d in range(1100, 900, -1):\n"
    "    try: f(d); print('deepest', d); break\n    except RecursionError: pass",
    "signals": "import signal\nfor n in ('INT', 'TERM', 'HUP', 'USR1', 'CHLD', 'PIPE'):\n"
    "    print(n, signal.getsignal(getattr(signal, 'SIG' + n)))",
    "sets_signals": "import signal\nfor h in (signal.SIG_IGN, signal.SIG_DFL, signal.SIG_DFL):\n"
    "    print(signal.signal(signal.SIGTERM, h), signal.getsignal(signal.SIGTERM))",
    "own_handler": "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(7))\n"
    "os.kill(os.getpid(), signal.SIGTERM)",
    "ignores": "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.kill(os.getpid(), signal.SIGTERM); print('alive')",
    "warns_outwards": "import warnings; warnings.warn('w', stacklevel=2)",
    "warns_far": "import warnings\ndef f(): warnings.warn('w', stacklevel=9)\nf()",
    "stack": "import inspect; print([(f.function, f.filename.rpartition('/')[2]) for f in inspect.stack()])",
    "frames": "import sys\nn, f = 0, sys._getframe()\nwhile f: n, f = n + 1, f.f_back\nprint(n)",
    "traceback_of_stack": "import traceback\ndef f(): traceback.print_stack()\nf()",
    "thread_raises": "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T'); t.start(); t.join()",
    "thread_outlives": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(.1), print('late'))).start()\nprint('end')",
    "daemon": "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "exit_functions": "import atexit\nfor i in range(3): atexit.register(print, i)",
    "exit_function_raises": "import atexit\natexit.register(lambda: 1 / 0)\natexit.register(print, 'first')",
    "unregisters_all": "import atexit\natexit.register(print, 'x'); atexit._clear(); print('cleared')",
    "forks": "import os\nif os.fork() == 0: print('child'); os._exit(0)\nos.wait(); print('parent')",
    "forked_exit": "import os, sys\np = os.fork()\nif p == 0: sys.exit(5)\nprint(os.waitpid(p, 0)[1])",
    "spawns": "import multiprocessing as m\ndef f(x): return x * x\n"
    "if __name__ == '__main__':\n  with m.get_context('spawn').Pool(1) as p: print(p.map(f, [2, 3]))",
    "runs_python": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import sys, os; "
    "print(sys.argv, os.environ.get(\"PYTHONPATH\"), \"SPPROF_RUN\" in os.environ)'])",
    "execs": "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'print(\"other\")'])",
    "environment": "import os; print(sorted((k, v) for k, v in os.environ.items() if 'PY' in k or 'SPP' in k))",
    "variables": "import os; print(os.environ.get('PYTHONPATH'), [e for e in os.environ if 'SPPROF' in e])",
    "flags": "import sys; print(sys.flags, sys._xoptions, sys.warnoptions)",
    "asserts": "assert False, 'seen'",
    "pickles": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "imports_main": "import __main__; print(__main__.__dict__ is globals())",
    "reads_input": "import sys; print(sys.stdin.read())",
    "closes_streams": "import sys; sys.stdout.close(); sys.stderr.close()",
    "deep_exit": "import contextlib, sys\nwith contextlib.ExitStack() as s: s.callback(print, 'unwound'); sys.exit(2)",
    "future": "from __future__ import annotations\ndef f(x: nothing): pass\nprint(f.__annotations__)",
    "bom": "\ufeffprint('bom')",
    "tabs": "if True:\n\tprint('tab')",
    "docstring": '"""What it does."""\nprint(__doc__)',
    "async_main": "import asyncio\nasync def m(): await asyncio.sleep(0); print('async')\nasyncio.run(m())",
    "runs_itself": "import runpy, sys\nif len(sys.argv) > 1: print('inner', __name__)\n"
    "else: sys.argv.append('x'); runpy.run_path(__file__, run_name='other')",
    "source_of_main": "import inspect\ndef f(): return 1\nprint(inspect.getsource(f))",
    "crash_handler": "import faulthandler, sys; print(faulthandler.is_enabled())",
    "displayhook": "import sys; print(sys.displayhook is sys.__displayhook__, sys.excepthook is sys.__excepthook__)",
    "in_locale": "import sys, locale; print(sys.stdout.encoding, locale.getlocale(), sys.stderr.errors)",
    "collector": "import gc; print(gc.isenabled(), gc.get_threshold())",
    "cwd": "import os; print(os.getcwd())",
    "utf8": "# -*- coding: latin-1 -*-\nprint('h\xe4user')",
}  # fmt: skip
# The rest of a command line for each of these, beside every program as a script.
OTHERS: list[tuple[str, ...]] = [
    ("about.py", "-i", "--help", "-m", "x y", ""),
    ("./about.py",),
    ("sub/about.py",),
    ("sub/../about.py",),
    ("{here}/about.py", "x"),
    ("link.py",),
    ("far",),
    ("folder",),
    ("archive.zip", "x"),
    ("compiled.pyc",),
    ("no_ending",),
    ("-", "x"),
    ("-m", "about", "-c", "x"),
    ("-m", "pkg", "x"),
    ("-m", "pkg.about", "-x"),
    ("-m", "pkg.sub"),
    ("-m", "no_main"),
    ("-m", "broken"),
    ("-m", "broken.about"),
    ("-m", "missing"),
    ("-m", "missing.sub"),
    ("-m", "pkg.missing"),
    ("-m", "about.py"),
    ("-m", "json.tool", "data.json"),
    ("-m", "raises"),
    ("-m", "says"),
    ("-c", textwrap.dedent(ABOUT), "-m", "x"),
    ("-c", "1 / 0"),
    ("-c", "import sys; sys.exit(7)"),
    ("-c", "def f(:"),
    ("-c", ""),
    ("-c", "print(__annotations__)"),
    ("bad_syntax.py",),
    ("bad_encoding.py",),
    ("bad_indent.py",),
    ("empty.py",),
    ("missing.py",),
    ("missing/missing.py",),
    ("empty_folder",),
    ("shadow/uses_json.py",),
    ("shadow/uses_threading.py",),
]
FLAGS: list[tuple[str, ...]] = [
    ("-O", "asserts.py"),
    ("-OO", "docstring.py"),
    ("-W", "error", "warns_outwards.py"),
    ("-X", "dev", "flags.py"),
    ("-B", "flags.py"),
    ("-u", "hello.py"),
    ("-s", "flags.py"),
    ("-X", "faulthandler", "crash_handler.py"),
    ("-X", "utf8", "in_locale.py"),
    ("-b", "flags.py"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    here = tmp_path_factory.mktemp("programs")
    for name, code in PROGRAMS.items():
        encoding = "latin-1" if name == "utf8" else "utf-8"
        (here / f"{name}.py").write_text(textwrap.dedent(code) + "\n", encoding=encoding)
    for place in ("sub/about.py", "folder/__main__.py", "pkg/__main__.py", "pkg/about.py"):
        write(here / place, ABOUT)
    write(here / "pkg/sub/__main__.py", ABOUT)
    for package in ("pkg", "pkg/sub", "no_main"):
        write(here / package / "__init__.py", "import sys; print('init', sys.argv, __name__)\n")
    write(here / "broken/__init__.py", "def f(): import nosuch\nf()\n")
    write(here / "broken/about.py", "print('never')\n")
    write(here / "says/__init__.py", "import sys; print(sys.argv, file=sys.stderr); sys.exit(8)\n")
    write(here / "shadow/json.py", "dumps = 'the program\\'s own'\n")
    write(here / "shadow/threading.py", "import atexit; own = 1\n")
    write(here / "shadow/uses_json.py", "import json; print(json.dumps, json.__file__)\n")
    write(here / "shadow/uses_threading.py", "import threading; print(threading.own)\n")
    write(here / "data.json", '{"a": [1]}')
    write(here / "empty.py", "")
    write(here / "bad_syntax.py", "x = 1\ndef f(:\n")
    write(here / "bad_indent.py", "if True:\nx\n")
    (here / "bad_encoding.py").write_bytes(b"print('\xff')\n")
    (here / "empty_folder").mkdir()
    (here / "no_ending").write_text(textwrap.dedent(ABOUT))
    (here / "link.py").symlink_to("sub/about.py")
    (here / "far").symlink_to("folder")
    py_compile.compile(str(here / "about.py"), str(here / "compiled.pyc"))
    with zipfile.ZipFile(here / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", textwrap.dedent(ABOUT))
    return here


def answer(folder: Path, command: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [part.replace("{here}", str(folder)) for part in command],
        cwd=folder,
        input=textwrap.dedent(ABOUT),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        env=environment(PYTHONHASHSEED="0"),
    )
    at = re.compile(r"0x[0-9a-f]{6,}")
    return done.returncode, at.sub("0x", done.stdout), at.sub("0x", done.stderr)


def compare(folder: Path, flags: Sequence[str], rest: Sequence[str]) -> None:
    output = folder / "out" / "p.spprof"
    output.parent.mkdir(exist_ok=True)
    run = ["-m", "spprof", "run", "-q", "-i", "1", "-o", str(output)]
    expected = answer(folder, [sys.executable, *flags, *rest])
    seen = answer(folder, [sys.executable, *flags, *run, *rest])
    assert seen == expected


COMMANDS = [*((f"{name}.py",) for name in PROGRAMS), *OTHERS]
# One of each kind; the rest takes a minute.
FIRST = {
    *("about.py", "chained.py", "exits.py", "interrupts_itself.py", "stack.py", "forks.py"),
    *("pickles.py", "closes_streams.py", "archive.zip x", "- x", "-m pkg x", "bad_syntax.py"),
}


def first_and_slow(commands: Sequence[tuple[str, ...]]) -> list[object]:
    """The commands as parameters."""
    return [
        pytest.param(
            command,
            id=" ".join(command)[:40],
            marks=[] if " ".join(command) in FIRST else pytest.mark.slow,
        )
        for command in commands
    ]


def test_there_are_enough_of_them() -> None:
    assert len({*COMMANDS, *FLAGS}) >= 100
    assert {" ".join(command) for command in (*COMMANDS, *FLAGS)} >= FIRST


@pytest.mark.parametrize("command", first_and_slow(COMMANDS))
def test_command(folder, command) -> None:
    compare(folder, (), command)


@pytest.mark.parametrize("command", first_and_slow(FLAGS))
def test_flags(folder, command) -> None:
    compare(folder, command[:-1], command[-1:])


def test_modules_that_the_programs_own_path_holds(tmp_path) -> None:
    """A folder on PYTHONPATH may name its modules as it likes; what saves is not taken from it."""
    for name in ("json", "gzip", "tempfile", "bisect"):
        write(tmp_path / "mine" / f"{name}.py", "own = 1\n")
    write(tmp_path / "p.py", "import json, gzip, bisect; print(json.own, gzip.own, bisect.own)")
    path = os.pathsep.join([environment()["PYTHONPATH"], str(tmp_path / "mine")])
    # `spprof` itself is started without that path, as by another's wrapper.
    start = (
        "import os, sys; sys.path.insert(0, sys.argv.pop(1)); from spprof._cli.main import main\n"
        "os.environ['PYTHONPATH'] = sys.argv.pop(1); main()"
    )
    source = str(Path(spprof.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", start, source, path, "run", "-q", "-o", "p.json", "p.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 1 1\n", "")
    assert spprof.load(tmp_path / "p.json").sample_count >= 0


def test_own_sitecustomize(folder, tmp_path) -> None:
    write(tmp_path / "own" / "sitecustomize.py", "import builtins; builtins.custom = __file__\n")
    write(tmp_path / "p.py", "import sitecustomize; print(custom == sitecustomize.__file__)")
    path = os.pathsep.join([environment()["PYTHONPATH"], str(tmp_path / "own")])
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "run", "-q", "p.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=path),
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_nothing_of_a_package_runs_outside_of_the_session(tmp_path) -> None:
    burn = "import time\ndef {0}():\n    t = time.process_time()\n    while time.process_time() - t < .3: pass\n{0}()\n"
    write(tmp_path / "pk" / "__init__.py", burn.format("heavy_import"))
    write(tmp_path / "pk" / "__main__.py", burn.format("main_part"))
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "run", "-q", "-i", "1", "-o", "o.spprof", "-m", "pk"],
        cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    profile = spprof.load(tmp_path / "o.spprof")
    share = {s.function_name: s.total_share for s in profile.top(None)}
    assert share["heavy_import"] == pytest.approx(0.5, abs=0.1)
    assert share["main_part"] == pytest.approx(0.5, abs=0.1)
    roots = {s.frames[-1].function_name for s in profile.samples}
    # At its end the interpreter calls `threading._shutdown` by itself, now and then met.
    assert roots - {"_shutdown"} == {"<module>"}


@pytest.mark.parametrize("frozen", [True, False])
def test_what_finds_a_module_is_none_of_the_program(frozen) -> None:
    """Wherever a sample meets it: most of it takes too short to be met in every run."""
    from spprof._cli.inside import program_only
    from spprof._profile import model
    from spprof._profile.tables import Builder

    library = os.path.dirname(os.__file__)
    runpy = "<frozen runpy>" if frozen else os.path.join(library, "runpy.py")
    util = "<frozen importlib.util>" if frozen else os.path.join(library, "importlib", "util.py")
    bootstrap = "<frozen importlib._bootstrap>"
    b = Builder()
    main = b.thread(os.getpid(), "MainThread", os.getpid())
    stacks = {
        "nothing": [("_run_module_as_main", runpy)],
        "finding": [("_get_module_details", runpy), ("find_spec", util)],
        "looking": [("_get_module_details", runpy), ("find_spec", util), ("_find_spec", bootstrap)],
        "package": [("_get_module_details", runpy), ("_gcd_import", bootstrap), ("<module>", "p/__init__.py")],
        "program": [("_run_code", runpy), ("<module>", "p/__main__.py"), ("find_spec", util)],
    }  # fmt: skip
    for frames in stacks.values():
        stack = b.stack_of(b.frame(b.func(name, file)) for name, file in frames)
        b.row(main, stack, weight=1_000_000)
    kept = program_only(model.Profile._of(b.tables))
    assert sorted([f.function_name for f in s.frames[::-1]] for s in kept.samples) == [
        ["<module>"],
        ["<module>", "find_spec"],
    ]


@pytest.mark.parametrize(
    "format", ["spprof", "json", "html", "svg", "pb.gz", "gecko.json", "folded"]
)
@pytest.mark.slow_unless(format={"spprof", "html", "json"})
def test_a_program_may_have_modules_of_any_name(tmp_path, format) -> None:
    """What saving takes is there before the program has its say."""
    if format == "html" and not (Path(spprof.__file__).parent / "static").exists():
        pytest.skip("the front end is not built")
    names = (
        "json html gzip zlib_ svg base64 datetime tempfile dataclasses inspect re text linecache"
    )
    for name in names.split():
        write(tmp_path / f"{name}.py", "raise SystemExit('the wrong one')\n")
    write(
        tmp_path / "p.py",
        "import time\nt = time.process_time()\nwhile time.process_time() - t < .1: pass\n",
    )
    command = [sys.executable, "-c", "from spprof._cli.main import main; main()", "run"]
    done = subprocess.run(
        [*command, "-i", "1", "-o", str(tmp_path / f"out.{format}"), str(tmp_path / "p.py")],
        cwd="/", capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "saved:" in done.stderr
    assert (tmp_path / f"out.{format}").stat().st_size > 50


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root")
@pytest.mark.parametrize("how", ["chroot", "chroot and setuid"])
@pytest.mark.slow_unless(how="chroot and setuid")
def test_a_program_may_change_its_root(tmp_path, how) -> None:
    code = """
        import os, sys, time
        def burn():
            t = time.process_time()
            while time.process_time() - t < .2: pass
        os.chmod("jail", 0o777); os.chroot("jail"); os.chdir("/")
        if "setuid" in sys.argv[1]: os.setgid(65534); os.setuid(65534)
        burn()
    """
    write(tmp_path / "p.py", code)
    (tmp_path / "jail").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "run", "-i", "1", "-o", "out.svg", "p.py", how],
        cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "burn" in done.stderr
    assert "it is kept in" in done.stderr
    (kept,) = (tmp_path / "jail").rglob("*.spprof")
    assert {s.function_name: s.total_share for s in spprof.load(kept).top(None)}["burn"] > 0.9
    assert json.dumps(spprof.load(kept).to_speedscope())


def without_front_end(folder: Path) -> dict[str, str]:
    """An environment in which spprof is there, but was never built whole."""
    package = Path(spprof.__file__).parent
    copy = folder / "copy" / "spprof"
    copy.mkdir(parents=True)
    for part in package.iterdir():
        if part.name not in ("static", "__pycache__"):
            (copy / part.name).symlink_to(part)
    for inner in ("formats", "_cli", "_session", "_profile"):
        (copy / inner).unlink()
        (copy / inner).mkdir()
        for part in (package / inner).rglob("*"):
            target = copy / inner / part.relative_to(package / inner)
            if part.is_dir():
                target.mkdir(exist_ok=True)
            elif part.suffix != ".pyc":
                target.write_bytes(part.read_bytes())
    (copy / "__init__.py").unlink()
    (copy / "__init__.py").write_bytes((package / "__init__.py").read_bytes())
    return {**os.environ, "PYTHONPATH": str(folder / "copy")}


def test_what_cannot_be_written_is_said_before_the_program_runs(tmp_path) -> None:
    write(tmp_path / "p.py", "print('ran')\n")
    variables = without_front_end(tmp_path)
    for code in ("", "import spprof; spprof.start(output_path='x.html'); print('on')"):
        start = ["-c", code] if code else ["-m", "spprof", "run", "-o", "x.html", "p.py"]
        done = subprocess.run(
            [sys.executable, *start],
            cwd=tmp_path, capture_output=True, text=True, env=variables, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stdout == ""
        assert "npm run build" in done.stderr
    assert not (tmp_path / "x.html").exists()


def test_what_could_not_be_written_is_kept_beside_it(tmp_path) -> None:
    write(tmp_path / "p.py", "import os, burn\nburn.burn(.2)\nos.mkdir('out.svg')\n")
    write(tmp_path / "burn.py", "import time\ndef burn(s):\n    t = time.process_time()\n"
          "    while time.process_time() - t < s: pass\n")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "run", "-i", "1", "-o", "out.svg", "p.py"],
        cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "was not saved as asked" in done.stderr
    assert "out.svg.spprof" in done.stderr
    profile = spprof.load(tmp_path / "out.svg.spprof")
    assert {s.function_name: s.total_share for s in profile.top(None)}["burn"] > 0.9
