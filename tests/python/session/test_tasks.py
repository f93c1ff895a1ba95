"""Waits of asyncio's tasks in a session: how long, where, below whom; and what is left after it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import selectors
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import spprof
from spprof import _native
from spprof._session import await_trees, awaiting, jobs, tasks
from spprof._session import waits as waits_module
from spprof._session.await_trees import Stacks
from spprof._session.waits import Accounts, Moment, Rows

TASKS = "asyncio tasks of *"


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def profiled(main, interval_ms: float = 10, **options) -> spprof.Profile:
    with spprof.Profiler(interval_ms, mode="wall", **options) as profiler:
        asyncio.run(main())
    return profiler.profile


def waits(profile: spprof.Profile) -> dict[str, float]:
    """Seconds waited, by the names of the program's own functions on the way down."""
    found: dict[str, float] = {}
    for sample in profile.filter(thread=TASKS).samples:
        assert sample.state == "waiting"
        frames = [frame for frame in reversed(sample.frames) if frame.filename == __file__]
        names = [frame.function_name.rpartition(".")[2] for frame in frames]
        way = " > ".join(name for name in names if name != "nap")
        found[way] = found.get(way, 0) + sample.weight_ns / 1e9
    return found


# What the program's own clock says of its naps: a busy machine wakes it late.
slept: dict[str, float] = {}


@pytest.fixture(autouse=True)
def nothing_slept() -> None:
    slept.clear()


async def nap(seconds: float, name: str = "nap") -> None:
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    slept[name] = slept.get(name, 0) + time.perf_counter() - begin


def near(seconds: float):
    """To 5 %, and what a busy machine may take from a loop's waking to its task's."""
    return pytest.approx(seconds, rel=0.05, abs=0.02)


async def short() -> None:
    await nap(0.1, "short")


async def long() -> None:
    await below_long()
    await nap(0.2, "long")


async def below_long() -> None:
    await nap(0.1, "below long")


@pytest.mark.parametrize("interval_ms", [10, 1, 0.1])
def test_known_sleeps_below_the_one_that_waits_for_them(interval_ms) -> None:
    async def main() -> None:
        await asyncio.gather(short(), long())
        await asyncio.wait_for(short(), 10)

    profile = profiled(main, interval_ms)
    found = waits(profile)
    assert found.pop("main > short") == near(slept["short"])
    assert found.pop("main > long > below_long") == near(slept["below long"])
    assert found.pop("main > long") == near(slept["long"])
    assert sum(found.values()) < 0.01
    # The thread's own row is the clock's.
    (thread,) = [one for one in profile.threads if one.thread_name == "MainThread"]
    assert thread.weight_ns <= profile.total_duration_ms * 1e6


def test_many_tasks_are_task_seconds_in_a_thread_of_their_own() -> None:
    async def main() -> None:
        await asyncio.gather(*(nap(0.2) for _ in range(50)))

    profile = profiled(main)
    weights = {thread.thread_name: thread.weight_ns / 1e9 for thread in profile.threads}
    assert weights["asyncio tasks of MainThread"] == pytest.approx(slept["nap"], rel=0.05)
    assert weights["MainThread"] < 1


def test_tasks_wait_while_another_one_runs() -> None:
    async def waiter(event: asyncio.Event) -> None:
        await event.wait()

    async def main() -> None:
        event = asyncio.Event()
        begin = time.perf_counter()
        task = asyncio.ensure_future(waiter(event))
        for _ in range(40):
            burn(0.01)
            await asyncio.sleep(0)
        event.set()
        slept["waiter"] = time.perf_counter() - begin
        await task

    found = waits(profiled(main))["waiter"]
    # But for what it waited before the first look.
    assert 0.7 < found / slept["waiter"] < 1.01


