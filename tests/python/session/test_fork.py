"""fork: a child does not profile, can start a session of its own, and never hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
import os, signal, sys, threading, time, warnings
import spprof
warnings.simplefilter("ignore", DeprecationWarning)

def burn(seconds):
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        sum(range(200))

def wait(pid, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    raise SystemExit("a child hangs")
"""


def succeeds(program: str, *, timeout: float = 120) -> list[str]:
    """Run a program in an interpreter of its own and return the words that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_child_is_not_active_and_can_start_its_own_session() -> None:
    out = succeeds(
        """
        spprof.start(1)
        burn(0.1)
        pid = os.fork()
        if pid == 0:
            assert not spprof.is_active()
            assert spprof.stats() is None
            burn(0.05)  # no signal of the parent's session comes here
            spprof.start(1)
            def in_child():
                burn(0.2)
            thread = threading.Thread(target=in_child)
            thread.start()
            thread.join()
            profile = spprof.stop()
            names = {f.function_name for s in profile.samples for f in s.frames}
            assert "in_child" in names and "in_parent" not in names
            assert profile.sample_count > 100
            assert abs(sum(t.weight_ns for t in profile.threads) - 0.2e9) < 0.05e9
            os._exit(0)
        assert wait(pid) == 0
        def in_parent():
            burn(0.2)
        in_parent()
        profile = spprof.stop()
        names = {f.function_name for s in profile.samples for f in s.frames}
        assert "in_parent" in names and "in_child" not in names
        print("good", profile.sample_count > 200)
        """
    )
    assert out == ["good", "True"]


def test_a_child_does_not_save_what_its_parent_was_asked_to(
    tmp_path: os.PathLike[str],
) -> None:
    out = succeeds(
        f"""
        path = {os.fspath(tmp_path)!r} + "/p.json"
        spprof.start(1, path)
        if os.fork() == 0:
            sys.exit(0)  # an orderly end: exit handlers run
        os.wait()
        print(os.path.exists(path))
        spprof.stop()
        print(os.path.exists(path))
        """
    )
    assert out == ["False", "True"]


@pytest.mark.parametrize(
    ("interval", "mode", "most"),
    [(1, "cpu", 200), (10, "cpu", 200), (1, "wall", 200), (1, "wall", 40)],
)
@pytest.mark.slow_unless(most=40)
def test_forking_in_a_loop_while_threads_are_sampled(interval: float, mode: str, most: int) -> None:
    """Threads start, end, free code and register all the time: every lock is taken at some fork."""
    out = succeeds(
        f"""
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                burn(0.001)
        def churn():
            while not stop.is_set():
                thread = threading.Thread(target=burn, args=(0.0005,))
                thread.start()
                thread.join()
        def code():
            while not stop.is_set():
                space = {{}}
                exec("def f():\\n    return sum(range(100))", space)
                space["f"]()
        def figures():
            while not stop.is_set():
                spprof.stats()
                spprof.unregister_thread()
                spprof.register_thread()
        spprof.start({interval}, mode={mode!r})
        threads = [threading.Thread(target=t) for t in (busy, busy, churn, code, figures)]
        for thread in threads:
            thread.start()
        forks = 0
        end = time.monotonic() + 20
        while time.monotonic() < end and forks < {most}:
            pid = os.fork()
            if pid == 0:
                if forks % 4 == 0:
                    spprof.start(1)
                    burn(0.002)
                    spprof.stop()
                os._exit(0)
            code = wait(pid)
            assert code == 0, code
            forks += 1
        stop.set()
        for thread in threads:
            thread.join()
        profile = spprof.stop()
        print(forks, profile.sample_count)
        """
    )
    assert int(out[0]) >= 10
    assert int(out[1]) > 10


def test_multiprocessing_subprocess_and_exec(tmp_path: os.PathLike[str]) -> None:
    program = os.path.join(tmp_path, "pools.py")
    with open(program, "w", encoding="utf-8") as file:
        file.write(
            PRELUDE.partition("def wait")[0]
            + textwrap.dedent(
                """
                import multiprocessing, subprocess
                def job(n):
                    burn(0.01)
                    assert not spprof.is_active()
                    return n * n
                def main():
                    spprof.start(1)
                    for method in ("fork", "spawn", "forkserver"):
                        with multiprocessing.get_context(method).Pool(2) as pool:
                            assert pool.map(job, range(6)) == [0, 1, 4, 9, 16, 25]
                    for _ in range(10):
                        subprocess.run([sys.executable, "-c", "pass"], check=True)
                    ignored = subprocess.run(
                        [sys.executable, "-c",
                         "import signal; print(signal.getsignal(signal.SIGPROF) == 0)"],
                        check=True, capture_output=True, text=True)
                    print(ignored.stdout.strip())
                    pid = os.fork()
                    if pid == 0:
                        os.execv(sys.executable, [sys.executable, "-c", "raise SystemExit(7)"])
                    print(os.waitpid(pid, 0)[1] >> 8)
                    burn(0.1)
                    print(spprof.stop().sample_count > 50)
                if __name__ == "__main__":
                    main()
                """
            )
        )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "7", "True"]


def test_a_thread_of_the_parent_that_was_profiled_is_gone_in_the_child() -> None:
    out = succeeds(
        """
        stop = threading.Event()
        threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(20)]
        for thread in threads:
            thread.start()
        spprof.start(1)
        burn(0.05)
        pid = os.fork()
        if pid == 0:
            left = len(os.listdir("/proc/self/task"))
            spprof.start(10)
            figures = spprof.stats()
            spprof.stop()
            os._exit(0 if (left, figures.threads) == (1, 1) else 1)
        print(wait(pid))
        spprof.stop()
        stop.set()
        """
    )
    assert out == ["0"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python does not warn of forks yet")
@pytest.mark.parametrize("mode", ["cpu", "wall"])
def test_a_fork_of_the_only_thread_is_no_fork_beside_threads(mode: str) -> None:
    """Also where other hooks are Python functions, in which what is pending is done."""
    succeeds(
        """
        warnings.simplefilter("error")
        os.register_at_fork(after_in_parent=lambda: sum(range(1000)))
        def fork():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        for _ in range(20):
            with spprof.Profiler(1, mode=MODE) as profiler:
                fork()
                burn(0.02)
                fork()
                fork()
                burn(0.02)
            assert profiler.profile.sample_count > 10, profiler.profile.sample_count
        """.replace("MODE", repr(mode))
    )
