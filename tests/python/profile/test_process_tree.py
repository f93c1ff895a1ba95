"""The processes of a profile: who made whom, and choosing some."""

from __future__ import annotations

import os
from typing import Any

import pytest

from spprof import Profile
from spprof._profile import processes


def row(pid: int, ppid: int, profile_ns: int = 0, start_ns: int = 0, **more: Any) -> Any:
    return {
        "pid": pid,
        "host": "",
        "ppid": ppid,
        "command": "python work.py",
        "name": "",
        "start_ns": start_ns,
        "end_ns": None,
        "ended": "",
        "cpu_ns": None,
        "before_ns": 0,
        "after_ns": 0,
        "profiler_ns": 0,
        "profile_ns": profile_ns,
        **more,
    }


def drawn(rows: list[Any], n: int | None = None) -> list[tuple[int, int]]:
    return [(found.depth, found.pid) for found in processes.tree(rows, n)]


FAMILY = [row(1, 0, 5), row(2, 1, 10, 1), row(3, 1, 50, 2), row(4, 3, 1, 3), row(5, 4, 30, 4)]


def test_each_is_before_those_that_it_made_the_busiest_first() -> None:
    assert drawn(FAMILY) == [(0, 1), (1, 3), (2, 4), (3, 5), (1, 2)]


def test_of_few_each_is_below_the_nearest_that_is_there() -> None:
    assert drawn(FAMILY, 2) == [(0, 3), (1, 5)]
    assert drawn([]) == []


def test_a_number_that_was_used_again_is_another_process() -> None:
    rows = [row(1, 0), row(2, 1, 9, 1), row(3, 2, 5, 2), row(2, 1, 4, 3), row(6, 2, 3, 4)]
    assert drawn(rows) == [(0, 1), (1, 2), (2, 3), (1, 2), (2, 6)]


def test_machines_have_numbers_of_their_own() -> None:
    rows = [row(1, 0, 9), row(2, 1, 1, 1), row(3, 2, 1, 2, host="node7")]
    assert drawn(rows) == [(0, 1), (1, 2), (0, 3)]


def test_what_could_be_sampled_is_since_sampling_began() -> None:
    (found,) = processes.tree([row(1, 0, cpu_ns=100, before_ns=20, after_ns=5, profiler_ns=10)])
    assert (found.sampled_ns, found.outside_ns) == (70, 25)
    (unknown,) = processes.tree([row(1, 0)])
    assert unknown.sampled_ns is None


def test_a_process_is_chosen_by_number_or_name(make_profile) -> None:
    made = make_profile(20)._tables
    threads = [{**thread, "pid": 7 + at} for at, thread in enumerate(made.threads)]
    assert len(threads) > 1
    rows = (row(7, 1, name="Pool-1"), row(8, 7, name="Pool-2"))
    tables = made.same_stacks(meta=made.meta.but(processes=rows))
    tables.threads[:] = threads
    profile = Profile._of(tables)
    by_pid = profile.filter(process=8)
    assert {thread["pid"] for thread in by_pid._tables.threads} == {8}
    assert by_pid.sample_count == profile.filter(process="Pool-2").sample_count > 0
    assert profile.filter(process="Pool-*", thread=threads[0]["tid"]).sample_count == (
        profile.filter(process=7).sample_count
    )
    assert profile.filter(process=os.getpid()).sample_count == 0
    assert [process.name for process in profile.processes()] == ["Pool-1", "Pool-2"]


@pytest.mark.parametrize("n", [1, 3])
def test_the_summary_tells_what_starts_and_ends_took(make_profile, n) -> None:
    made = make_profile(20)._tables
    rows = tuple(
        row(pid, 1, 10**9, ended="exit status 0", cpu_ns=10**9, before_ns=40_000_000)
        for pid in range(2, 2 + n)
    )
    said = str(Profile._of(made.same_stacks(meta=made.meta.but(processes=rows))))
    assert f"{40 * n}.0 ms of CPU time were used before and after processes were sampled" in said
