"""How much of its time a loop gives to looks at its tasks, in made-up ns."""

from __future__ import annotations

import pytest

from spprof._session.allowance import Allowance

SECOND = 1_000_000_000


def taken_in(seconds: float, working: float, look_ns: int) -> float:
    """The part of a loop's time that looks take which come as soon as they may, after the first."""
    allowance = Allowance()
    now = taken = since = 0
    while now < seconds * SECOND:
        worked = round((now - since) * working)
        rest, _ = allowance.spend(worked, now - since - worked, look_ns)
        since, now = now, now + max(rest, 10_000_000)
        taken += look_ns
    return (taken - 10_000_000) / now


@pytest.mark.parametrize("look_ns", [50_000, 400_000, 15_000_000])
@pytest.mark.parametrize("working", [0.0, 0.15, 0.5, 1.0])
def test_looks_take_little_of_the_time_in_which_a_loop_works(working, look_ns) -> None:
    due = working / 200 + (1 - working) / 1000
    taken = taken_in(300, working, look_ns)
    assert taken < due * 1.1 + look_ns / (300 * SECOND)
    if look_ns / 10_000_000 > due:  # not held back by the interval
        assert taken > due * 0.9 - look_ns / (300 * SECOND)


def test_what_was_not_taken_is_kept_but_not_for_ever() -> None:
    allowance = Allowance()
    assert allowance.spend(3600 * SECOND, 0, 10_000_000) == (0, 0)
    rest, idle = allowance.spend(0, SECOND, 2_000_000)
    # A second of idleness earned one millisecond of the two.
    assert (rest, idle) == (SECOND, SECOND)


def test_a_loop_that_is_never_idle_is_not_asked_to_be() -> None:
    allowance = Allowance()
    assert allowance.spend(SECOND, 0, 20_000_000) == (2 * SECOND, 0)


def test_a_look_right_after_the_one_before_has_to_wait() -> None:
    allowance = Allowance()
    assert allowance.spend(0, 0, 11_000_000) == (SECOND, SECOND)
