"""Which thread held the GIL while another one waited for it, from the times of samples alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from spprof import Profile
from spprof._profile.tables import GIL_HELD, WAITING, Builder, Meta, cause_bits

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
FOR_GIL = WAITING | cause_bits("gil")
MS = 1_000_000


def profile_of(*rows: tuple[str, str, int, int, int]) -> Profile:
    """Rows of thread, function, begin and end in ms, and state."""
    builder = Builder()
    for thread, function, begin, end, state in rows:
        pid = 2 if thread.startswith("other") else 1
        frames = [builder.func("main", "a.py"), builder.func(function, "a.py")]
        stack = builder.stack_of([builder.frame(func, 1) for func in frames])
        builder.row(
            builder.thread(ord(thread[-1]), thread, pid),
            stack,
            weight=(end - begin) * MS,
            time=end * MS,
            state=state,
        )
    builder.tables.meta = Meta.between(START, START + timedelta(seconds=1), mode="wall")
    return Profile._of(builder.tables)


def found(profile: Profile) -> list[tuple[str, str, str, int]]:
    return [
        (wait.waiter, wait.holder, wait.function, wait.ns // MS)
        for wait in profile.waits_for_whom()
    ]


def test_each_of_two_that_take_turns_waits_for_the_other() -> None:
    profile = profile_of(
        ("a", "parse", 0, 5, GIL_HELD),
        ("b", "send", 0, 5, FOR_GIL),
        ("b", "send", 5, 12, GIL_HELD),
        ("a", "parse", 5, 12, FOR_GIL),
    )
    assert found(profile) == [("a", "b", "send", 7), ("b", "a", "parse", 5)]
    stack = profile.waits_for_whom()[0].stack
    assert [frame.function_name for frame in stack] == ["send", "main"]


def test_several_holders_share_a_wait_by_their_time_in_it() -> None:
    profile = profile_of(
        ("a", "parse", 0, 10, FOR_GIL),
        ("b", "send", 0, 3, GIL_HELD),
        ("b", "recv", 3, 4, GIL_HELD),
        ("c", "draw", 4, 8, GIL_HELD),
        ("c", "draw", 9, 99, GIL_HELD | WAITING),  # waits for a processor, with the GIL
    )
    sums = found(profile)
    assert sums == [("a", "c", "draw", 5), ("a", "b", "send", 3), ("a", "b", "recv", 1)]
    assert sum(wait.ns for wait in profile.waits_for_whom()) == profile.waits()["gil"]


def test_a_thread_is_not_held_up_by_itself_nor_by_another_process() -> None:
    profile = profile_of(
        ("a", "parse", 0, 10, GIL_HELD),
        ("a", "parse", 5, 8, FOR_GIL),
        ("other b", "send", 0, 10, GIL_HELD),
        ("c", "draw", 8, 20, GIL_HELD),
        ("c", "draw", 0, 8, WAITING | cause_bits("lock")),
    )
    assert found(profile) == [("a", "", "", 3)]
    assert "a for nobody seen with it" in str(profile.waits_for_whom())


def test_long_and_short_spans_are_all_found() -> None:
    rows = [("b", f"f{i}", 2 * i, 2 * i + 1, GIL_HELD) for i in range(50)]
    profile = profile_of(*rows, ("c", "long", 0, 100, GIL_HELD), ("a", "x", 20, 30, FOR_GIL))
    assert {name for _, _, name, _ in found(profile)} == {"long", *(f"f{i}" for i in range(10, 15))}


def test_without_times_nobody_is_known() -> None:
    profile = profile_of(("a", "x", 0, 5, FOR_GIL), ("b", "y", 0, 5, GIL_HELD))
    profile._tables.sample_time[:] = type(profile._tables.sample_time)("q", [-1, -1])
    assert found(profile) == [("a", "", "", 5)]


def test_who_held_the_gil_is_in_the_summary() -> None:
    profile = profile_of(("a", "x", 0, 5, FOR_GIL), ("b", "y", 0, 5, GIL_HELD))
    assert "5.0 ms  a for b in y  a.py:1" in str(profile)
