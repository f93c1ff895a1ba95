"""Statistics of cProfile: what was measured comes back, with who called whom."""

from __future__ import annotations

import cProfile
import marshal
import pstats
import random
from pathlib import Path
from typing import Any

import pytest

import spprof
from spprof._profile.model import loads
from spprof.formats import FormatError

FILE = "/home/me/a.py"


def statistics(functions: dict[str, tuple[float, float, dict[str, tuple[float, float]]]]) -> Any:
    """Own time, whole time, and both by caller, of functions of one file."""
    keys = {name: (FILE, number, name) for number, name in enumerate(functions, 1)}
    return {
        keys[name]: (1, 1, own, whole, {keys[c]: (1, 1, *times) for c, times in callers.items()})
        for name, (own, whole, callers) in functions.items()
    }


KNOWN = statistics(
    {
        "main": (1.0, 10.0, {}),
        "a": (2.0, 6.0, {"main": (2.0, 6.0)}),
        "b": (1.0, 3.0, {"main": (1.0, 3.0)}),
        "leaf": (6.0, 6.0, {"a": (4.0, 4.0), "b": (2.0, 2.0)}),
    }
)


def stacks_of(profile: spprof.Profile) -> dict[str, float]:
    return {
        ">".join(frame.function_name for frame in reversed(stack.frames)): stack.weight_ns / 1e9
        for stack in profile.aggregate().stacks
    }


@pytest.mark.parametrize("version", range(2, marshal.version + 1))
def test_who_called_whom_is_kept_in_every_version_of_the_file(version: int) -> None:
    profile = loads(marshal.dumps(KNOWN, version))
    assert stacks_of(profile) == {
        "main": 1, "main>a": 2, "main>b": 1, "main>a>leaf": 4, "main>b>leaf": 2,
    }  # fmt: skip
    assert profile.total_weight_ns == 10**10
    assert "hold no stacks" in " ".join(profile.notes)


def test_further_out_time_is_split_in_proportion() -> None:
    # 3 of 4 s of `shared` are a's: so are 3 of the 4 s of `deep`.
    split = statistics(
        {
            "a": (0.0, 3.0, {}),
            "b": (0.0, 1.0, {}),
            "shared": (0.0, 4.0, {"a": (0.0, 3.0), "b": (0.0, 1.0)}),
            "deep": (4.0, 4.0, {"shared": (4.0, 4.0)}),
        }
    )
    found = stacks_of(loads(marshal.dumps(split)))
    assert found == {"a>shared>deep": 3, "b>shared>deep": 1}


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def test_own_times_of_a_real_run_are_those_of_pstats(tmp_path: Path) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    fibonacci(15)
    [even(50) for _ in range(200)]
    sorted(range(10_000), key=lambda x: -x)
    profiler.disable()
    profiler.dump_stats(tmp_path / "out.pstats")
    profile = spprof.load(tmp_path / "out.pstats")
    said = pstats.Stats(str(tmp_path / "out.pstats")).stats
    own: dict[str, float] = {}
    for (_, _, name), (_, _, seconds, _, _) in said.items():
        own[name] = own.get(name, 0) + seconds
    seen = {s.function_name: s.self_ns / 1e9 for s in profile.top(None)}
    for name, seconds in own.items():
        assert seen.get(name, 0) == pytest.approx(seconds, abs=2e-6), name
    assert profile.total_weight_ns / 1e9 == pytest.approx(sum(own.values()), abs=1e-5)
    pairs = {
        (outer.function_name, inner.function_name)
        for sample in profile.samples
        for inner, outer in zip(sample.frames, sample.frames[1:])
    }
    assert ("<built-in method builtins.sorted>", "<lambda>") in pairs
    assert {("even", "odd"), ("odd", "even"), ("fibonacci", "fibonacci")} <= pairs
    kinds = {f.function_name: f.is_native for s in profile.samples for f in s.frames}
    assert kinds["<built-in method builtins.sorted>"]
    assert not kinds["fibonacci"]


def test_whatever_is_no_such_file_is_refused() -> None:
    data = marshal.dumps(KNOWN)
    rng = random.Random(1)
    for _ in range(3000):
        broken = bytearray(data[: rng.randrange(2, len(data))] if rng.random() < 0.3 else data)
        for _ in range(rng.randrange(3)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            profile = loads(bytes(broken))
        except FormatError:
            continue
        assert profile.tree() is not None
    for bad in (
        {(FILE, 1, "f"): (1, 1, float("nan"), 1.0, {})},
        {(FILE, 1, "f"): (1, 1, 1e300, 1.0, {})},
        {(FILE, 1, "f"): (1, 1, 0.5)},
        {(FILE, 1, "f"): (1, 1, 0.5, 0.5, {(FILE, 2, "g"): (1, 1, 0.5, 0.5)})},
        {(FILE, "1", "f"): (1, 1, 0.5, 0.5, {})},
    ):
        with pytest.raises(FormatError):
            loads(marshal.dumps(bad))
