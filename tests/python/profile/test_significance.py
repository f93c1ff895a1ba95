"""What `diff` says of changes: seldom a false word, slowdowns found, one run or several."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

import spprof
from spprof import Frame, Profile, Sample
from spprof._profile.significance import Comparison, Run

_BENCH = Path(__file__).parents[2] / "bench" / "differences.py"
_SPEC = importlib.util.spec_from_file_location("differences", _BENCH)
assert _SPEC is not None
assert _SPEC.loader is not None
differences = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(differences)


def program(lasts: float = 0.5, **more) -> object:
    return differences.Program(1000, lasts, 0.02, **more)


def run(whole: int, samples: float = 1000, effect: float = 1.0, **shares: float) -> Run[str]:
    times = {name: round(share * whole) for name, share in shares.items()}
    return Run(whole, samples, times, dict.fromkeys(times, effect))


class TestRates:
    """A few of the simulated pairs of which tests/bench/differences.py prints a thousand."""

    @pytest.mark.parametrize("lasts", [0.5, 3.0])
    def test_equal_programs_seldom_raise_an_alarm(self, lasts) -> None:
        words, alarms = differences.compared(program(lasts), program(lasts), 60, 1, seed=4)
        # At most 5 % of many; of so few, two standard errors more.
        assert words <= 0.1
        assert alarms <= 0.05

    @pytest.mark.parametrize("function", [0, 5])
    def test_a_tenth_slower_is_found(self, function) -> None:
        slower = program(slower=differences.slowed(function, 0.2))
        words, alarms = differences.compared(program(), slower, 40, 1, seed=2)
        assert alarms >= 0.9
        assert words >= 0.85  # of so few

    @pytest.mark.parametrize(("growth", "found"), [(1.1, 0.92), (1 / 1.1, 0.85)])
    def test_words_find_what_changes_the_whole_by_a_tenth(self, growth, found) -> None:
        """Of the whole nothing is noise but the runs' speed, so no samples are needed."""
        rng = random.Random(1)

        def whole(factor: float) -> Run[str]:
            return run(round(factor * rng.gauss(1, 0.02) * 10**9), a=1.0)

        pairs = [Comparison([whole(1)], [whole(growth)], 0.02) for _ in range(4000)]
        assert sum(pair.whole_changed for pair in pairs) / len(pairs) >= found
        equal = [Comparison([whole(1)], [whole(1)], 0.02) for _ in range(4000)]
        assert 0.03 <= sum(pair.whole_changed for pair in equal) / len(equal) <= 0.05

    def test_several_runs_find_what_slows_all(self) -> None:
        everything = dict.fromkeys(range(len(differences.SHARES) + 1), 1.1)
        _, alarms = differences.compared(program(), program(slower=everything), 8, 5, seed=3)
        assert alarms >= 0.85
        _, alarms = differences.compared(program(), program(), 8, 5, seed=3)
        assert alarms == 0