def test_a_task_that_runs_does_not_wait() -> None:
    async def main() -> None:
        for _ in range(10):
            await nap(0.01)
            burn(0.03)

    # Of 0.4 s; a busy machine wakes it late.
    assert 0.06 < waits(profiled(main))["main"] < 1.3 * slept["nap"]


def test_of_a_rhythm_every_wait_gets_its_part(monkeypatch) -> None:
    """Though both come once an interval."""
    # So many looks as are due, whatever they cost here.
    monkeypatch.setattr("spprof._session.allowance._AT_ONCE_NS", 10**9)

    async def shorter() -> None:
        await nap(0.001, "shorter")

    async def longer() -> None:
        await nap(0.004, "longer")

    async def main() -> None:
        for _ in range(60):
            await shorter()
            await longer()

    found = waits(profiled(main, 5))
    part = found["main > shorter"] / (found["main > longer"] + found["main > shorter"])
    # Some sixty looks by chance: four times the error of counting.
    due = slept["shorter"] / (slept["shorter"] + slept["longer"])
    assert part == pytest.approx(due, abs=0.21)


def test_every_loop_has_its_own_thread_of_tasks() -> None:
    def run() -> None:
        asyncio.run(nap(0.2, threading.current_thread().name))

    threads = [threading.Thread(target=run, name=name) for name in ("one", "two")]
    with spprof.Profiler(mode="wall") as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    weights = {thread.thread_name: thread.weight_ns / 1e9 for thread in profiler.profile.threads}
    assert weights["asyncio tasks of one"] == near(slept["one"])
    assert weights["asyncio tasks of two"] == near(slept["two"])


def test_a_loop_that_waits_before_and_after_the_session_is_seen() -> None:
    stopped = threading.Event()

    async def main() -> None:
        while not stopped.is_set():
            await nap(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="looping")
    thread.start()
    time.sleep(0.02)
    with spprof.Profiler(mode="wall") as profiler:
        time.sleep(0.28)
    stopped.set()
    thread.join()
    profile = profiler.profile
    weights = {thread.thread_name: thread.weight_ns / 1e6 for thread in profile.threads}
    whole = profile.total_duration_ms
    assert weights["asyncio tasks of looping"] == pytest.approx(whole, rel=0.05)


def test_a_session_within_a_coroutine() -> None:
    async def other() -> None:
        await asyncio.sleep(10)

    async def main() -> spprof.Profile:
        task = asyncio.ensure_future(other())
        await asyncio.sleep(0)
        spprof.start(mode="wall")
        await nap(0.1)
        burn(0.05)
        profile = spprof.stop()
        task.cancel()
        return profile

    profile = asyncio.run(main())
    found = waits(profile)
    assert 0.14 < found["other"] <= profile.total_duration_ms / 1e3
    assert found["main"] == near(slept["nap"])


def test_a_pause_is_not_counted() -> None:
    async def main() -> None:
        await nap(0.1)
        spprof.pause()
        await nap(0.2, "paused")
        spprof.resume()
        await nap(0.1)

    assert waits(profiled(main))["main"] == near(slept["nap"])


@pytest.mark.parametrize("options", [{"mode": "cpu"}, {"mode": "wall", "tasks": False}])
def test_where_nobody_wants_them_loops_are_left_alone(options) -> None:
    before = dict(vars(asyncio.BaseEventLoop))
    with spprof.Profiler(**options) as profiler:
        assert dict(vars(asyncio.BaseEventLoop)) == before
        asyncio.run(short())
    assert not [one for one in profiler.profile.threads if "asyncio" in one.thread_name]


def test_nothing_is_left_after_a_session() -> None:
    classes = (
        asyncio.BaseEventLoop,
        asyncio.selector_events.BaseSelectorEventLoop,
    )
    before, finders = [dict(vars(one)) for one in classes], list(sys.meta_path)

    async def main() -> None:
        await asyncio.gather(short(), short())

    loop = asyncio.new_event_loop()
    attributes = set(vars(loop)), type(loop)
    with spprof.Profiler(mode="wall"):
        assert vars(asyncio.BaseEventLoop)["_run_once"] is not before[0]["_run_once"]
        loop.run_until_complete(main())
        assert (set(vars(loop)), type(loop)) == attributes
    assert [dict(vars(one)) for one in classes] == before
    assert sys.meta_path == finders
    loop.close()


