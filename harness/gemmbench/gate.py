"""The statistics of the gate: looks, intervals, verdicts. Pure: numbers in, decisions out.

One value a process pair: the median over its slices of ln(head/base). Nothing inside a pair is a
sample, because slices of one pair agree up to 17 times better than pairs do.

- Few pairs first. At each look the layer may be flagged, settled, or given more pairs. The levels
  are spent over the looks, so that looking again is paid for: by Bonferroni's inequality the
  smallest of the looks' p-values, each divided by its share, is a p-value.
- Holm's step-down over those keeps the chance of any false flag in a suite.
- A flagged layer is measured again in new pairs, and only regresses if those alone say so too.
  They are looked at twice, each time at half of the confirmation's level: what five pairs do not
  confirm, ten may. By Bonferroni's inequality identical code passes it no oftener than at the
  whole level.
- The interval is Student's t over pairs with its level spent over all the ways in which the
  measuring may end, each of them one interval: after any look, or after any look that flagged and
  any look at the confirming pairs. So it covers whichever ends the measuring.

Sources: Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6;
Jennison & Turnbull 1989, Interim analyses: the repeated confidence interval approach, J. R.
Statist. Soc. B 51; Kalibera & Jones 2013, Rigorous benchmarking in reasonable time, ISMM.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf, log1p, nan

import numpy as np

from gemmbench.comparison import GateVerdict

MIN_EFFECT = 0.01  # a fraction: pairs of identical code differ by up to 0.5 % on average,
MAX_REGRESSION = 0.05  # and less than this is let through when it is certain
LOOKS = (5, 10, 20)  # process pairs after which is looked: 0.75, 1.5 and 3 s of measuring
CONFIRMING_LOOKS = (5, 10)  # the same, of the new pairs of a flagged layer: at most 4.7 s in all
SPENDING = (0.4, 0.2, 0.2, 0.2)  # of a level, by look; the last share is the confirmation's
LAYER_LEVEL = 0.01  # chance of a false flag on one layer, before the confirmation,
FAMILY_LEVEL = 0.05  # and of any in a suite
CONFIRMING_LEVEL = 0.05  # of all looks at the new pairs together, an equal share each
CONFIDENCE = 0.95
VISIBLE_POWER = 0.9  # how surely the smallest visible effect is flagged


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts, as fractions: 0.01 is 1 % slower."""

    min_effect: float = MIN_EFFECT
    max_regression: float = MAX_REGRESSION


@dataclass(frozen=True, slots=True)
class Reading:
    """What some pairs say at one look. Effects are ln(head/base)."""

    pairs: int
    estimate: float
    low: float
    high: float
    error: float  # standard error of the estimate
    p_slower: float  # one-sided, of this look alone
    p_faster: float
    share: float  # of any level, that may be spent here


@dataclass(frozen=True, slots=True)
class Screening:
    """How far a layer came: its pairs, and what the looks at them add up to."""

    values: tuple[float, ...] = ()
    looks: int = 0
    p_slower: float = 1.0  # over all looks so far
    p_faster: float = 1.0
    confirming: tuple[float, ...] = ()  # pairs taken after it was flagged


TakePairs = Callable[[int], Sequence[float]]
"""Measures that many more process pairs; fewer come back where the time is spent."""


def read(values: Sequence[float], share: float) -> Reading:
    """The estimate and its interval at confidence 1 - (1 - `CONFIDENCE`) * `share`.

    One pair says nothing of its error, so its interval is everything; without pairs it is NaN.
    """
    from scipy.stats import t as student

    n = len(values)
    if n == 0:
        return Reading(0, nan, nan, nan, nan, 1.0, 1.0, share)
    mean = float(np.mean(values))
    if n == 1:
        return Reading(1, mean, -inf, inf, inf, 1.0, 1.0, share)
    error = float(np.std(values, ddof=1)) / n**0.5
    half = float(student.isf((1 - CONFIDENCE) * share / 2, n - 1)) * error
    t = mean / error if error else inf * mean if mean else 0.0  # pairs may all read the same
    p_slower = float(student.sf(t, n - 1))
    return Reading(n, mean, mean - half, mean + half, error, p_slower, 1 - p_slower, share)


def smallest_visible(reading: Reading, level: float, thresholds: Thresholds) -> float:
    """The smallest slowdown, ln, that this many pairs of this spread call REGRESSED 9 times in 10.

    Three things must happen, which each may fail a third of what may be missed at all, so that by
    Bonferroni's inequality all of them do at least `VISIBLE_POWER` often: the first look does not
    settle it, screening at `level` is certain of it, and so is the confirmation, whose pairs
    spread alike and of which the last look is counted. Each estimate must exceed the least effect.
    """
    if reading.pairs < 2:
        return inf if reading.pairs else nan
    counts, spread = log1p(thresholds.min_effect), reading.error * reading.pairs**0.5
    return max(
        _seen(LOOKS[0], 0.5, spread, counts),
        _seen(reading.pairs, level * reading.share, spread, counts),
        _seen(CONFIRMING_LOOKS[-1], confirming_level(), spread, counts),
    )


def _seen(pairs: int, level: float, spread: float, counts: float) -> float:
    """The effect that is beyond 0 at `level`, and its estimate beyond `counts`, often enough."""
    from scipy.stats import t as student

    df, error = pairs - 1, spread / pairs**0.5
    often = 1 - (1 - VISIBLE_POWER) / 3
    certain = float(student.isf(level, df)) * error
    return float(max(certain, counts) + student.ppf(often, df) * error)


