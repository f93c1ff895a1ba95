"""How far what was sampled can be trusted: intervals of shares, and whether two sides differ.

Pure functions over counts, weights and orders of samples. Must not know tables, names, or what a
share is of.

The model
---------
A function's share is a mean over samples, each of which met the function or did not. Three things
make its error other than that of so many independent draws:

- Samples weigh what a thread's clock advanced, so some weigh more. `effective_count` is the number
  of equal ones that would tell as much: ``(sum w)**2 / sum w**2`` (Kish, Survey Sampling, 1965).
- Samples follow each other. What goes on for several of them in a row tells less than as many
  apart. The number of changes between "met" and "not met" is compared with what the same samples
  in random order would show (Wald and Wolfowitz 1940), which gives the correlation r from sample to
  sample of a first-order chain; its mean has the variance of independent draws times
  ``(1 + r) / (1 - r)``.
- A program has a plan: it loads, then it works. That is no chance, and a second run does the same.
  So a thread's samples are divided into up to 20 windows of equal length, and what counts is how
  samples differ within a window, as with systematic samples of a population with a trend (Wolter,
  Introduction to Variance Estimation, 2nd edition 2007, chapter 8). What a chain of correlation r
  shows within a window is known (Bartlett 1946), and r is the one that shows what was seen.

`design_effects` puts the last two into one number by which independent samples would have to be
divided. It is at least 1: more than the samples that there are is never claimed. Whether what
changes more slowly than a twentieth of the run is plan or chance, only several runs can tell.

The interval is that of Wilson (1927) for so many effective samples. It holds in 19 of 20 cases,
as `tests/python/profile/test_confidence.py` tries out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from math import ceil, erfc, exp, inf, lgamma, log, log1p, sqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

LEVEL = 0.95
_Z = 1.959963984540054  # of LEVEL, both sides

# Windows of a thread, and the fewest samples that one has.
_WINDOWS, _LEAST = 20, 25
# The most windows that are looked at, and runs from the beginning of each: an hour of samples takes
# no longer than these.
_MOST_WINDOWS, _MOST_RUNS = 40, 200

# An interval is said where it reaches further to one side than so many hundredths of the whole.
WIDE = 0.05


def effective_count(counts: Iterable[int], weights: Iterable[int]) -> float:
    """The number of equal samples that tell as much as these; the samples of a run are equal.

    Parameters
    ----------
    counts, weights : iterable of int
        Of each run, the number of its samples and the sum of their weights.
    """
    number, whole, squares = 0, 0, 0.0
    for count, weight in zip(counts, weights):
        number += count
        whole += weight
        squares += weight * weight / count
    return min(number, whole * whole / squares) if squares else float(number)


def wilson(share: float, effective: float) -> tuple[float, float]:
    """The interval (0 to 1) of a share that was found in so many effective samples."""
    if effective <= 0:
        return 0.0, 1.0
    part = _Z * _Z / effective
    middle = (share + part / 2) / (1 + part)
    reach = _Z * sqrt(share * (1 - share) / effective + part / (4 * effective)) / (1 + part)
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def is_wide(share: float, interval: tuple[float, float]) -> bool:
    """Whether a reader should be told of this interval; of all and of nothing there is none."""
    return 0 < share < 1 and max(share - interval[0], interval[1] - share) > WIDE


def design_effects(
    sequences: Iterable[tuple[Sequence[int], Sequence[int]]],
    members: Callable[[int], Collection[Any]],
) -> dict[Any, float]:
    """By how much fewer independent samples would tell as much, of each that is met; at least 1.

    Parameters
    ----------
    sequences : iterable of (sequence of int, sequence of int)
        Of each thread, in order of time: what each run of equal samples met, and how many they
        are.
    members : callable
        Returns all that is met where a run met this: a stack's functions, without repetition.
    """
    seen: dict[Any, int] = {}  # samples that met it
    varied: dict[Any, float] = {}  # sum over windows of c (n - c) / (n - 1)
    expected: dict[Any, float] = {}  # changes, were the samples of a window in random order
    changes: dict[Any, int] = {}
    whole = windows = 0
    pairs: dict[tuple[int, int], set[Any]] = {}
    for window in _windows(sequences):
        size = sum(count for _, count in window)
        whole += size
        windows += 1
        of_stack: dict[int, int] = {}
        before = -1
        for stack, count in window:
            of_stack[stack] = of_stack.get(stack, 0) + count
            if before >= 0 and before != stack:
                pair = before, stack
                if pair not in pairs:
                    pairs[pair] = {*members(before)}.symmetric_difference(members(stack))
                for each in pairs[pair]:
                    changes[each] = changes.get(each, 0) + 1
            before = stack
        met: dict[Any, int] = {}
        for stack, count in of_stack.items():
            for each in members(stack):
                met[each] = met.get(each, 0) + count
        for each, count in met.items():
            seen[each] = seen.get(each, 0) + count
            mixed = count * (size - count)
            if mixed:
                varied[each] = varied.get(each, 0.0) + mixed / (size - 1)
                expected[each] = expected.get(each, 0.0) + 2 * mixed / size
    effects = dict.fromkeys(seen, 1.0)
    if varied:
        chain = _Chain(whole / windows)
        for each, amount in varied.items():
            independent = seen[each] * (whole - seen[each]) / whole
            effect = chain.effect(changes[each] / expected[each])
            effects[each] = max(1.0, amount / independent * effect)
    return effects


class _Chain:
    """What chains of 0 and 1 show within windows of some length, by their correlation."""

    _STEPS = 60

    def __init__(self, length: float) -> None:
        # Of longer correlation than half a window nothing can be said.
        most = max(0.0, (length - 2) / (length + 2))
        self._rates: list[float] = []
        self._effects: list[float] = []
        for step in range(self._STEPS + 1):
            # From the strongest on, so that rates grow.
            r = most * (1 - step / self._STEPS)
            long = (1 + r) / (1 - r)
            of_mean = long - 2 * r * (1 - r**length) / (length * (1 - r) ** 2)
            within = 1 - (of_mean - 1) / (length - 1) if length > 1 else 1.0
            self._rates.append((1 - r) / within)
            self._effects.append(long / within)

    def effect(self, rate: float) -> float:
        """By how much a mean varies more than what varies within windows tells by itself.

        Parameters
        ----------
        rate : float
            Changes, over those that the same samples would show in random order.
        """
        return self._effects[min(bisect_left(self._rates, rate), self._STEPS)]


def _windows(
    sequences: Iterable[tuple[Sequence[int], Sequence[int]]],
) -> Iterator[list[tuple[int, int]]]:
    """Yield windows as (what was met, samples); runs are cut where a window begins or ends."""
    bounds = []
    for runs, counts in sequences:
        ends = [*accumulate(counts)]
        size = ends[-1] if ends else 0
        length = ceil(size / max(1, min(_WINDOWS, size // _LEAST)))
        bounds += [(runs, ends, at, min(at + length, size)) for at in range(0, size, length or 1)]
    for runs, ends, begin, end in bounds[:: max(1, ceil(len(bounds) / _MOST_WINDOWS))]:
        row = bisect_right(ends, begin)
        window: list[tuple[int, int]] = []
        while begin < end and len(window) < _MOST_RUNS:
            until = min(ends[row], end)
            window.append((runs[row], until - begin))
            begin = until
            row += 1
        yield window


# Two sides


def share_change(
    before: float, after: float, effective_before: float, effective_after: float
) -> float:
    """How many standard errors a share changed by, were it none: the z of two proportions.

    Pooled, with Yates's correction for continuity, which keeps it honest where samples are few.
    """
    n, m = effective_before, effective_after
    if n <= 0 or m <= 0:
        return 0.0
    pooled = (before * n + after * m) / (n + m)
    return _over(after - before, (1 / n + 1 / m) / 2, pooled * (1 - pooled) * (1 / n + 1 / m))


def time_change(
    before: tuple[float, float, float], after: tuple[float, float, float], noise: float
) -> float:
    """How many standard errors a time changed by, were it none.

    Parameters
    ----------
    before, after : tuple of float
        The time, the whole's time, and the whole's effective samples.
    noise : float
        By how much the speed of whole runs differs: its standard deviation over its mean.
    """
    (old, whole_old, n), (new, whole_new, m) = before, after
    if n <= 0 or m <= 0 or not whole_old + whole_new:
        return 0.0
    pooled = (old + new) / (whole_old + whole_new)
    sampled = pooled * (1 - pooled) * (whole_old**2 / n + whole_new**2 / m)
    between = 2 * (noise * (old + new) / 2) ** 2
    return _over(new - old, (whole_old / n + whole_new / m) / 2, sampled + between)


def _over(change: float, correction: float, variance: float) -> float:
    amount = max(0.0, abs(change) - correction)
    if amount == 0:
        return 0.0
    errors = amount / sqrt(variance) if variance > 0 else inf
    return errors if change > 0 else -errors


def run_change(before: float, after: float, noise: float) -> float:
    """The same for the times of one whole run before and after; `noise` as in `time_change`."""
    if before <= 0 or after <= 0:
        return 0.0
    change = log(after / before)
    if noise <= 0:
        return inf if change > 0 else -inf if change < 0 else 0.0
    return change / (noise * sqrt(2))


def welch(
    before: Sequence[float], after: Sequence[float], least: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Welch's t of several runs before and after, and its degrees of freedom (Satterthwaite's).

    Parameters
    ----------
    before, after : sequence of float
        At least three values together. A side of one value is given the other's variance.
    least : tuple of float
        The variances of one value a side that sampling alone makes: what is found is no less.
    """
    sides = before, after
    means = [sum(side) / len(side) for side in sides]
    variances = [
        sum((value - mean) ** 2 for value in side) / (len(side) - 1) if len(side) > 1 else None
        for side, mean in zip(sides, means)
    ]
    known = [variance for variance in variances if variance is not None]
    if not known:
        raise ValueError("the variance between runs takes at least two runs of one side")
    of_mean, freedom = [], 0.0
    for side, variance, floor in zip(sides, variances, least):
        at_least = max(known[0] if variance is None else variance, floor) / len(side)
        of_mean.append(at_least)
        if variance is not None:
            freedom += at_least**2 / (len(side) - 1)
    error = sum(of_mean)
    change = means[1] - means[0]
    most = float(sum(len(side) - 1 for side in sides))
    if error <= 0:
        return (0.0 if change == 0 else inf if change > 0 else -inf), most
    return change / sqrt(error), min(most, error**2 / freedom) if freedom else most