def test_tasks_and_futures_die_when_they_would_without() -> None:
    died = []

    class Thing:
        def __del__(self) -> None:
            died.append(time.perf_counter())

    async def hold() -> None:
        thing = Thing()  # noqa: F841
        await nap(0.05)

    async def main() -> None:
        await asyncio.ensure_future(hold())
        assert len(died) == 1

    gc.disable()
    try:
        profiled(main, 0.1)
    finally:
        gc.enable()


def test_no_function_of_ours_is_in_the_profile() -> None:
    async def main() -> None:
        for _ in range(300):
            await asyncio.gather(*(asyncio.sleep(0.0005) for _ in range(20)))

    profile = profiled(main, 0.1)
    names = {frame.filename for sample in profile.samples for frame in sample.frames}
    assert not names & {one.__file__ for one in (tasks, waits_module, awaiting, await_trees)}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_what_a_selector_raises_arrives_as_it_would_without(error) -> None:
    class Failing(selectors.DefaultSelector):
        __slots__ = ()
        calls = 0

        def select(self, timeout=None):
            Failing.calls += 1
            if Failing.calls > 3:
                Failing.calls = -100
                raise error("from the selector")
            return super().select(timeout)

    def run() -> list[str]:
        loop = asyncio.SelectorEventLoop(Failing())
        try:
            loop.run_until_complete(short())
        except error as raised:
            return [entry.name for entry in traceback.extract_tb(raised.__traceback__)]
        finally:
            loop.close()
        raise AssertionError("it was not raised")

    without = run()
    Failing.calls = 0
    with spprof.Profiler(mode="wall"):
        assert run() == without


def test_loops_come_and_go_also_in_debug_mode() -> None:
    async def main() -> None:
        await nap(0.01)

    with spprof.Profiler(1, mode="wall") as profiler:
        for _ in range(10):
            asyncio.run(main(), debug=True)
        gc.collect()
        assert len(tasks._session.watches) == 0
    assert 0.6 < waits(profiler.profile)["main"] / slept["nap"] < 1.05


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
def test_eager_tasks() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await asyncio.gather(short(), short())

    assert waits(profiled(main))["main > short"] == near(slept["short"])


def test_anyio_on_asyncio() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(long)
            group.start_soon(short)

    found = waits(profiled(main))
    assert found["main > short"] == near(slept["short"])
    assert found["main > long"] == near(slept["long"])


def test_who_waits_for_tasks_that_none_awaits_waits_alone() -> None:
    async def forgotten() -> None:
        await asyncio.sleep(10)

    async def main() -> None:
        task = asyncio.ensure_future(forgotten())
        await nap(0.1)
        task.cancel()

    found = waits(profiled(main))
    assert found["forgotten"] == found["main"] == near(slept["nap"])


def test_when_memory_is_short_waits_are_summed() -> None:
    async def main() -> None:
        for _ in range(10):  # few: all looks that it takes are among those that are free at first
            await nap(0.02)

    profile = profiled(main, 1, aggregate=True)
    assert {sample.timestamp_ns for sample in profile.filter(thread=TASKS).samples} == {None}
    assert waits(profile)["main"] == near(slept["nap"])


def test_a_task_that_cannot_be_read_ends_the_looking_and_not_the_loop() -> None:
    class Odd(asyncio.Task):
        def get_coro(self):
            raise LookupError("mine")

    async def main() -> None:
        await Odd(short(), loop=asyncio.get_running_loop())

    assert any("LookupError" in note for note in profiled(main)._tables.meta.notes)


