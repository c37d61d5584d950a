"""The map of a sweep: which algorithm wins where, by how much, and what was not measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gemmbench.compare.side_by_side import standing_for
from gemmbench.compare.sweeping import Swept
from gemmbench.problem import Conv2d, problem_to_data
from gemmbench.ranking import rank
from gemmbench.stats import summarize
from gemmbench.sweep import Axis, Grid, Point
from gemmbench.trial import Trial, TrialState
from gemmbench_results.report.as_json import trial_to_data, verdict_to_data
from gemmbench_results.report.render import LEFT, TextFormat, prose, table_text
from gemmbench_results.report.side_by_side import peak_bytes, stage_share

SHARED = {  # by verdict: what is said of one of several leaders
    "tie": "ties for the lead",
    "undecided": "is one of several leaders between which it is undecided",
}
PRODUCTS = ("im2col", "implicit-gemm")  # what the post's layers become: the baseline of the others
AGAINST = ("fft", "fft-full", "winograd", "direct")
MARKS = {"tie": "=", "undecided": "?"}
LEFT_OUT, LATE = "–", "not reached"
MAP_NOTE = (
    "the number is how many times faster than the next algorithm; a=b tie; a?b undecided; (a) is "
    "not measured: its neighbours on every side agree; – cannot be computed"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """Who leads at a point: the algorithms, and the lead over the next one as a ratio of times."""

    kind: str  # of the verdict; "inferred", "left out" or "late" where nothing was measured
    leaders: tuple[str, ...] = ()
    lead: float | None = None


def crossover_text(swept: Swept, format: TextFormat = "table") -> str:  # noqa: A002
    """Maps of the winners and of the others against the best product, who wins where, the rest."""
    parts = []
    for kind in swept.kinds:
        cells = _cells(swept, kind)
        if len(swept.kinds) > 1:
            parts.append(f"{kind} weights:")
        parts += _maps(swept.grid, {p: _text(cell) for p, cell in cells.items()}, format)
    parts.append(prose(MAP_NOTE, format))
    for name, kind in product(AGAINST, swept.kinds):
        ratios = {p: over_products(swept.trials.get(p, ()), name, kind) for p in _every(swept.grid)}
        if any(value is not None for value in ratios.values()):
            parts.append(
                f"Time of {name} with {kind} weights over that of the faster of im2col and "
                "implicit-gemm (below 1 it wins):"
            )
            texts = {p: "" if v is None else f"{v:.2f}" for p, v in ratios.items()}
            parts += _maps(swept.grid, texts, format)
    lines = [line for kind in swept.kinds for line in wins(swept, kind)]
    return "\n\n".join([*parts, *(prose(line, format) for line in (*lines, *_left(swept)))])


def crossover_data(swept: Swept) -> dict[str, Any]:
    """Axes and points of the JSON of a sweep."""
    return {
        "axes": {axis.name: list(axis.values) for axis in swept.grid.axes},
        "weights": list(swept.kinds),
        "points": [_point_data(swept, point) for point in _every(swept.grid)],
        "wins": [line for kind in swept.kinds for line in wins(swept, kind)],
    }


def cell_of(swept: Swept, point: Point, kind: str) -> Cell:
    """Who leads at `point` with weights of that kind, among the fastest of each algorithm."""
    if point in swept.grid.left_out:
        return Cell("left out")
    if point in swept.inferred:
        return Cell("inferred", (swept.inferred[point].split("/")[swept.kinds.index(kind)],))
    if point not in swept.trials:
        return Cell("late")
    best = [
        trial
        for trial in standing_for(swept.trials[point], "algorithm")
        if trial.contender.weights == kind
    ]
    for verdict in rank(best):
        if verdict.kind != "none":
            leaders = tuple(best[i].contender.algorithm for i in verdict.leaders)
            return Cell(verdict.kind, leaders, _lead(best, leaders))
    return Cell("none")


def over_products(trials: Sequence[Trial], algorithm: str, kind: str) -> float | None:
    """Time of the fastest of `algorithm` over that of the fastest product; None without both.

    Products with weights of the same kind where there are any, else with plain ones, whose time
    includes packing them.
    """
    best = {
        (t.contender.algorithm, t.contender.weights): summarize(t.measurement).median
        for t in standing_for(trials, "algorithm")
        if t.measurement and t.state is TrialState.COMPLETE
    }
    own = [best[name, kind] for name in PRODUCTS if (name, kind) in best]
    plain = [best[name, "plain"] for name in PRODUCTS if (name, "plain") in best]
    if (algorithm, kind) not in best or not (own or plain):
        return None
    return best[algorithm, kind] / min(own or plain)


def wins(swept: Swept, kind: str) -> list[str]:
    """As 'fft wins at 5 of 9 measured points, most at kernel=11 (4.20 times).'.

    Where it is one of several leaders, it ties with them or it is undecided between them.
    """
    measured = {p: c for p, c in _cells(swept, kind).items() if c.lead is not None}
    prepared = " prepared" if kind == "prepared" else ""
    lines = []
    for name in dict.fromkeys(name for cell in measured.values() for name in cell.leaders):
        own = {p: c for p, c in measured.items() if c.kind == "winner" and c.leaders == (name,)}
        shared = [c.kind for p, c in measured.items() if name in c.leaders and p not in own]
        clauses = []
        if own:
            most = max(own, key=lambda p: own[p].lead or 0.0)
            clauses.append(
                f"wins at {len(own)} of {len(measured)} measured points, most at "
                f"{swept.grid.label(most)} ({own[most].lead:.2f} times)"
            )
        clauses += [
            f"{words} at {count} point{'s'[: count - 1]}"
            for kind, words in SHARED.items()
            if (count := shared.count(kind))
        ]
        lines.append(f"{name}{prepared} {'; '.join(clauses)}.")
    return lines


def _cells(swept: Swept, kind: str) -> dict[Point, Cell]:
    return {point: cell_of(swept, point, kind) for point in _every(swept.grid)}


def _left(swept: Swept) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for point, why in swept.grid.left_out.items():
        reasons.setdefault(why, []).append(swept.grid.label(point))
    for why, labels in reasons.items():
        yield f"left out: {'; '.join(labels)}: {why}"
    if swept.late:
        labels = [swept.grid.label(point) for point in swept.late]
        yield f"not reached within the budget: {'; '.join(labels)}. Raise --budget."
    bad = {
        f"{t.contender.label()} at {t.layer} ({t.state})"
        for trials in swept.trials.values()
        for t in trials
        if t.state in (TrialState.WRONG, TrialState.FAILED)
    }
    if bad:
        yield f"not ranked: {'; '.join(sorted(bad))}."


def _maps(grid: Grid, texts: dict[Point, str], format: TextFormat) -> Iterator[str]:  # noqa: A002
    """A table of the first axis down and the second across, for all values of the others."""
    down = grid.axes[0]
    across = grid.axes[1] if len(grid.axes) > 1 else None
    others = grid.axes[2:]
    names = [str(value) for value in across.values] if across else ["winner"]
    head = f"{down.name} \\ {across.name}" if across else down.name
    for rest in product(*(axis.values for axis in others)):
        rows = [
            [str(value), *(texts[(value, *column, *rest)] for column in _columns(across))]
            for value in down.values
        ]
        title = ", ".join(f"{axis.name}={v}" for axis, v in zip(others, rest, strict=True))
        table = table_text(dict.fromkeys([head, *names], LEFT), rows, format)
        yield f"{title}\n\n{table}" if title else table


def _columns(across: Axis | None) -> list[tuple[int, ...]]:
    """What each column adds to a point: a value of the second axis, or nothing without one."""
    return [(value,) for value in across.values] if across else [()]


def _every(grid: Grid) -> list[Point]:
    return list(product(*(axis.values for axis in grid.axes)))


def _text(cell: Cell) -> str:
    if cell.kind == "left out":
        return LEFT_OUT
    if cell.kind == "late":
        return LATE
    if cell.kind == "inferred":
        return f"({cell.leaders[0]})"
    names = MARKS.get(cell.kind, "=").join(cell.leaders)
    return f"{names} {cell.lead:.2f}" if cell.kind == "winner" and cell.lead else names


def _lead(best: Sequence[Trial], leaders: tuple[str, ...]) -> float | None:
    """The next algorithm's time over the winner's; 1 where several lead or none is left."""
    pace = {t.contender.algorithm: summarize(t.measurement).median for t in best if t.measurement}
    rest = [seconds for name, seconds in pace.items() if name not in leaders]
    return min(rest) / pace[leaders[0]] if rest and len(leaders) == 1 else 1.0


def _point_data(swept: Swept, point: Point) -> dict[str, Any]:
    problem: Conv2d | None = swept.grid.problems.get(point)
    trials = list(swept.trials.get(point, ()))
    best = standing_for(trials, "algorithm")
    names = (axis.name for axis in swept.grid.axes)
    cells = {kind: cell_of(swept, point, kind) for kind in swept.kinds}
    measured = point in swept.trials
    ratios = {
        f"{name} {kind}": over_products(trials, name, kind)
        for name, kind in product(AGAINST, swept.kinds)
    }
    return {
        **dict(zip(names, point, strict=True)),
        "state": "measured" if measured else cells[swept.kinds[0]].kind,
        "reason": swept.grid.left_out.get(point, ""),
        "problem": None if problem is None else problem_to_data(problem),
        "leaders": {kind: list(cell.leaders) for kind, cell in cells.items()},
        "lead": {kind: cell.lead for kind, cell in cells.items()},
        "over_products": {name: value for name, value in ratios.items() if value is not None},
        "verdicts": [verdict_to_data(v, best) for v in rank(best) if v.kind != "none"],
        "rows": [_row_data(trial) for trial in standing_for(trials, "contender")],
    }


def _row_data(trial: Trial) -> dict[str, Any]:
    more = {"stage_sum_over_total": stage_share(trial), "peak_memory_bytes": peak_bytes(trial)}
    return {**trial_to_data(trial), **more}