def tail(statistic: float, freedom: float = inf) -> float:
    """Probability of so large a value or a larger one: of the normal distribution, or Student's."""
    if statistic == -inf:
        return 1.0
    if freedom == inf or abs(statistic) == inf:
        return 0.5 * erfc(statistic / sqrt(2))
    half = 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + statistic * statistic))
    return half if statistic > 0 else 1 - half


def both_tails(statistic: float, freedom: float = inf) -> float:
    """Probability of a value as far from 0, to either side."""
    return min(1.0, 2 * tail(abs(statistic), freedom))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized one, by its continued fraction (DLMF 8.17.22) from the front (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where it converges slowly
        return 1 - _incomplete_beta(b, a, 1 - x)
    numerator = 1.0
    value = denominator = 1 / (1 - (a + b) * x / (a + 1))
    for step in range(2, 400):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / (1 + term * denominator)
        numerator = 1 + term / numerator
        value *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-14:
            break
    return value * exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust several probabilities for being several (Holm 1979), in their own order.

    The chance that any of those that are truly none falls below a level is at most that level.
    """
    order = sorted(range(len(probabilities)), key=probabilities.__getitem__)
    adjusted = [1.0] * len(probabilities)
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, probabilities[at] * (len(order) - rank)))
        adjusted[at] = highest
    return adjusted
