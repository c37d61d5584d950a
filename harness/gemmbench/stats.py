"""Intervals and verdicts. The unit of inference is the fresh process, not the iteration.

Blocks inside one process agree with each other far better than processes do (intervals from
iterations are up to 17 times too narrow), so with several processes each contributes one number
and Student's t over those gives the interval. With one process the interval is the order
statistic of its blocks and is labelled as such.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gemmbench.measurement import Measurement

CONFIDENCE = 0.95  # of the interval of a time
VERDICT_CONFIDENCE = 0.98  # of a difference: verdicts are looked at again after each process
WINNER_EFFECT = 0.01  # a lead below 1 % is called a tie even when it is certain
ONE_PROCESS_EFFECT = 0.03  # layout alone moves a process by 2-3 %, so one process proves no less
FEW_ROUNDS = 6  # below this many rounds of one process no order statistic reaches 95 %
PLAINLY_SLOWER = 2.0  # a rival never faster than this many times the best's median has lost
TIE_WIDTH = 0.05  # an interval within ±5 % that holds 0 is a tie, a wider one is undecided

VerdictKind = Literal["winner", "tie", "undecided", "none"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Seconds per call: the estimate, its 95 % interval, and what it rests on."""

    median: float
    low: float
    high: float
    minimum: float
    samples: int
    processes: int

    @property
    def within_process(self) -> bool:
        """Whether the interval speaks of one process only, and is therefore too narrow."""
        return self.processes == 1


@dataclass(frozen=True, slots=True)
class Effect:
    """How much slower B is than A: ln(B/A) with its 98 % interval, from `processes` processes."""

    estimate: float
    low: float
    high: float
    processes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who leads a race: indices into its contenders, and the lead over the next as ln ratio."""

    kind: VerdictKind
    leaders: tuple[int, ...] = ()
    margin: float | None = None
    low: float | None = None
    high: float | None = None


def summarize(measurement: Measurement) -> Summary:
    """Median seconds per call with a 95 % interval. Raises ValueError without samples."""
    if not measurement:
        raise ValueError("a measurement without samples has no statistics")
    calls = measurement.seconds_per_call()
    medians = process_medians(measurement)
    if len(medians) > 1:
        middle, low, high = mean_interval(np.log(medians))
        estimate, low, high = exp(middle), exp(low), exp(high)
    else:
        estimate = float(np.median(calls))
        low, high = median_interval(calls)
    return Summary(estimate, low, high, float(calls.min()), len(calls), len(medians))


def process_medians(measurement: Measurement) -> NDArray[np.float64]:
    """Median seconds per call of each fresh process, in the order of their numbers."""
    return np.array(
        [np.median(measurement.seconds_per_call(p)) for p in measurement.processes()],
        dtype=np.float64,
    )


def mean_interval(
    values: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Mean of at least two values and the ends of its interval by Student's t."""
    from scipy.stats import t as student

    n = len(values)
    mean = float(np.mean(values))
    half = float(student.ppf(0.5 + confidence / 2, n - 1)) * float(np.std(values, ddof=1)) / n**0.5
    return mean, mean - half, mean + half


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Order-statistic interval of the median: at least 95 %, or all values where too few.

    Source: the sign test inverted; David & Nagaraja, Order Statistics, section 7.1.
    """
    from scipy.stats import binom

    ordered = np.sort(values)
    n = len(ordered)
    rank = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
    return float(ordered[max(rank - 1, 0)]), float(ordered[min(n - rank, n - 1)])


def compare(a: Measurement, b: Measurement) -> Effect | None:
    """How much slower B is than A, from the processes and rounds that timed both; None without any.

    Rounds pair what the machine did to both; each process gives the median of its rounds' ln
    ratios, and the interval is taken over processes (over rounds where there is one process).
    """
    processes = [p for p in a.processes() if p in b.processes()]
    ratios = [r for r in (round_ratios(a, b, p) for p in processes) if len(r)]
    if not ratios:
        return None
    if len(ratios) == 1:
        few = len(ratios[0]) < FEW_ROUNDS
        low, high = (-inf, inf) if few else median_interval(ratios[0])
        return Effect(float(np.median(ratios[0])), low, high, 1)
    medians = np.array([np.median(r) for r in ratios])
    middle, low, high = mean_interval(medians, VERDICT_CONFIDENCE)
    return Effect(middle, low, high, len(ratios))


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    """The median of ratios, taken as logarithms, of the first of each pair to the second.

    None without pairs.
    """
    logs = [log(first / second) for first, second in pairs]
    return exp(median(logs)) if logs else None


def round_ratios(a: Measurement, b: Measurement, process: int) -> NDArray[np.float64]:
    """ln(B/A) of the seconds per call in each round in which `process` timed both."""
    first, second = (
        {s.round: s.seconds / s.loops for s in m.samples if s.process == process} for m in (a, b)
    )
    return np.array([log(second[r] / first[r]) for r in sorted(first) if r in second])


def judge(measurements: Sequence[Measurement]) -> Verdict:
    """The verdict over contenders that were raced together; empty measurements take no part."""
    order = sorted(
        (i for i, m in enumerate(measurements) if m),
        key=lambda i: summarize(measurements[i]).median,
    )
    if not order:
        return Verdict("none")
    best, rivals = order[0], order[1:]
    if not rivals:
        return Verdict("winner", (best,))
    effects = {i: compare(measurements[best], measurements[i]) for i in rivals}
    beaten = [i for i in rivals if _is_beaten(effects[i], measurements[best], measurements[i])]
    level = [i for i in rivals if i not in beaten]
    if level:
        kind: VerdictKind = "tie" if all(_is_level(effects[i]) for i in level) else "undecided"
        return _verdict(kind, (best, *level), effects[level[0]])
    return _verdict("winner", (best,), effects[rivals[0]])


def _is_beaten(effect: Effect | None, best: Measurement, rival: Measurement) -> bool:
    """Whether a rival is certainly slower, or so slow that few blocks are enough to know."""
    pace = float(np.median(best.seconds_per_call()))
    if float(np.min(rival.seconds_per_call())) > PLAINLY_SLOWER * pace:
        return True
    if effect is None:
        return False
    if effect.processes == 1:
        return effect.low > ONE_PROCESS_EFFECT
    return effect.low > 0 and effect.estimate > WINNER_EFFECT


def _is_level(effect: Effect | None) -> bool:
    return effect is not None and max(abs(effect.low), abs(effect.high)) <= TIE_WIDTH


def _verdict(kind: VerdictKind, leaders: tuple[int, ...], effect: Effect | None) -> Verdict:
    if effect is None:
        return Verdict(kind, leaders, inf)
    return Verdict(kind, leaders, effect.estimate, effect.low, effect.high)