def output_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_asyncio_is_not_imported_but_seen_when_the_program_does() -> None:
    found = output_of(
        """
        import spprof, sys
        finders = list(sys.meta_path)
        spprof.start(mode="wall")
        assert not [name for name in sys.modules if name.startswith("asyncio")]
        import asyncio
        async def main(): await asyncio.sleep(0.2)
        asyncio.run(main())
        assert not vars(asyncio.selector_events.__loader__).get("exec_module")
        profile = spprof.stop()
        assert sys.meta_path == finders
        print(round(profile.filter(thread="asyncio tasks*").total_weight_ns / 1e9, 2))
        """
    )
    assert 0.19 <= float(found) <= 0.21


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_not_watched() -> None:
    found = output_of(
        """
        import asyncio, os, spprof
        before = vars(asyncio.BaseEventLoop)["_run_once"]
        spprof.start(mode="wall")
        pid = os.fork()
        if pid == 0:
            os._exit(0 if vars(asyncio.BaseEventLoop)["_run_once"] is before else 1)
        print(os.waitpid(pid, 0)[1])
        spprof.stop()
        """
    )
    assert found == "0"


# --- accounts, with clocks that are numbers ------------------------------------------------------


class Accounted:
    """One task of a loop that is looked at when a test says so."""

    def __init__(self) -> None:
        self.rows = Rows(1000)
        self.stacks = Stacks()
        self.accounts = Accounts(self.stacks, self.rows, Moment(0, 0, 0))

    def look(self, task, now: int, idle: int, fair: bool = True) -> None:
        self.accounts.look([task], Moment(now, idle, now), fair=fair)

    def waited(self) -> dict[str, int]:
        self.accounts.end()
        found: dict[str, int] = {}
        for stack, _, _, _, ns in self.rows:
            name = self.stacks.frames[stack][0].rpartition(".")[2]
            found[name] = found.get(name, 0) + ns
        return found


async def in_task(use) -> None:
    """Call `use` with a task, and a coroutine function that moves it from `here` to `there`."""

    async def here(future) -> None:
        await future

    async def there(future) -> None:
        await future

    async def both(first, second) -> None:
        await here(first)
        await there(second)

    loop = asyncio.get_running_loop()
    futures = loop.create_future(), loop.create_future()
    task = asyncio.ensure_future(both(*futures))
    await asyncio.sleep(0)

    async def move() -> None:
        futures[0].set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    await use(task, move)
    task.cancel()


def test_who_did_not_move_waited_all_the_time_and_who_did_what_the_loop_was_idle() -> None:
    async def use(task, move) -> None:
        accounted = Accounted()
        accounted.look(task, 100, 40)
        accounted.look(task, 300, 50)
        await move()
        accounted.look(task, 400, 80)
        accounted.look(task, 450, 80)
        assert accounted.waited() == {"here": 40 + 200, "there": 30 + 50}

    asyncio.run(in_task(use))


def test_idle_time_before_a_look_at_a_busy_loop_is_given_at_the_next_fair_one() -> None:
    async def use(task, move) -> None:
        accounted = Accounted()
        accounted.look(task, 100, 40, fair=False)
        accounted.look(task, 200, 40, fair=False)
        await move()
        accounted.look(task, 300, 70)
        assert accounted.waited() == {"here": 100, "there": 40 + 30}

    asyncio.run(in_task(use))


def test_tasks_that_are_too_many_to_read_at_once_are_counted(monkeypatch) -> None:
    monkeypatch.setattr("spprof._session.waits.READ_AT_ONCE", 2)

    async def main() -> None:
        accounted = Accounted()
        all_tasks = [asyncio.ensure_future(short()) for _ in range(5)]
        await asyncio.sleep(0)
        for look in range(1, 5):
            accounted.accounts.look(all_tasks, Moment(look, look, look), fair=True)
        assert accounted.waited() == {"sleep": 2 * 4 + 2 * 3 + 2, "[tasks not read yet]": 3 + 1}
        for task in all_tasks:
            task.cancel()

    asyncio.run(main())