class TestOneRunASide:
    def test_a_function_is_found_and_the_others_are_not_blamed(self) -> None:
        before = run(10**9, slow=0.1, other=0.6, third=0.3)
        after = run(int(1.2e9), slow=0.25, other=0.5, third=0.25)
        verdicts = Comparison([before], [after]).verdicts()
        assert verdicts["slow"].share_p < 0.001
        assert verdicts["slow"].time_p < 0.001
        # Their shares shrank as something else grew; their times are the same.
        assert verdicts["other"].time_p == 1
        assert verdicts["third"].time_p == 1

    def test_shares_do_not_see_what_slows_all(self) -> None:
        compared = Comparison([run(10**9, a=0.5, b=0.5)], [run(int(1.2e9), a=0.5, b=0.5)])
        assert compared.verdicts()["a"].share_p == 1
        assert compared.whole_changed
        assert [each.key for each in compared.slower(0.05)][:1] == [None]
        assert compared.slower(0.05, "share") == []

    def test_how_runs_differ_can_be_told(self) -> None:
        runs = [run(10**9, a=1.0)], [run(int(1.12e9), a=1.0)]
        assert Comparison(*runs, noise=0.01).slower(0.05)
        assert not Comparison(*runs, noise=0.1).slower(0.05)

    def test_little_is_allowed(self) -> None:
        runs = [run(10**9, 10**6, a=0.5, b=0.5)], [run(10**9, 10**6, a=0.53, b=0.47)]
        compared = Comparison(*runs)
        assert compared.verdicts()["a"].share_p < 1e-6
        assert compared.slower(0.05) == []
        assert [each.key for each in compared.slower(0.02)] == ["a"]

    def test_samples_in_a_row_count_for_less(self) -> None:
        def pair(effect: float) -> Comparison[str]:
            return Comparison(
                [run(10**9, effect=effect, a=0.5, b=0.5)],
                [run(10**9, effect=effect, a=0.62, b=0.38)],
            )

        assert pair(1.0).verdicts()["a"].share_p < 0.001
        assert pair(20.0).verdicts()["a"].share_p > 0.1

    def test_too_few_samples_say_nothing(self) -> None:
        compared = Comparison([run(10**9, a=1.0)], [run(10**9, a=0.995, b=0.005)])
        assert compared.verdicts()["b"].share_p == 1

    def test_more_functions_need_more_evidence(self) -> None:
        def p_of_first(functions: int) -> float:
            rest = {f"f{i}": 0.5 / functions for i in range(functions)}
            before = run(10**9, first=0.1, last=0.4, **rest)
            after = run(10**9, first=0.15, last=0.35, **rest)
            return Comparison([before], [after]).verdicts()["first"].share_p

        assert p_of_first(2) < p_of_first(20)

    def test_what_the_whole_needs_no_more_is_the_functions(self) -> None:
        """The same change of a share counts for more once the whole is known to have changed."""

        def p_of_share(whole_after: int) -> float:
            after = run(whole_after, a=0.4, b=0.6)
            return Comparison([run(10**9, a=0.3, b=0.7)], [after]).verdicts()["a"].share_p

        assert p_of_share(2 * 10**9) == pytest.approx(p_of_share(10**9) * 0.003 / 0.023)

    def test_nothing_at_all(self) -> None:
        compared = Comparison([run(0)], [run(10**9, a=1.0)])
        assert not compared.whole_changed
        assert compared.slower(0.05) == []

    def test_interval_of_the_change(self) -> None:
        # Newcombe 1998, table II: 56 of 70 and 48 of 80 differ by 0.2 (0.0524 to 0.3339).
        found = Comparison([run(10**9, 80, a=0.6)], [run(10**9, 70, a=0.8)]).verdicts()["a"]
        assert found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)

    @pytest.mark.parametrize("noise", [-0.1, 1.0, 5])
    def test_noise_that_is_none(self, noise) -> None:
        with pytest.raises(ValueError, match="noise is a share"):
            Comparison([run(1)], [run(1)], noise=noise)

    def test_wrong_questions(self) -> None:
        compared = Comparison([run(1)], [run(1)])
        with pytest.raises(ValueError, match="limit"):
            compared.slower(-0.1)
        with pytest.raises(ValueError, match="by must be"):
            compared.slower(0.1, "size")


class TestSeveralRuns:
    def test_runs_that_differ_anyhow_prove_nothing(self) -> None:
        before = [run(whole, a=1.0) for whole in (10**9, int(1.3e9), int(0.8e9))]
        after = [run(whole, a=1.0) for whole in (int(1.2e9), int(1.4e9), 10**9)]
        assert Comparison(before, after).slower(0.05) == []

    def test_runs_that_hardly_differ_do(self) -> None:
        before = [run(whole, a=1.0) for whole in (1000, 1004, 997)]
        after = [run(whole, a=1.0) for whole in (1101, 1098, 1104)]
        (found,) = Comparison(before, after).slower(0.05)
        assert found.key is None
        assert found.growth == pytest.approx(0.1, abs=0.005)

    def test_one_run_against_several(self) -> None:
        before = [run(whole, a=1.0) for whole in (1000, 1004, 997, 1001)]
        assert Comparison(before, [run(1300, a=1.0)]).slower(0.05)
        assert not Comparison(before, [run(1003, a=1.0)]).slower(0.0)


