"""What a check found, in words and as a table: for a terminal, or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from gemmbench.aa import Visible
from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.trial import TrialState
from gemmbench.ways import Refusal
from gemmbench_results.report.render import TextFormat, prose, table_text

NOT_MEASURED = "not measured"
COLUMNS = {
    "layer": "left",
    "backend": "left",
    "change": "right",
    "95 % interval": "left",
    "verdict": "left",
    "would see": "right",
    "pairs": "right",
    "seconds": "right",
}
FOOTNOTE = (
    "change: head against base, + is slower; would see: the smallest slowdown that these pairs "
    "call a regression 9 times in 10; pairs: of fresh processes"
)
WORDS = {
    GateVerdict.REGRESSED: "slower",
    GateVerdict.UNDECIDED: "undecided",
    GateVerdict.IMPROVED: "faster",
    GateVerdict.OK: "no slower than allowed",
}
BROKE = (TrialState.WRONG, TrialState.FAILED)
NAMED = (GateVerdict.REGRESSED, GateVerdict.IMPROVED)  # with their layers, up to
MOST_NAMED = 3
SUITE_WORDS = {
    "TOO_NOISY": "No verdict: a frozen kernel differs from itself, so the machine is too noisy. "
    "Try again when less runs on it.",
    "NO_BASELINE": "Nothing to compare with: there is no baseline yet.",
    "WRONG": "Head gives a wrong result.",
    "FAILED": "Head failed.",
}
BROKEN_BASE = "Nothing was compared: base is wrong or fails. Compare with one that works."
NONE_IN_COMMON = (
    "Nothing was compared: head computes none of these layers as base does. Choose others with "
    "--only, or other backends or algorithms."
)
WHAT_TO_DO = (
    "To decide, raise --budget if one is set; else the machine is too noisy: see gemmbench doctor."
)
NOT_IN_TIME = "Nothing was measured in time. Raise --budget."


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a reader is told of one check, whatever the format.

    `notes` are sentences that are good to know; nothing in them is a reason to act.
    """

    suite: str
    comparisons: Sequence[Comparison]
    verdict: str  # of the whole, such as TOO_NOISY, which no layer has
    refusals: Sequence[Refusal] = ()
    notes: Sequence[str] = ()


def report_text(report: CheckReport, *, format: TextFormat = "table") -> str:  # noqa: A002
    """A sentence, a table with the worst first, what was not compared, and the notes."""
    parts = [prose(headline(report), format)]
    if report.comparisons:
        rows = [_row(one) for one in by_severity(report.comparisons)]
        parts += [table_text(COLUMNS, rows, format), FOOTNOTE]
    parts += [prose(refusal_sentence(one), format) for one in report.refusals]
    parts += [prose(note, format) for note in report.notes]
    return "\n\n".join(parts)


def headline(report: CheckReport) -> str:
    """As 'REGRESSED: 1 of 8 slower: conv2 (numba) +6.2 %; 7 no slower than allowed.'."""
    said = SUITE_WORDS.get(report.verdict, "")
    if not any(measured(one) for one in report.comparisons):
        return f"{report.verdict}: {_why_nothing(report) or said}"
    remedy = WHAT_TO_DO if report.verdict == "UNDECIDED" else ""
    told = filter(None, [said, summary_sentence(report.comparisons), remedy])
    return f"{report.verdict}: {' '.join(told)}"


def _why_nothing(report: CheckReport) -> str:
    """Why nothing was compared, and what to do; '' where the verdict says it."""
    if report.comparisons:
        return NOT_IN_TIME if report.verdict == "UNDECIDED" else ""
    if report.verdict == "NO_BASELINE":
        broke = any(one.side == "base" and one.state in BROKE for one in report.refusals)
        return BROKEN_BASE if broke else ""
    return NONE_IN_COMMON if report.verdict == "UNDECIDED" else ""


def by_severity(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The worst verdicts first, and among equals the largest change; unmeasured ones last."""
    order = list(GateVerdict)

    def severity(one: Comparison) -> tuple[int, float]:
        size = abs(one.estimate) if isfinite(one.estimate) else -1.0
        return order.index(one.verdict), -size

    return sorted(comparisons, key=severity)


def summary_sentence(comparisons: Sequence[Comparison]) -> str:
    """As '1 of 8 slower: conv2 (numba) +6.2 %; 1 undecided; 6 no slower than allowed.'."""
    clauses: list[str] = []
    for verdict in GateVerdict:
        found = [one for one in by_severity(comparisons) if one.verdict is verdict]
        if not found:
            continue
        count = f"{len(found)} of {len(comparisons)}" if not clauses else str(len(found))
        named = [f"{one.layer} ({one.backend}) {change_text(one)}" for one in found[:MOST_NAMED]]
        more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
        names = f": {', '.join(named + more)}" if verdict in NAMED else ""
        clauses.append(f"{count} {WORDS[verdict]}{names}")
    return f"{'; '.join(clauses)}."


def refusal_sentence(one: Refusal) -> str:
    """As 'fc6, numba: not compared: head wrong: is off by 1.'."""
    state = str(one.state).lower()
    reason = one.reason.rstrip(".")
    return f"{one.layer}, {one.backend}: not compared: {one.side} {state}: {reason}."


def sentence(one: Comparison) -> str:
    """'+6.2 % [+4.9, +7.5], main → work, 10 process pairs; would see 1.9 %'."""
    if not measured(one):
        return f"{NOT_MEASURED} in time, {one.base} → {one.head}"
    return (
        f"{change_text(one)} {interval_text(one)}, {one.base} → {one.head}, "
        f"{one.pairs} process pairs; would see {percent(one.smallest_visible, sign=False)}"
    )


def change_text(one: Comparison) -> str:
    """'+6.2 %': how much slower the head is."""
    return percent(one.estimate) if isfinite(one.estimate) else NOT_MEASURED


def interval_text(one: Comparison) -> str:
    """'[+4.9, +7.5]' in percent; an end that is not known is '?'."""
    ends = (f"{100 * end:+.1f}" if isfinite(end) else "?" for end in (one.low, one.high))
    return f"[{', '.join(ends)}]"


def measured(one: Comparison) -> bool:
    """Whether there is anything to say of its time."""
    return one.pairs > 0 and isfinite(one.estimate)


def visible_table(layers: Sequence[Visible], format: TextFormat = "table") -> str:  # noqa: A002
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
    return table_text(dict.fromkeys(headers, "left"), rows, format)


def percent(effect: float, *, sign: bool = True) -> str:
    """'+4.2 %' of 0.042; '?' of what is not finite."""
    if not isfinite(effect):
        return "?"
    return f"{100 * effect:{'+' if sign else ''}.1f} %"


def _row(one: Comparison) -> list[str]:
    there = measured(one)
    return [
        one.layer,
        one.backend,
        change_text(one),
        interval_text(one) if there else "",
        str(one.verdict),
        percent(one.smallest_visible, sign=False) if there else "",
        str(one.pairs),
        f"{one.seconds_measured:.1f}",
    ]
