"""The map of a sweep: which algorithm wins where, by how much, and what was not measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gemmbench.compare import Swept, standing_for
from gemmbench.problem import Conv2d, problem_to_data
from gemmbench.ranking import rank
from gemmbench.stats import summarize
from gemmbench.sweep import Axis, Grid, Point
from gemmbench.trial import Trial, TrialState
from gemmbench_results.report.as_json import trial_to_data, verdict_to_data
from gemmbench_results.report.render import LEFT, TextFormat, prose, table_text
from gemmbench_results.report.side_by_side import peak_bytes, stage_share

PATH = ("im2col", "implicit-gemm")  # the product that a convolution becomes: the post's baseline
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
    """The map of winners, the FFT against the best product, where each wins, and what is left."""
    cells = {point: cell_of(swept, point) for point in _every(swept.grid)}
    parts = list(_maps(swept.grid, {p: _text(cell) for p, cell in cells.items()}, format))
    parts.append(prose(MAP_NOTE, format))
    for algorithm in ("fft", "winograd"):
        against = {p: _against(swept.trials.get(p, ()), algorithm) for p in cells}
        if any(value is not None for value in against.values()):
            parts.append(
                f"Time of {algorithm} over that of the faster of im2col and implicit-gemm "
                "(below 1 it wins):"
            )
            texts = {p: "" if v is None else f"{v:.2f}" for p, v in against.items()}
            parts += _maps(swept.grid, texts, format)
    parts += [prose(line, format) for line in (*wins(swept, cells), *_left(swept))]
    return "\n\n".join(parts)


def crossover_data(swept: Swept) -> dict[str, Any]:
    """Axes and points of the JSON of a sweep."""
    grid = swept.grid
    return {
        "axes": {axis.name: list(axis.values) for axis in grid.axes},
        "points": [_point_data(swept, point) for point in _every(grid)],
        "wins": wins(swept, {point: cell_of(swept, point) for point in _every(grid)}),
    }


def cell_of(swept: Swept, point: Point) -> Cell:
    """Who leads at `point`, among the fastest of each algorithm."""
    if point in swept.grid.left_out:
        return Cell("left out")
    if point in swept.inferred:
        return Cell("inferred", (swept.inferred[point],))
    if point not in swept.trials:
        return Cell("late")
    best = standing_for(swept.trials[point], "algorithm")
    for verdict in rank(best):
        if verdict.kind != "none":
            leaders = tuple(best[i].contender.algorithm for i in verdict.leaders)
            return Cell(verdict.kind, leaders, _lead(best, leaders))
    return Cell("none")


def wins(swept: Swept, cells: dict[Point, Cell]) -> list[str]:
    """As 'fft wins at 5 of 9 measured points, most at kernel=11 stride=1 (4.2 times).'."""
    measured = {point: cell for point, cell in cells.items() if cell.lead is not None}
    names = dict.fromkeys(name for cell in measured.values() for name in cell.leaders)
    lines = []
    for name in names:
        own = {p: c for p, c in measured.items() if c.kind == "winner" and c.leaders == (name,)}
        level = [p for p, c in measured.items() if name in c.leaders and p not in own]
        clauses = []
        if own:
            most = max(own, key=lambda p: own[p].lead or 0.0)
            clauses.append(
                f"wins at {len(own)} of {len(measured)} measured points, most at "
                f"{swept.grid.label(most)} ({own[most].lead:.2f} times)"
            )
        if level:
            clauses.append(f"ties or is undecided at {len(level)}")
        lines.append(f"{name} {' and '.join(clauses)}.")
    return lines


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


def _against(trials: Sequence[Trial], algorithm: str) -> float | None:
    """Time of the fastest of `algorithm` over that of the fastest product; None without both."""
    best = {t.contender.algorithm: t for t in standing_for(trials, "algorithm") if t.measurement}
    products = [summarize(best[n].measurement).median for n in PATH if n in best]
    if algorithm not in best or not products:
        return None
    return summarize(best[algorithm].measurement).median / min(products)


def _point_data(swept: Swept, point: Point) -> dict[str, Any]:
    cell = cell_of(swept, point)
    problem: Conv2d | None = swept.grid.problems.get(point)
    trials = list(swept.trials.get(point, ()))
    best = standing_for(trials, "algorithm")
    measured = point in swept.trials
    names = (axis.name for axis in swept.grid.axes)
    return {
        **dict(zip(names, point, strict=True)),
        "state": "measured" if measured else cell.kind,
        "reason": swept.grid.left_out.get(point, ""),
        "problem": None if problem is None else problem_to_data(problem),
        "winner": cell.leaders[0] if cell.kind in ("winner", "inferred") else None,
        "leaders": list(cell.leaders),
        "lead": cell.lead if measured else None,
        "fft_over_products": _against(trials, "fft"),
        "winograd_over_products": _against(trials, "winograd"),
        "verdicts": [verdict_to_data(verdict, best) for verdict in rank(best)],
        "algorithms": {
            trial.contender.algorithm: {
                **trial_to_data(trial),
                "stage_sum_over_total": (
                    stage_share(trial, summarize(trial.measurement).median)
                    if trial.measurement
                    else None
                ),
                "peak_memory_bytes": peak_bytes(trial),
            }
            for trial in best
        },
    }