def judge(reading: Reading, thresholds: Thresholds, *, slower: bool, faster: bool) -> GateVerdict:
    """The verdict, in this order: REGRESSED, IMPROVED, OK, else UNDECIDED.

    `slower` and `faster` say on which side of 0 the pairs certainly are (the one-sided bound at
    the level of the whole procedure), which is not enough: the estimate must count, too, and no
    regression is shown with an interval that holds 0. Nor is it called OK: what was confirmed and
    counts is UNDECIDED then.
    """
    counts = log1p(thresholds.min_effect)
    if slower and reading.estimate > counts:
        return GateVerdict.REGRESSED if reading.low > 0 else GateVerdict.UNDECIDED
    if faster and reading.estimate < -counts:
        return GateVerdict.IMPROVED
    if reading.high < log1p(thresholds.max_regression):
        return GateVerdict.OK
    return GateVerdict.UNDECIDED


def screen(take: TakePairs, level: float, thresholds: Thresholds) -> Screening:
    """Look by look until the layer is flagged at `level`, settled, or out of pairs."""
    found = Screening()
    while found.looks < len(LOOKS):
        wanted = LOOKS[found.looks] - len(found.values)
        new = tuple(take(wanted))
        found = look_at(found, new)
        complete = len(new) == wanted
        if not complete or flagged(found, level, thresholds) or settled(found, thresholds):
            break
    return found


def look_at(found: Screening, new: Sequence[float]) -> Screening:
    """`found` after one more look, at `new` pairs too; no new pairs, no look."""
    if not new:
        return found
    values = (*found.values, *new)
    share = SPENDING[found.looks]
    reading = read(values, share)
    return Screening(
        values,
        found.looks + 1,
        min(found.p_slower, reading.p_slower / share),
        min(found.p_faster, reading.p_faster / share),
    )


def flagged(found: Screening, level: float, thresholds: Thresholds) -> bool:
    """Whether it looks like a regression: certain at `level`, and large enough to count."""
    estimate = float(np.mean(found.values)) if found.values else 0.0
    return found.p_slower <= level and estimate > log1p(thresholds.min_effect)


def settled(found: Screening, thresholds: Thresholds) -> bool:
    """Whether more pairs would teach nothing: no large regression, and not even suspicious.

    What seems slower by more than the least effect that counts is pursued, however certain it is
    that it is not a large regression.
    """
    reading = read(found.values, SPENDING[found.looks - 1])
    suspicious = reading.estimate > log1p(thresholds.min_effect)
    return not suspicious and reading.high < log1p(thresholds.max_regression)


def confirm(found: Screening, take: TakePairs, thresholds: Thresholds) -> Screening:
    """`found` with new pairs, taken only because it was flagged, until those alone confirm it."""
    for pairs in CONFIRMING_LOOKS:
        wanted = pairs - len(found.confirming)
        new = tuple(take(wanted))
        found = replace(found, confirming=(*found.confirming, *new))
        if len(new) < wanted or confirmed(found, thresholds):
            break
    return found


def confirmed(found: Screening, thresholds: Thresholds) -> bool:
    """Whether the new pairs alone say so too: beyond 0 at their level, and enough to count.

    Fewer than a first look say nothing: of pairs that fall into two kinds, two agree too often.
    """
    if len(found.confirming) < CONFIRMING_LOOKS[0]:
        return False
    reading = read(found.confirming, 1.0)
    certain = reading.p_slower <= confirming_level()
    return certain and reading.estimate > log1p(thresholds.min_effect)


def confirming_level() -> float:
    """The level of each look at the new pairs."""
    return CONFIRMING_LEVEL / len(CONFIRMING_LOOKS)


def final_reading(found: Screening) -> Reading:
    """All pairs of a layer together, at the share of the look that ended it.

    Any look may have flagged it, and either look at the new pairs may have ended it, each with
    other pairs in all. So after a confirmation the last share is divided among these ways to end:
    the union of all intervals that could be shown is paid for.
    """
    if found.confirming:
        ways = len(LOOKS) * len(CONFIRMING_LOOKS)
        return read((*found.values, *found.confirming), SPENDING[-1] / ways)
    return read(found.values, SPENDING[max(found.looks - 1, 0)])


def first_level(layers: int) -> float:
    """The level at which the likeliest of so many layers is tested."""
    return min(LAYER_LEVEL, FAMILY_LEVEL / max(layers, 1))


def holm(p_values: Sequence[float], layers: int | None = None) -> set[int]:
    """Indices of the p-values that Holm's step-down rejects, none above `LAYER_LEVEL`.

    `layers` is the size of the family where some of it is not among the p-values.
    """
    family = len(p_values) if layers is None else layers
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > first_level(family - step):
            break
        rejected.add(index)
    return rejected


@dataclass(slots=True)
class Suspects:
    """Holm over a suite whose layers are screened one after another.

    The first step's level needs no other layer, so most flags are raised at once; `late` finds
    those that only the later steps flag, when all layers are known.
    """

    layers: int
    found: dict[int, Screening] = field(default_factory=dict)
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = first_level(self.layers)

    def late(self, thresholds: Sequence[Thresholds]) -> Iterator[int]:
        """Layers beyond the first step's level that the later steps flag."""
        order = sorted(self.found)
        rejected = holm([self.found[i].p_slower for i in order], self.layers)
        for index in (order[position] for position in sorted(rejected)):
            one = self.found[index]
            if flagged(one, 1.0, thresholds[index]) and not flagged(
                one, self.level, thresholds[index]
            ):
                yield index
