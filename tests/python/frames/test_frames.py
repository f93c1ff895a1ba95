"""Which frames a sample shows, and on which line, whatever the interpreter's version keeps where.

Every stack and every line is checked, not the most frequent ones: a profiler that is right on
average is wrong. Runs on every supported interpreter and needs nothing but pytest.
"""

from __future__ import annotations

import asyncio
import functools
import math
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Callable

import pytest

import spprof
from spprof import Profile

HERE = __file__
QUALIFIED = sys.version_info >= (3, 11)  # before that, code objects only have the bare name
INLINED_COMPREHENSIONS = sys.version_info >= (3, 12)


def spin(seconds: float) -> None:
    """Use so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def profile_of(work: Callable[[], object], interval_ms: float = 0.5) -> Profile:
    with spprof.Profiler(interval_ms) as profiler:
        work()
    assert profiler.profile is not None
    return profiler.profile


def bare(name: str) -> str:
    """What every version knows of a qualified name."""
    return name.rpartition(".")[2]


class Below:
    """What a function called: bare names, outermost first, and the weight of each stack."""

    def __init__(self, profile: Profile, root: str) -> None:
        self.weights: Counter[tuple[str, ...]] = Counter()
        self.samples = 0
        for stack in profile.aggregate().stacks:
            names = [bare(f.function_name) for f in reversed(stack.frames)]
            if root in names:
                self.weights[tuple(names[names.index(root) + 1 :])] += stack.weight_ns or 0
                self.samples += stack.count

    def share(self, *names: str) -> float:
        """Share of the time in stacks that begin with these names."""
        below = sum(w for stack, w in self.weights.items() if stack[: len(names)] == names)
        return below / sum(self.weights.values())

    def complete(self) -> set[tuple[str, ...]]:
        """Stacks that are no part of longer ones: without the moments before and after a call."""
        return {
            stack
            for stack in self.weights
            if stack
            and not any(len(o) > len(stack) and o[: len(stack)] == stack for o in self.weights)
        }

    def check_shares(self, expected: dict[tuple[str, ...], float]) -> None:
        for names, share in expected.items():
            assert self.share(*names) == about(share, self.samples), names


def about(share: float, samples: int) -> Any:
    """Within five standard errors of that many samples, and what measuring itself costs."""
    assert samples > 30
    return pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / samples) + 0.02)


# --- shares and lines -----------------------------------------------------------------------------


def six_tenths(unit: float) -> None:
    spin(6 * unit)


def three_tenths(unit: float) -> None:
    spin(3 * unit)


def one_tenth(unit: float) -> None:
    spin(unit)


def test_known_shares_of_cpu_time_come_out() -> None:
    def work() -> None:
        for _ in range(100):
            six_tenths(0.001)
            three_tenths(0.001)
            one_tenth(0.001)

    Below(profile_of(work), "work").check_shares(
        {
            ("six_tenths", "spin"): 0.6,
            ("three_tenths", "spin"): 0.3,
            ("one_tenth", "spin"): 0.1,
        }
    )


def on_known_lines(big: range, small: range, never: bool = False) -> int:
    total = 0
    for _ in range(80):
        total += sum(big)  # 0.6
        if never:
            total += sum(small)  # never
        try:
            total += sum(
                small,  # args
            )
            raise KeyError
        except KeyError:
            total += sum(small)  # 0.1
        finally:
            total += sum(small)  # finally
        with_two = [
            sum(small),  # list
        ]
        total += with_two[0]
    return total


def line_of(function: Any, text: str) -> int:
    """The line of this file, in that function, which has the text."""
    first = function.__code__.co_firstlineno
    with open(HERE, encoding="utf-8") as source:
        lines = source.read().splitlines()
    return next(n for n in range(first, len(lines)) if text in lines[n - 1])


def test_every_sample_shows_the_line_that_runs() -> None:
    big, small = range(60_000), range(10_000)
    profile = profile_of(lambda: on_known_lines(big, small), 0.3)
    by_line: Counter[int] = Counter()
    samples = 0
    for stack in profile.aggregate().stacks:
        top = stack.frames[0]
        if top.function_name == "on_known_lines":
            assert top.filename == HERE
            by_line[top.lineno] += stack.weight_ns or 0
            samples += stack.count
    line = functools.partial(line_of, on_known_lines)
    total = sum(by_line.values())
    assert by_line[line("# 0.6")] / total == about(0.6, samples)
    assert by_line[line("# 0.1")] / total == about(0.1, samples)
    assert by_line[line("# finally")] / total == about(0.1, samples)
    assert by_line[line("# list")] / total == about(0.1, samples)
    # A call over several lines is on the line where it starts, or on that of its arguments.
    args = line("# args")
    assert (by_line[args] + by_line[args - 1]) / total == about(0.1, samples)
    assert by_line[line("# never")] == 0
    assert min(by_line) >= on_known_lines.__code__.co_firstlineno
    assert max(by_line) <= line("return total")


# fmt: off
def callers(unit: float) -> None:
    six_tenths(unit)
    for _ in range(2):
        three_tenths(
            unit
        )
    one_tenth(unit); (lambda: one_tenth(2 * unit))()  # noqa: E702


# fmt: on
def test_every_caller_is_on_the_line_of_its_call() -> None:
    def work() -> None:
        for _ in range(80):
            callers(0.0005)

    lines: dict[str, set[int]] = defaultdict(set)
    for stack in profile_of(work).aggregate().stacks:
        names = [bare(f.function_name) for f in stack.frames]
        if "callers" in names and names.index("callers") > 0:
            at = names.index("callers")
            lines[names[at - 1]].add(stack.frames[at].lineno)
    line = functools.partial(line_of, callers)
    assert lines["six_tenths"] == {line("six_tenths(unit)")}
    assert lines["three_tenths"] == {line("three_tenths(")}
    assert lines["one_tenth"] == {line("one_tenth(unit);")}
    assert lines["<lambda>"] == {line("one_tenth(unit);")}


# --- names ----------------------------------------------------------------------------------------


def decorated(function: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(function)
    def wrapper() -> None:
        function()

    return wrapper


class Outer:
    class Inner:
        def method(self) -> None:
            spin(0.02)

    @classmethod
    def of_class(cls) -> None:
        spin(0.02)

    @staticmethod
    def of_none() -> None:
        spin(0.02)

    @property
    def value(self) -> int:
        spin(0.02)
        return 1

    def __init__(self) -> None:
        spin(0.02)

    def __enter__(self) -> None:
        spin(0.02)

    def __exit__(self, *_: object) -> None:
        spin(0.02)

    def __getattr__(self, name: str) -> int:
        spin(0.02)
        return 1

    @decorated
    def plain() -> None:  # type: ignore[misc]
        spin(0.02)


def test_names_are_qualified_where_the_version_knows_them() -> None:
    def work() -> None:
        def local() -> None:
            spin(0.02)

        outer = Outer()
        Outer.Inner().method()
        Outer.of_class()
        Outer.of_none()
        assert outer.value == outer.unknown == 1
        with outer:
            pass
        Outer.__dict__["plain"]()
        local()
        (lambda: spin(0.02))()

    profile = profile_of(work)
    seen = {f.function_name for stack in profile.aggregate().stacks for f in stack.frames}
    here = f"{test_names_are_qualified_where_the_version_knows_them.__name__}.<locals>.work"
    expected = {
        "Outer.Inner.method",
        "Outer.of_class",
        "Outer.of_none",
        "Outer.value",
        "Outer.__init__",
        "Outer.__enter__",
        "Outer.__exit__",
        "Outer.__getattr__",
        "Outer.plain",
        "decorated.<locals>.wrapper",
        here,
        f"{here}.<locals>.local",
        f"{here}.<locals>.<lambda>",
    }
    assert (expected if QUALIFIED else {bare(name) for name in expected}) <= seen


# --- what calls what ------------------------------------------------------------------------------


def countdown(n: int) -> Iterator[int]:
    while n:
        spin(0.001)
        yield n
        n -= 1


def delegating(n: int) -> Iterator[int]:
    yield from countdown(n)


def consume(generator: Iterator[int]) -> int:
    return sum(generator)


def listen() -> Generator[None, Any, None]:
    while True:
        try:
            yield
        except KeyError:
            spin(0.001)


def listen_through() -> Generator[None, Any, None]:
    yield from listen()


class Slow:
    def __init__(self, value: int) -> None:
        spin(0.001)
        self.value = value

    def __lt__(self, other: Slow) -> bool:
        spin(0.001)
        return self.value < other.value

    def __del__(self) -> None:
        spin(0.001)


def slow_key(value: int) -> int:
    spin(0.001)
    return -value


def test_generators_callbacks_and_special_methods_are_below_who_runs_them() -> None:
    def work() -> None:
        for _ in range(12):
            consume(countdown(5))
            consume(delegating(5))
            sorted([1, 2, 3, 4, 5], key=slow_key)
            list(map(slow_key, (1, 2, 3, 4, 5)))
            functools.reduce(lambda a, b: slow_key(a), (1, 2, 3, 4, 5))
            sorted([Slow(2), Slow(1)])

    found = Below(profile_of(work), "work")
    expected = {
        ("consume", "countdown", "spin"): 5 / 29,
        ("consume", "delegating", "countdown", "spin"): 5 / 29,
        ("slow_key", "spin"): 10 / 29,
        ("<lambda>", "slow_key", "spin"): 4 / 29,
        ("__init__", "spin"): 2 / 29,
        ("__lt__", "spin"): 1 / 29,
        ("__del__", "spin"): 2 / 29,
    }
    assert found.complete() <= set(expected)
    found.check_shares(expected)


def test_an_exception_thrown_into_a_generator_is_handled_below_who_throws() -> None:
    # Not closed in there: the interpreter has no link to the outer one while it closes the inner.
    generator = listen_through()

    def work() -> None:
        next(generator)
        for _ in range(300):
            generator.throw(KeyError())

    # Until 3.9 the interpreter itself does not know who throws: the stack is marked as cut there.
    root = "work" if sys.version_info >= (3, 10) else "[truncated]"
    found = Below(profile_of(work), root)
    assert found.complete() == {("listen_through", "listen", "spin")}
    assert found.share("listen_through", "listen", "spin") > 0.9


async def leaf_coroutine() -> int:
    spin(0.001)
    return 1


async def middle_coroutine() -> int:
    return await leaf_coroutine() + await leaf_coroutine()


async def slow_items(n: int) -> AsyncIterator[int]:
    for i in range(n):
        spin(0.001)
        yield i


class AsyncContext:
    async def __aenter__(self) -> None:
        spin(0.001)

    async def __aexit__(self, *_: object) -> None:
        await leaf_coroutine()


async def consume_async() -> int:
    return sum([i async for i in slow_items(4)])


def test_coroutines_and_async_generators_are_below_who_awaits_them() -> None:
    async def everything() -> None:
        for _ in range(40):
            await middle_coroutine()
            await asyncio.sleep(0)
            async for _item in slow_items(2):
                pass
            await consume_async()
            async with AsyncContext():
                pass

    found = Below(profile_of(lambda: asyncio.run(everything())), "everything")
    comprehension = () if INLINED_COMPREHENSIONS else ("<listcomp>",)
    expected = {
        ("middle_coroutine", "leaf_coroutine", "spin"): 0.2,
        ("slow_items", "spin"): 0.2,
        ("consume_async", *comprehension, "slow_items", "spin"): 0.4,
        ("__aenter__", "spin"): 0.1,
        ("__aexit__", "leaf_coroutine", "spin"): 0.1,
    }
    # Python's own part in it: hooks of the loop for new async generators, asyncio.sleep.
    own = {"_asyncgen_firstiter_hook", "_asyncgen_finalizer_hook", "_remove", "sleep"}
    assert {s for s in found.complete() if not own & set(s)} <= set(expected)
    found.check_shares(expected)


def test_tasks_are_below_the_loop_that_runs_them_not_below_who_made_them() -> None:
    async def everything() -> None:
        for _ in range(40):
            await asyncio.gather(leaf_coroutine(), middle_coroutine())

    profile = profile_of(lambda: asyncio.run(everything()))
    Below(profile, "_run").check_shares(
        {
            ("leaf_coroutine", "spin"): 1 / 3,
            ("middle_coroutine", "leaf_coroutine", "spin"): 2 / 3,
        }
    )
    assert not any("leaf_coroutine" in stack for stack in Below(profile, "everything").weights)


def list_comprehension() -> list[None]:
    return [spin(0.001) for _ in range(50)]


def set_comprehension() -> set[None]:
    return {spin(0.001) for _ in range(50)}


def dict_comprehension() -> dict[int, None]:
    return {i: spin(0.001) for i in range(50)}


def generator_expression() -> list[None]:
    return list(spin(0.001) for _ in range(50))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (list_comprehension, "<listcomp>"),
        (set_comprehension, "<setcomp>"),
        (dict_comprehension, "<dictcomp>"),
        (generator_expression, "<genexpr>"),
    ],
)
def test_comprehensions_have_a_frame_exactly_where_the_version_gives_them_one(
    function: Callable[[], object], name: str
) -> None:
    own = name == "<genexpr>" or not INLINED_COMPREHENSIONS
    found = Below(profile_of(function), function.__name__)
    assert found.complete() == {(name, "spin") if own else ("spin",)}


def test_exec_eval_and_class_bodies_have_their_file_and_their_lines() -> None:
    source = textwrap.dedent(
        """
        spin(0.03)

        class Body:
            spin(0.03)

            class Inner:
                spin(0.03)

        def f():
            spin(0.03)
        f()
        """
    )

    def work() -> None:
        exec(compile(source, "made up.py", "exec"), {"spin": spin})
        eval("(spin(0.03), 1)")

    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for stack in profile_of(work).aggregate().stacks:
        top = next((i for i, f in enumerate(stack.frames) if f.function_name == "spin"), None)
        if top is not None and top + 1 < len(stack.frames):
            frame = stack.frames[top + 1]
            seen[frame.filename, bare(frame.function_name)].add(frame.lineno)
    assert seen == {
        ("made up.py", "<module>"): {2},
        ("made up.py", "Body"): {5},
        ("made up.py", "Inner"): {8},
        ("made up.py", "f"): {11},
        ("<string>", "<module>"): {1},
    }


# --- deep stacks ----------------------------------------------------------------------------------


def descend(depth: int) -> None:
    if depth:
        descend(depth - 1)
    else:
        spin(0.2)


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize("depth", [1500, 3000])
@pytest.mark.usefixtures("deep_recursion")
def test_deep_recursion_keeps_the_innermost_frames(depth: int) -> None:
    profile = profile_of(lambda: descend(depth), 2)
    deepest = [s for s in profile.samples if s.frames[0].function_name == "spin"]
    assert len(deepest) >= 20
    for sample in deepest:
        names = [f.function_name for f in sample.frames]
        if depth < 2000:
            assert names.count("descend") == depth + 1
            assert "[truncated]" not in names
        else:
            assert len(names) >= 2048 + 1
            assert names[-1] == "[truncated]"
            assert set(names[1:-1]) == {"descend"}


# --- no stack that never was ----------------------------------------------------------------------


def tiny(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


def a() -> int:
    return tiny(3)


def b() -> int:
    return tiny(5)


def via_a() -> int:
    return a()


def via_b() -> int:
    return b()


def items() -> Iterator[int]:
    for _ in range(3):
        yield tiny(2)


def via_generator() -> int:
    return sum(items())


def via_delegation() -> int:
    total = 0
    for value in relay():
        total += value
    return total


def relay() -> Iterator[int]:
    yield from items()


def via_map() -> list[int]:
    return list(map(tiny, (1, 2)))


class Point:
    def __init__(self, n: int) -> None:
        self.n = tiny(n)

    def method(self) -> int:
        return tiny(self.n)


def via_method() -> int:
    return Point(1).method()


def failing(n: int) -> int:
    if n:
        return failing(n - 1)
    raise KeyError


def via_error() -> int:
    try:
        return failing(2)
    except KeyError:
        return tiny(1)


async def co() -> int:
    return tiny(2)


def via_coroutine() -> int:
    try:
        co().send(None)
    except StopIteration as stop:
        return int(stop.value)
    return 0


POSSIBLE = {
    (),
    ("via_a",),
    ("via_a", "a"),
    ("via_a", "a", "tiny"),
    ("via_b",),
    ("via_b", "b"),
    ("via_b", "b", "tiny"),
    ("via_generator",),
    ("via_generator", "items"),
    ("via_generator", "items", "tiny"),
    ("via_delegation",),
    ("via_delegation", "relay"),
    ("via_delegation", "relay", "items"),
    ("via_delegation", "relay", "items", "tiny"),
    ("via_map",),
    ("via_map", "tiny"),
    ("via_method",),
    ("via_method", "__init__"),
    ("via_method", "__init__", "tiny"),
    ("via_method", "method"),
    ("via_method", "method", "tiny"),
    ("via_error",),
    ("via_error", "failing"),
    ("via_error", "failing", "failing"),
    ("via_error", "failing", "failing", "failing"),
    ("via_error", "tiny"),
    ("via_coroutine",),
    ("via_coroutine", "co"),
    ("via_coroutine", "co", "tiny"),
}


@pytest.mark.parametrize("samples", [3000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_stack_is_impossible_however_short_the_calls(samples: int) -> None:
    taken = failed = 0

    def alternate() -> None:
        nonlocal taken, failed
        while taken < samples:
            for _ in range(200):
                via_a()
                via_b()
                via_generator()
                via_delegation()
                via_map()
                via_method()
                via_error()
                via_coroutine()
            stats = spprof.stats()
            assert stats is not None
            taken, failed = stats.collected_samples, stats.failed_samples

    profile = profile_of(alternate, 0.2)
    impossible: Counter[tuple[str, ...]] = Counter()
    for stack in profile.aggregate().stacks:
        names = tuple(bare(f.function_name) for f in reversed(stack.frames))
        if "stats" in names or "alternate" not in names:
            continue
        below = names[names.index("alternate") + 1 :]
        if below not in POSSIBLE:
            impossible[below] += stack.count
    assert not impossible
    # Given up rather than guessed, where the interpreter was between two stores. The time of
    # such a sample goes to the next one.
    assert failed <= 0.005 * taken


# --- trampolines ----------------------------------------------------------------------------------


@pytest.mark.skipif(
    not getattr(sys, "activate_stack_trampoline", None), reason="no trampolines before 3.12"
)
def test_perf_trampolines_change_nothing() -> None:
    program = textwrap.dedent(
        """
        import sys, time, spprof
        try:
            sys.activate_stack_trampoline("perf")
        except ValueError as error:
            print("cannot:", error)
            sys.exit()
        def spin(seconds):
            end = time.thread_time() + seconds
            while time.thread_time() < end:
                pass
        def two(): spin(0.2)
        def one(): spin(0.1); two()
        with spprof.Profiler(1) as p:
            one()
        stacks = {}
        for s in p.profile.aggregate().stacks:
            names = [f.function_name for f in s.frames]
            if names[0] == "spin":
                chain = " ".join(names)  # of more than one line
                stacks[chain] = stacks.get(chain, 0) + s.weight_ns
        assert set(stacks) == {"spin one <module>", "spin two one <module>"}, stacks
        assert 1.5 < stacks["spin two one <module>"] / stacks["spin one <module>"] < 2.7, stacks
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    if result.stdout.startswith("cannot:"):
        pytest.skip(result.stdout)
    assert result.returncode == 0, result.stderr
