"""How far shares and differences can be trusted: intervals that hold, tests of known answers."""

from __future__ import annotations

import random
from itertools import groupby
from math import inf, sqrt

import pytest

from spprof._profile import confidence


def runs_of(met: list[int]) -> tuple[list[int], list[int]]:
    """What was met, as runs of equal samples."""
    runs = [(value, len([*group])) for value, group in groupby(met)]
    return [value for value, _ in runs], [count for _, count in runs]


def effect(met: list[int]) -> float:
    """Design effect of what is met where the sequence is 1."""
    return confidence.design_effects([runs_of(met)], lambda stack: (stack,)).get(1, 1.0)


def chain(rng: random.Random, samples: int, share: float, correlation: float) -> list[int]:
    """Zeros and ones that go on as they are with some probability."""
    met, now = [], rng.random() < share
    for _ in range(samples):
        met.append(int(now))
        if rng.random() >= correlation:
            now = rng.random() < share
    return met


class TestEffectiveCount:
    def test_equal_weights_are_the_samples(self) -> None:
        assert confidence.effective_count([3, 2], [30, 20]) == pytest.approx(5)

    def test_unequal_weights_tell_less(self) -> None:
        # Kish: (1 + 1 + 8)**2 / (1 + 1 + 64)
        assert confidence.effective_count([1, 1, 1], [1, 1, 8]) == pytest.approx(100 / 66)

    def test_no_weights(self) -> None:
        assert confidence.effective_count([], []) == 0
        assert confidence.effective_count([4], [0]) == 4


class TestWilson:
    def test_known_values(self) -> None:
        # Brown, Cai and DasGupta 2001 give the formula; 3 of 10 by it.
        assert confidence.wilson(0.3, 10) == pytest.approx((0.1078, 0.6032), abs=1e-4)
        assert confidence.wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)

    def test_the_share_is_inside(self) -> None:
        for n in (0.5, 1, 7, 1e9):
            for share in (0, 1e-9, 0.3, 1):
                low, high = confidence.wilson(share, n)
                assert 0 <= low <= share <= high <= 1

    def test_nothing_known_of_no_samples(self) -> None:
        assert confidence.wilson(0.0, 0) == (0.0, 1.0)

    def test_wide_is_what_a_reader_should_know(self) -> None:
        assert confidence.is_wide(0.3, confidence.wilson(0.3, 100))
        assert not confidence.is_wide(0.3, confidence.wilson(0.3, 2000))
        assert not confidence.is_wide(1.0, confidence.wilson(1.0, 10))


class TestCoverage:
    """The interval is said to hold in 95 of 100 cases: it is tried out on 400 each."""

    CASES = 400

    def covered(self, share: float, make) -> float:
        held = 0
        for _ in range(self.CASES):
            met = make()
            low, high = confidence.wilson(sum(met) / len(met), len(met) / effect(met))
            held += low <= share <= high
        return held / self.CASES

    @pytest.mark.parametrize(
        ("samples", "share", "correlation"),
        [(100, 0.3, 0), (100, 0.05, 0), (300, 0.3, 0.5), (1000, 0.05, 0.8), (1000, 0.3, 0.9)],
    )
    def test_of_what_goes_on_for_some_samples(self, samples, share, correlation) -> None:
        rng = random.Random(11)
        held = self.covered(share, lambda: chain(rng, samples, share, correlation))
        # Estimating the correlation from the samples themselves costs a little.
        assert 0.91 <= held <= 0.995

    def test_independent_draws_would_promise_too_much(self) -> None:
        rng = random.Random(12)
        held = 0
        for _ in range(self.CASES):
            met = chain(rng, 1000, 0.3, 0.9)
            low, high = confidence.wilson(sum(met) / 1000, 1000)
            held += low <= 0.3 <= high
        assert held / self.CASES < 0.5

    def test_of_requests_of_one_length(self) -> None:
        rng = random.Random(13)

        def requests() -> list[int]:
            return [kind for _ in range(200) for kind in [int(rng.random() < 0.3)] * 5]

        assert self.covered(0.3, requests) >= 0.95