MAIN = Frame("main", "a.py", 1)


def profile(seed: int, parse: float, samples: int = 800) -> Profile:
    """A profile of `samples`, of which `parse` takes about that share."""
    from datetime import datetime, timedelta, timezone

    rng = random.Random(seed)
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    end = start + timedelta(milliseconds=samples)

    def sample(at: int) -> Sample:
        leaf = Frame("parse", "b.py", 2) if rng.random() < parse else Frame("work", "a.py", 5)
        return Sample(at * 1_000_000, 1, "t", [leaf, MAIN])

    return Profile(start, end, 1, map(sample, range(samples)))


class TestProfiles:
    def test_changes_and_noise_are_told_apart(self) -> None:
        diff = spprof.diff(profile(1, 0.3), profile(2, 0.5))
        entries = {d.functions[0]: d for d in diff.functions}
        assert entries["parse"].share_changed
        low, high = entries["parse"].interval
        assert low < 0.2 < high
        assert not entries["main"].changed
        assert "beyond noise" not in str(diff).splitlines()[0]
        same = spprof.diff(profile(1, 0.3), profile(2, 0.3))
        assert not any(d.changed for d in same.functions)
        lines = str(same).splitlines()
        assert lines[2] == "within noise:"
        assert all("(" in line for line in lines[3:])
        assert all(d.share_p is None and not d.changed for d in diff.stacks)

    def test_slower(self) -> None:
        before, after = profile(1, 0.3), profile(2, 0.5)
        ((entry, growth),) = spprof.diff(before, after).slower(0.05)
        assert entry is not None
        assert entry.functions == ("parse",)
        assert growth == pytest.approx(0.2, abs=0.06)
        assert spprof.diff(before, before).slower(0.0) == []

    def test_several_runs(self) -> None:
        before = [profile(seed, 0.3) for seed in range(3)]
        after = [profile(seed, 0.5) for seed in range(10, 13)]
        diff = spprof.diff(before, after)
        assert [len(side) for side in diff.runs] == [3, 3]
        # A side is the mean of its runs.
        assert diff.before.total_weight_ns == 800 * 10**6
        assert diff.before.sample_count == 2400
        assert {d.functions[0] for d in diff.functions if d.share_changed} == {"parse", "work"}
        assert "as they differ here" in str(diff)
        assert not any(d.changed for d in spprof.diff(before[:2], before[1:]).functions)

    def test_samples_in_no_order_are_said_to_be(self) -> None:
        one = profile(1, 0.3)
        assert "order of samples" not in str(spprof.diff(one, one))
        counted = one.aggregate()._for_output()
        assert "the order of samples is not known" in str(spprof.diff(counted, one))

    def test_sides_without_a_profile(self) -> None:
        with pytest.raises(ValueError, match="no profile after"):
            spprof.diff(profile(1, 0.3), [])

    def test_a_run_that_shared_its_processor_is_believed_less(self) -> None:
        def stretched(by: float) -> Profile:
            tables = profile(1, 0.3)._tables
            meta = tables.meta.but(
                duration_ns=round(tables.meta.duration_ns * by), weights="measured"
            )
            return Profile._of(tables.same_stacks(meta=meta))

        assert spprof.diff(stretched(1), stretched(1)).noise == 0.02
        assert spprof.diff(stretched(1), stretched(2)).noise == pytest.approx(0.25)
        assert spprof.diff(stretched(1), stretched(2), noise=0.03).noise == 0.03
