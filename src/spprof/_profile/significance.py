"""Which changes from some runs to others are more than noise, and which are too much.

What is asked of `confidence`, function by function, and how the answers are taken together. Works
on times by key; must not know tables, nor what a key stands for.

The tests
---------
Three questions are asked, so that all that is said of two equal programs is wrong in at most 5 % of
comparisons: did the whole's time change; which shares did; which times did. The first has most of
that level: what slows a run down by a tenth is mostly seen by it, for the whole has no noise but
that of the runs' speed. Where the answer is yes, its part of the level is the other two's (a
Bonferroni graph: Bretz and others, 2009), since of those runs nothing more can be said wrongly of
the whole. Functions are tested together (Holm's method), those that were met by at least ten
effective samples on both sides together; of others nothing can be said.

- One run a side: a share is tested as two proportions, a time with the noise of sampling and
  that of the runs' speed, the whole with the latter alone. That noise cannot be seen in one run, so
  it is assumed: `RUN_NOISE`, or as told.
- Several runs of a side: Welch's t of the runs' shares and times (of the whole, their logarithms),
  with no less variance than sampling makes. Nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Generic, TypeVar

from .confidence import (
    both_tails,
    holm,
    run_change,
    share_change,
    tail,
    time_change,
    welch,
    wilson,
)

LEVEL = 0.05
# By how much the times of equal runs differ, as their standard deviation over their mean.
RUN_NOISE = 0.02
# What of LEVEL is the whole's where it is asked whether anything changed, for runs that take longer
# and for those that take less, and what is the shares', and the times', each. Of slowdowns by a
# tenth nine in ten and more are found, of runs that differ by RUN_NOISE: to miss one costs more.
_LONGER, _SHORTER, _CHANGE_OF_EACH = 0.0285, 0.0115, 0.003
# The whole's where it is asked whether anything takes too long: there half of what is wrong by
# chance is in the other direction.
_OF_WHOLE = 0.03
# Effective samples that met a function, both sides together, from which on it is tested.
_LEAST = 10

Key = TypeVar("Key")


@dataclass(frozen=True)
class Run(Generic[Key]):
    """What the tests need of one profile.

    Parameters
    ----------
    whole : int
        Time of all samples, in ns.
    samples : float
        Effective samples of the whole.
    times : mapping
        Time of each function, in ns.
    effects : mapping
        Their design effects; 1 where there is none.
    """

    whole: int
    samples: float
    times: Mapping[Key, int]
    effects: Mapping[Key, float]

    def time(self, key: Key) -> int:
        """Time of a function."""
        return self.times.get(key, 0)

    def share(self, key: Key) -> float:
        """Of the whole, 0 to 1."""
        return self.time(key) / self.whole if self.whole else 0.0


@dataclass(frozen=True)
class Statistic:
    """A change in standard errors, and the degrees of freedom of these (inf: known)."""

    value: float
    freedom: float = inf

    @property
    def either(self) -> float:
        """Probability of as large a change in either direction, were there none."""
        return both_tails(self.value, self.freedom)

    @property
    def larger(self) -> float:
        """Probability of as large a growth, were there none."""
        return tail(self.value, self.freedom)

    @property
    def smaller(self) -> float:
        """Probability of as large a decline, were there none."""
        return tail(-self.value, self.freedom)


@dataclass(frozen=True)
class Verdict:
    """What the tests say of one function.

    Parameters
    ----------
    share_p, time_p : float
        Probability of such a change of its share, or time, were there none; adjusted for all that
        is asked with it, so that below `LEVEL` it is one. 1 where it was met too seldom to be
        tested.
    interval : (float, float)
        Where the change of the share lies in 19 of 20 cases, -1 to 1.
    """

    share_p: float
    time_p: float
    interval: tuple[float, float]


class Comparison(Generic[Key]):
    """The tests of runs before and after.

    Parameters
    ----------
    before, after : sequence of Run
        At least one each.
    noise : float, optional
        See `RUN_NOISE`; without a meaning where there are several runs.

    Raises
    ------
    ValueError
        A noise that is negative, or no number of standard deviations.
    """

    def __init__(
        self, before: Sequence[Run[Key]], after: Sequence[Run[Key]], noise: float | None = None
    ) -> None:
        noise = RUN_NOISE if noise is None else noise
        if not 0 <= noise < 1:
            raise ValueError(f"noise is a share of a run's time, 0 to below 1 (0.02), not {noise}")
        self.before, self.after, self.noise = before, after, noise
        self.several = len(before) + len(after) > 2
        keys = dict.fromkeys(key for run in (*before, *after) for key in run.times)
        self._tested = [key for key in keys if self._is_met(key)]
        self.whole = self._whole()
        self._shares = [self._share(key) for key in self._tested]
        self._times = [self._time(key) for key in self._tested]

    def _is_met(self, key: Key) -> bool:
        effect = self._effect(key)
        runs = (*self.before, *self.after)
        return sum(run.share(key) * run.samples for run in runs) / effect >= _LEAST

    def _effect(self, key: Key) -> float:
        """The larger one of all runs: a side that hardly met it knows little of how it comes."""
        return max(run.effects.get(key, 1.0) for run in (*self.before, *self.after))

    def _sides(self, value: Callable[[Run[Key]], float]) -> list[list[float]]:
        return [[value(run) for run in side] for side in (self.before, self.after)]

    def _means(self, value: Callable[[Run[Key]], float]) -> list[float]:
        return [sum(side) / len(side) for side in self._sides(value)]

    def _whole(self) -> Statistic:
        wholes = self._sides(lambda run: run.whole)
        if not all(map(all, wholes)):
            return Statistic(0.0)
        if not self.several:
            return Statistic(run_change(wholes[0][0], wholes[1][0], self.noise))
        return self._welch(lambda run: log(run.whole), lambda run: 0.0)

    def _welch(
        self, value: Callable[[Run[Key]], float], least: Callable[[Run[Key]], float]
    ) -> Statistic:
        """Of a value of each run, which varies no less than sampling makes it."""
        before, after = self._sides(value)
        floors = self._means(least)
        return Statistic(*welch(before, after, (floors[0], floors[1])))

    def _share(self, key: Key) -> Statistic:
        effect = self._effect(key)
        if self.several:
            variance = self._variance(key) * effect
            return self._welch(
                lambda run: run.share(key), lambda run: variance / (run.samples or inf)
            )
        (old,), (new,) = self.before, self.after
        samples = old.samples / effect, new.samples / effect
        return Statistic(share_change(old.share(key), new.share(key), *samples))

    def _time(self, key: Key) -> Statistic:
        effect = self._effect(key)
        if self.several:
            variance = self._variance(key) * effect
            return self._welch(
                lambda run: run.time(key),
                lambda run: run.whole**2 * variance / (run.samples or inf),
            )
        old, new = (
            (run.time(key), run.whole, run.samples / effect)
            for run in (self.before[0], self.after[0])
        )
        return Statistic(time_change(old, new, self.noise))

    def _variance(self, key: Key) -> float:
        """Of one sample that may meet it."""
        runs = (*self.before, *self.after)
        pooled = sum(run.share(key) for run in runs) / len(runs)
        return pooled * (1 - pooled)

    @property
    def whole_changed(self) -> bool:
        """Whether the whole's time changed beyond noise."""
        return self.whole.larger < _LONGER or self.whole.smaller < _SHORTER

    def _adjusted(self, tests: Sequence[Statistic]) -> list[float]:
        """Probabilities of the changes of shares, or of times, with what else is asked in mind."""
        level = _CHANGE_OF_EACH + ((_LONGER + _SHORTER) / 2 if self.whole_changed else 0)
        return [min(1.0, p * LEVEL / level) for p in holm([each.either for each in tests])]

    def verdicts(self) -> dict[Key, Verdict]:
        """What the tests say of each function that was met."""
        shares = dict(zip(self._tested, self._adjusted(self._shares)))
        times = dict(zip(self._tested, self._adjusted(self._times)))
        keys = dict.fromkeys(key for run in (*self.before, *self.after) for key in run.times)
        return {
            key: Verdict(shares.get(key, 1.0), times.get(key, 1.0), self._interval(key))
            for key in keys
        }

    def _interval(self, key: Key) -> tuple[float, float]:
        """Newcombe's hybrid of both shares' intervals (1998), the runs of a side taken together."""
        effect = self._effect(key)
        old, new = self._means(lambda run: run.share(key))
        samples = (sum(side) / effect for side in self._sides(lambda run: run.samples))
        (old_low, old_high), (new_low, new_high) = map(wilson, (old, new), samples)
        change = new - old
        return (
            max(-1.0, change - ((new - new_low) ** 2 + (old_high - old) ** 2) ** 0.5),
            min(1.0, change + ((new_high - new) ** 2 + (old - old_low) ** 2) ** 0.5),
        )

    # What is too much

    def slower(self, limit: float, by: str = "time") -> list[Slower[Key]]:
        """Return what takes longer than allowed, beyond noise, most first; None is the whole.

        The chance that anything is returned of two equal programs is at most `LEVEL`.

        Parameters
        ----------
        limit : float
            Of the time of a run before, 0.05 for 5 %; by share, of the whole.
        by : {"time", "share"}
            By time: the whole run takes so much longer; or a function does, by so much of the
            run, and its share has grown beyond noise. By share: a function's share has grown by
            more than that, and how long runs take is nobody's business.

        Raises
        ------
        ValueError
            A limit below 0, or another `by`.
        """
        if limit < 0:
            raise ValueError(f"the limit is a share of the run's time from 0 on, not {limit}")
        if by not in ("time", "share"):
            raise ValueError(f'by must be "time" or "share", not {by!r}')
        found: list[Slower[Key]] = []
        whole, whole_after = self._means(lambda run: run.whole)
        level = LEVEL
        if by == "time":
            level -= _OF_WHOLE
            growth = whole_after / whole - 1 if whole else 0.0
            if growth > limit and self.whole.larger < _OF_WHOLE:
                found.append(Slower(None, growth, self.whole.larger))
        adjusted = holm([each.larger for each in self._shares])
        for key, p in zip(self._tested, adjusted):
            growth = self._growth(key, by)
            if growth > limit and p < level:
                found.append(Slower(key, growth, p))
        return sorted(found, key=lambda each: (each.key is not None, -each.growth))

    def _growth(self, key: Key, by: str) -> float:
        if by == "share":
            old, new = self._means(lambda run: run.share(key))
            return new - old
        old, new = self._means(lambda run: run.time(key))
        whole, _ = self._means(lambda run: run.whole)
        return (new - old) / whole if whole else 0.0


@dataclass(frozen=True)
class Slower(Generic[Key]):
    """The whole (key None) or a function that takes longer than allowed.

    Parameters
    ----------
    key : object or None
    growth : float
        Of the time of a run before, or of the whole by share.
    p : float
        Probability of as large a change, were there none; adjusted for what is tested with it.
    """

    key: Key | None
    growth: float
    p: float