class TestDesignEffects:
    def test_a_plan_is_no_chance(self) -> None:
        loading_then_working = [1] * 300 + [0] * 700
        low, high = confidence.wilson(0.3, 1000 / effect(loading_then_working))
        assert high - low < 0.15

    def test_a_single_burst_tells_less_than_its_samples(self) -> None:
        scattered = ([1] + [0] * 32) * 30
        burst = [0] * 410 + [1] * 30 + [0] * 550
        assert effect(scattered) < 1.1
        assert effect(burst) > 5

    def test_threads_are_not_mixed(self) -> None:
        # One thread always waits, the other always works: alternating rows, and no chance.
        waiting, working = runs_of([1] * 500), runs_of([0] * 500)
        found = confidence.design_effects([waiting, working], lambda stack: (stack,))
        assert found == {1: 1.0, 0: 1.0}

    def test_functions_that_every_stack_has_do_not_change(self) -> None:
        rng = random.Random(1)
        runs = runs_of([rng.randrange(5) for _ in range(500)])
        found = confidence.design_effects([runs], lambda stack: ("main", stack))
        assert found["main"] == 1

    def test_bounded_whatever_the_profile(self) -> None:
        calls = 0

        def members(stack: int) -> tuple[int]:
            nonlocal calls
            calls += 1
            return (stack,)

        threads = [([*range(2000)], [1] * 2000) for _ in range(50)]
        confidence.design_effects(threads, members)
        assert calls < 40_000

    def test_nothing(self) -> None:
        assert confidence.design_effects([], lambda stack: (stack,)) == {}
        assert confidence.design_effects([([], [])], lambda stack: (stack,)) == {}


class TestTails:
    @pytest.mark.parametrize(
        ("statistic", "freedom", "probability"),
        # Tables of the normal and of Student's distribution.
        [
            (1.959964, inf, 0.025),
            (12.7062, 1, 0.025),
            (2.776445, 4, 0.025),
            (2.0, 10, 0.036694),
            (0.0, 3, 0.5),
            (-2.776445, 4, 0.975),
            (3.0, 1e6, 0.00135),
        ],
    )
    def test_known_values(self, statistic, freedom, probability) -> None:
        assert confidence.tail(statistic, freedom) == pytest.approx(probability, rel=1e-3)

    def test_both(self) -> None:
        assert confidence.both_tails(-2.776445, 4) == pytest.approx(0.05, rel=1e-3)
        assert confidence.both_tails(0.0) == 1
        assert confidence.both_tails(inf, 3) == 0

    def test_holm(self) -> None:
        assert confidence.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        assert confidence.holm([]) == []


class TestChanges:
    def test_two_proportions(self) -> None:
        # 40 of 100 and 60 of 100, Yates: (0.2 - 0.01) / sqrt(0.5 * 0.5 * 2 / 100)
        found = confidence.share_change(0.4, 0.6, 100, 100)
        assert found == pytest.approx(0.19 / sqrt(0.005))
        assert confidence.share_change(0.6, 0.4, 100, 100) == -found
        assert confidence.share_change(0.5, 0.5, 100, 100) == 0
        assert confidence.share_change(0.5, 0.5, 0, 100) == 0

    def test_times_of_runs_that_differ_in_speed(self) -> None:
        before, after = (0.5e9, 1e9, 1e6), (0.55e9, 1.1e9, 1e6)
        # So many samples leave nothing to chance but the speed of the runs.
        assert confidence.time_change(before, after, 0.0) > 20
        assert confidence.time_change(before, after, 0.05) < 2
        assert confidence.run_change(1.0, 1.1, 0.02) == pytest.approx(3.37, abs=0.01)
        assert confidence.run_change(1.0, 1.0, 0.0) == 0
        assert confidence.run_change(1.0, 1.1, 0.0) == inf

    def test_several_runs(self) -> None:
        # Worked by hand: means 10 and 13, variances 1 and 4, three runs each.
        t, freedom = confidence.welch([9, 10, 11], [11, 13, 15])
        assert t == pytest.approx(3 / sqrt(5 / 3))
        assert freedom == pytest.approx((5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2))

    def test_one_run_takes_the_others_variance(self) -> None:
        t, freedom = confidence.welch([10], [11, 13, 15])
        assert t == pytest.approx(3 / sqrt(4 + 4 / 3))
        assert freedom == 2
        with pytest.raises(ValueError, match="at least two runs"):
            confidence.welch([1], [2])

    def test_no_less_than_sampling_makes(self) -> None:
        t, _ = confidence.welch([10, 10], [11, 11], least=(2.0, 2.0))
        assert t == pytest.approx(1 / sqrt(2))