class Store:
    def fetch(self, seconds: float) -> None:
        burn(seconds)


@pytest.mark.parametrize("way", ["to_thread", "run_in_executor", "wrap_future"])
def test_a_job_of_a_worker_thread_is_below_the_task_that_waits_for_it(way: str) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as pool, spprof.region("request", number=7):
            if way == "to_thread":
                await asyncio.to_thread(Store().fetch, 0.2)
            elif way == "run_in_executor":
                await asyncio.get_running_loop().run_in_executor(pool, Store().fetch, 0.2)
            else:
                await asyncio.wrap_future(pool.submit(functools.partial(Store().fetch, 0.2)))

    profile = profiled(main, 5)
    # Not asyncio's own wait for the pool's end.
    below = {s.frames[:2] for s in profile.filter(thread=TASKS, function="*main").samples}
    ((job, worker),) = below
    assert (job.function_name, job.filename) == ("Store.fetch", __file__)
    assert worker.function_name == "[worker thread]"
    # What it does is in the worker's own thread, under the same name and in the same region.
    worked = profile.filter(region="request", function="*fetch", thread="*_0")
    # On a busy machine it has a part of the processor only.
    assert worked.total_weight_ns > 0.05e9
    assert not profile.filter(function="_note").samples


def test_tasks_say_what_they_wait_for() -> None:
    """One task of each cause; what the program awaits at a future of its own is not known."""

    async def on_sleep() -> None:
        await asyncio.sleep(0.2)

    async def on_lock(lock: asyncio.Lock) -> None:
        async with lock:
            pass

    async def on_queue() -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Queue().get(), 0.2)

    async def on_event() -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.2)

    async def on_stream() -> None:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        asyncio.get_running_loop().call_later(0.2, there.send, b"x")
        await reader.read(1)
        writer.close()
        there.close()

    async def on_socket() -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, there.send, b"x")
        with here, there:
            await loop.sock_recv(here, 1)

    async def on_child() -> None:
        program = "import time; time.sleep(0.2)"
        child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-E", "-c", program)
        await child.wait()

    async def on_job() -> None:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.2)

    async def on_future() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.2, future.set_result, None)
        await future

    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        asyncio.get_running_loop().call_later(0.2, lock.release)
        await asyncio.gather(
            *(on_sleep(), on_lock(lock), on_queue(), on_event(), on_stream()),
            *(on_socket(), on_child(), on_job(), on_future()),
        )

    profile = profiled(main, 5)
    due = {
        "on_sleep": "sleep",
        "on_lock": "lock",
        "on_queue": "lock",
        "on_event": "lock",
        "on_stream": "socket",
        "on_socket": "socket",
        "on_child": "process",
        "on_job": "lock",
        "on_future": "unknown",
    }
    for name, cause in due.items():
        found = profile.filter(thread=TASKS, function=f"*{name}").waits()
        assert found[cause] > 0.95 * sum(found.values()), (name, found)
        assert sum(found.values()) > 0.1e9, (name, found)


def test_a_task_that_runs_is_in_the_region_of_its_name() -> None:
    inside: dict[str, tuple[str, ...]] = {}

    async def job(seconds: float) -> None:
        with spprof.region("outer"):
            await asyncio.sleep(0.05)
            burn(seconds)
        burn(seconds)
        await asyncio.sleep(0.1)

    async def main() -> None:
        tasks = []
        for name, seconds in {"one": 0.05, "two": 0.1, "job": 0.03, "Task-77": 0.03}.items():
            tasks.append(asyncio.ensure_future(job(seconds)))
            tasks[-1].set_name(name)
        await asyncio.wait(tasks)

    profile = profiled(main, 5)
    burnt = profile.filter(function="burn", thread="MainThread")
    found = {r.labels["name"]: r for r in burnt.regions() if r.name == "task"}
    # What asyncio makes up is no name, nor what only says which function the task runs.
    assert set(found) == {"one", "two"}
    for name, region in found.items():
        inside[name] = region.path
    # It was in a region when it was met; that one is left, the task's own name stays.
    assert inside == {"one": ("task",), "two": ("task",)}
    one, two = (
        profile.filter(region="task", labels={"name": name}, function="burn").total_weight_ns
        for name in ("one", "two")
    )
    assert two > 1.3 * one > 0.05e9
    assert burnt.filter(region="outer").filter(region="task").samples


