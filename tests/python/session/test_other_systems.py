"""What other systems lack: here it is taken away before spprof is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What Windows has not. Modules are made to fail on import; functions and signals are removed.
POORER = """
import importlib, os, pkgutil, signal, sys, _signal
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "readline"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "register_at_fork", "getuid", "geteuid", "getgid", "setuid",
             "seteuid", "setreuid", "setresuid", "chroot", "uname", "wait", "WIFEXITED", "mkfifo",
             "sched_getaffinity", "getpgid", "killpg", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY"):
    for module in (os, sys.modules[os.name]):
        if hasattr(module, name):
            delattr(module, name)
for name in ("SIGPROF", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGCHLD", "SIGKILL", "pthread_sigmask",
             "sigpending", "setitimer", "alarm", "pthread_kill", "sigwait", "siginterrupt"):
    for module in (signal, _signal):
        if hasattr(module, name):
            delattr(module, name)
"""

# And what its interpreter says it is: modules ask when they are imported.
WINDOWS = (
    POORER
    + """
sys.platform = "win32"
"""
)

# macOS is POSIX, without what the kernel of Linux shows of processes.
MACOS = """
import builtins, importlib, os, pkgutil, sys
def without_proc(function):
    def call(path, *rest, **more):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return function(path, *rest, **more)
    return call
builtins.open = without_proc(builtins.open)
for name in ("listdir", "scandir", "readlink", "stat", "open"):
    setattr(os, name, without_proc(getattr(os, name)))
for name in ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "eventfd", "memfd_create"):
    if hasattr(os, name):
        delattr(os, name)
sys.platform = "darwin"
"""


def run_poorer(code: str, *arguments: str, system: str = POORER) -> str:
    done = subprocess.run(
        [sys.executable, "-c", system + code, *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_every_module_of_the_package_can_be_imported(system: str) -> None:
    output = run_poorer(
        """
import spprof
names = [m.name for m in pkgutil.walk_packages(spprof.__path__, "spprof.")]
names = [n for n in names if ".jupyter" not in n and ".startup" not in n and ".inside" not in n]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # what an engine of workers needs, where it is used
        if error.name not in ("distributed", "ipyparallel", "mpi4py", "ray"):
            raise
print(len(names))
""",
        system=system,
    )
    assert int(output) > 30


def test_a_session_runs_and_its_profile_is_saved_in_every_format(tmp_path: Path) -> None:
    output = run_poorer(
        """
import time, spprof
from spprof.formats import registry
before = signal.signal
spprof.start(1)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
signal.signal(signal.SIGINT, signal.SIG_IGN)  # goes through whatever stands in for it
profile = spprof.stop()
assert signal.signal is before
assert profile.sample_count > 0
for form in ("spprof", "speedscope", "collapsed", "pprof", "gecko", "svg"):
    place = os.path.join(sys.argv[1], "profile." + form)
    profile.save(place, format=form)
    assert os.path.getsize(place) > 0
print(profile.sample_count)
""",
        str(tmp_path),
    )
    assert int(output) > 0
    assert not list(tmp_path.glob(".spprof-*"))


def test_what_only_linux_tells_is_said_to_be_missing_or_left_out() -> None:
    """On Windows: child processes, native frames, and causes that only a system call tells."""
    output = run_poorer(
        """
import threading, time, spprof
from spprof._session import engine
try:
    spprof.start(1, processes=True)
except RuntimeError as error:
    print(error)
assert not spprof.is_active()
engine.native_unwinding_available = lambda: False
for asked in (lambda: spprof.start(1, native=True), lambda: spprof.set_native_unwinding(True),
              spprof.capture_native_stack):
    try:
        asked()
    except RuntimeError as error:
        print(error)
assert not spprof.is_active()
spprof.start(1, mode="wall")
with spprof.region("waiting"):
    time.sleep(0.1)
profile = spprof.stop()
print("waiting" in profile._tables.strings)
""",
        system=WINDOWS,
    )
    lines = output.splitlines()
    assert lines[0] == "processes is not available on win32: it needs fork"
    assert [line.partition(":")[0][:33] for line in lines[1:4]] == [
        "native unwinding is not available"
    ] * 3
    assert lines[4:] == ["True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not followed without fork")
def test_children_are_followed_without_proc() -> None:
    """On macOS: what /proc would tell is left out, and the parts of children are there."""
    output = run_poorer(
        """
import time, spprof
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
spprof.start(1, processes=True)
child = os.fork()
if child == 0:
    burn(0.3)
    os._exit(0)
os.waitpid(child, 0)
profile = spprof.stop()
theirs = [p for p in profile._tables.meta.processes if p["pid"] == child]
print(*(p["profile_ns"] > 150_000_000 for p in theirs))
""",
        system=MACOS,
    )
    assert output.split() == ["True"]


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill() ends the process there")
def test_a_program_that_ends_by_signals_from_the_console_is_waited_for() -> None:
    """Where the command waits for the program, Ctrl-C is the program's to answer."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "from spprof._cli.run import _call\n"
            "child = 'import os, signal, sys, time; os.kill(os.getppid(), signal.SIGINT);'\n"
            "child += 'time.sleep(0.3); sys.exit(7)'\n"
            "sys.exit(_call([sys.executable, '-c', child], dict(os.environ)))\n",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "KeyboardInterrupt" not in done.stderr


def test_the_end_of_a_path_with_backslashes_is_its_name() -> None:
    from spprof.formats.gecko import _lib

    assert _lib(r"C:\Python\python311.dll", "")["name"] == "python311.dll"
    assert _lib("/usr/lib/libm.so.6", "")["name"] == "libm.so.6"
