"""`gemmbench aa`: the gate on identical code, on the machine at hand.

Whatever it flags is a false alarm, and every interval should hold 0. It says what the gate's
error rates are here, and what it could see for how much measuring.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import expm1

import numpy as np

from gemmbench.check_outcome import CheckOutcome
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.gate import LOOKS, SPENDING, Thresholds, first_level, read, smallest_visible

BUDGETS = (0.75, 1.5, 3.0)  # seconds of measuring: what the looks take where calls are short


@dataclass(frozen=True, slots=True)
class Visible:
    """What the gate sees on one layer: the spread of pairs, and by budget the smallest effect."""

    layer: str
    backend: str
    spread: float  # standard deviation of ln ratios of process pairs
    seconds_a_pair: float
    by_budget: dict[float, float]  # seconds of measuring -> fraction


@dataclass(slots=True)
class SelfTest:
    """Several checks of identical code."""

    outcomes: list[CheckOutcome] = field(default_factory=list)

    def comparisons(self) -> list[Comparison]:
        """All of them, check after check."""
        return [one for outcome in self.outcomes for one in outcome.comparisons]

    def false_alarms(self, verdict: GateVerdict = GateVerdict.REGRESSED) -> int:
        """Comparisons that were called different though the code is the same."""
        return sum(one.verdict is verdict for one in self.comparisons())

    def checks_with_alarm(self) -> int:
        """Checks in which anything was called slower."""
        return sum(
            any(one.verdict is GateVerdict.REGRESSED for one in outcome.comparisons)
            for outcome in self.outcomes
        )

    def covered(self) -> int:
        """Comparisons whose interval holds the truth, which is 0."""
        return sum(one.low <= 0 <= one.high for one in self.comparisons())

    def verdict(self) -> str:
        """OK; UNDECIDED if something was, or nothing was compared; TOO_NOISY after an alarm."""
        if self.false_alarms():
            return "TOO_NOISY"
        decided = [one.verdict is not GateVerdict.UNDECIDED for one in self.comparisons()]
        return "OK" if decided and all(decided) else "UNDECIDED"

    def visible(self, thresholds: Thresholds) -> list[Visible]:
        """What could be seen on each layer, from the spread of all its pairs together."""
        values: dict[tuple[str, str], list[float]] = {}
        seconds: dict[tuple[str, str], float] = {}
        for outcome in self.outcomes:
            for one, pairs in zip(outcome.comparisons, outcome.values, strict=True):
                key = (one.layer, one.backend)
                values.setdefault(key, []).extend(pairs)
                seconds[key] = seconds.get(key, 0.0) + one.seconds_measured
        level = first_level(len(values))
        return [
            _visible(*key, found, seconds[key] / len(found), level, thresholds)
            for key, found in values.items()
            if len(found) > 1
        ]


def repeat(
    check: Callable[[int], CheckOutcome], times: int, going_on: Callable[[], bool]
) -> SelfTest:
    """`check` that often, told which time it is; fewer where it is interrupted or time is up."""
    test = SelfTest()
    for number in range(times):
        if number and not going_on():
            break
        test.outcomes.append(check(number))
        if test.outcomes[-1].interrupted:
            break
    return test


def _visible(
    layer: str,
    backend: str,
    values: Sequence[float],
    seconds_a_pair: float,
    level: float,
    thresholds: Thresholds,
) -> Visible:
    spread = float(np.std(values, ddof=1))
    by_budget = {}
    for budget in BUDGETS:
        pairs = max(2, round(budget / seconds_a_pair))
        like = np.resize([-1.0, 1.0], pairs)  # as many pairs, with exactly this spread
        like *= spread / max(float(np.std(like, ddof=1)), 1e-12)
        by_budget[budget] = expm1(
            smallest_visible(read(list(like), _share(pairs)), level, thresholds)
        )
    return Visible(layer, backend, spread, seconds_a_pair, by_budget)


def _share(pairs: int) -> float:
    """The share of the level that the look has which so many pairs are enough for."""
    later = [share for look, share in zip(LOOKS, SPENDING, strict=False) if pairs <= look]
    return later[0] if later else SPENDING[len(LOOKS) - 1]
