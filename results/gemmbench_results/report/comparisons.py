"""What a check found, as a table and a summary in one sentence."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from gemmbench.aa import Visible
from gemmbench.comparison import Comparison, GateVerdict

SEVERITY = list(GateVerdict)
HEADERS = ("layer", "backend", "head / base", "95 % interval", "would see", "pairs", "verdict")
WORDS = {
    GateVerdict.REGRESSED: "slower",
    GateVerdict.UNDECIDED: "undecided",
    GateVerdict.IMPROVED: "faster",
    GateVerdict.OK: "no slower than allowed",
}
SUITE_WORDS = {
    "TOO_NOISY": "No verdict: a frozen kernel differs from itself, so the machine is too noisy. "
    "Try again when less runs on it.",
    "NO_BASELINE": "Nothing to compare with: there is no baseline yet.",
    "WRONG": "Head gives a wrong result.",
    "FAILED": "Head failed.",
}


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """One line a comparison, the worst first; '' without any."""
    if not comparisons:
        return ""
    by_severity = sorted(comparisons, key=lambda one: (SEVERITY.index(one.verdict), -_or_0(one)))
    rows = [
        (
            one.layer,
            one.backend,
            percent(one.estimate),
            f"{percent(one.low)} … {percent(one.high)}" if one.pairs > 1 else "?",
            f"≥ {percent(one.smallest_visible, sign=False)}" if one.pairs > 1 else "nothing",
            one.pairs,
            one.verdict,
        )
        for one in by_severity
    ]
    return tabulate(rows, HEADERS, disable_numparse=True)


def summary(verdict: str, comparisons: Sequence[Comparison]) -> str:
    """What all of it comes to, in one sentence or two."""
    if verdict in SUITE_WORDS:
        return SUITE_WORDS[verdict]
    counts = []
    for kind in SEVERITY:
        number = sum(one.verdict is kind for one in comparisons)
        if number:
            counts.append(f"{number} {WORDS[kind]}")
    return f"{verdict}: of {len(comparisons)} comparisons {', '.join(counts)}."


def visible_table(layers: Sequence[Visible]) -> str:
    """What the gate would see on each layer, by seconds of measuring; '' without any."""
    if not layers:
        return ""
    budgets = list(layers[0].by_budget)
    headers = ["layer", "backend", "spread of pairs", *(f"sees in {b:g} s" for b in budgets)]
    rows = [
        [
            one.layer,
            one.backend,
            percent(one.spread, sign=False),
            *(f"≥ {percent(one.by_budget[b], sign=False)}" for b in budgets),
        ]
        for one in layers
    ]
    return tabulate(rows, headers, disable_numparse=True)


def percent(effect: float, *, sign: bool = True) -> str:
    """'+4.2 %' of 0.042; '?' of what is not finite."""
    if not math.isfinite(effect):
        return "?"
    return f"{100 * effect:{'+' if sign else ''}.1f} %"


def _or_0(one: Comparison) -> float:
    return one.estimate if math.isfinite(one.estimate) else 0.0