def test_tasks_are_in_no_region_of_ours_after_a_session() -> None:
    async def main() -> None:
        with spprof.Profiler(5, mode="wall"):
            task = asyncio.ensure_future(asyncio.sleep(0.2))
            task.set_name("mine")
            await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)
            assert _native.regions_entered() == 1
        assert _native.regions_entered() == 0
        await task

    asyncio.run(main())


def test_uvloop_is_looked_at_by_timers() -> None:
    uvloop = pytest.importorskip("uvloop")
    own = dict(vars(uvloop.Loop))

    async def main() -> None:
        await asyncio.gather(short(), long())
        burn(0.1)
        await asyncio.wait_for(short(), 10)

    with spprof.Profiler(5, mode="wall") as profiler:
        loop = uvloop.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    found = waits(profiler.profile)
    assert found.pop("main > short") == pytest.approx(slept["short"], rel=0.2, abs=0.03)
    assert found.pop("main > long > below_long") == pytest.approx(slept["below long"], abs=0.04)
    assert found.pop("main > long") == pytest.approx(slept["long"], abs=0.04)
    assert sum(found.values()) < 0.06
    assert dict(vars(uvloop.Loop)) == own
    functions = {frame.function_name for s in profiler.profile.samples for frame in s.frames}
    assert not any("_time_has_come" in name for name in functions)


def test_a_session_within_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> spprof.Profile:
        begun = asyncio.ensure_future(nap(0.3, "begun before"))
        await asyncio.sleep(0.01)
        with spprof.Profiler(5, mode="wall") as profiler:
            await nap(0.1)
        await begun
        return profiler.profile

    loop = uvloop.new_event_loop()
    found = waits(loop.run_until_complete(main()))
    loop.close()
    assert found["main"] == pytest.approx(slept["nap"], abs=0.04)


def test_pools_are_left_alone_after_a_session_and_jobs_keep_nothing_alive() -> None:
    submit = vars(ThreadPoolExecutor)["submit"]

    class Big:
        def __call__(self) -> int:
            return 3

    with ThreadPoolExecutor(1) as pool:
        with spprof.Profiler(mode="wall"), spprof.region("here"):
            job = Big()
            gone = weakref.ref(job)
            future = pool.submit(job)
            assert future.result() == 3
            with pytest.raises(TypeError, match="fn"):
                pool.submit()
            with pytest.raises(ZeroDivisionError):
                pool.submit(divmod, 1, 0).result()
            del job
            pool.submit(int).result()  # the worker has let go of the job before
            gc.collect()
            assert gone() is None
        assert vars(ThreadPoolExecutor)["submit"] is submit
    assert jobs._functions == {}


def test_a_task_that_begins_and_ends_sessions_is_in_one_region_of_its_name() -> None:
    async def main() -> None:
        for _ in range(3):
            with spprof.Profiler(5, mode="wall") as profiler:
                await asyncio.sleep(0.03)
                burn(0.03)
                await asyncio.sleep(0.03)
            paths = [region.path for region in profiler.profile.regions()]
            assert paths == [("task",)], paths
            assert _native.regions_entered() == 1

    async def named() -> None:
        task = asyncio.ensure_future(main())
        task.set_name("serves")
        await task

    asyncio.run(named())
