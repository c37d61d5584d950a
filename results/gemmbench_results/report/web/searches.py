"""Chart data of searches: the best so far, and what was measured over two axes of a space.

Pure functions from trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemmbench.space import Value
from gemmbench.trial import Trial
from gemmbench_results.export.entries import contender_name
from gemmbench_results.report.standing import summary_of
from gemmbench_results.report.table import config_text

Point = tuple[dict[str, Value], float | None]  # a config and its milliseconds, None if it failed


@dataclass(frozen=True, slots=True)
class Search:
    """What one search measured, in its order; a trial that is not COMPLETE has no seconds."""

    layer: str
    contender: str
    flops: int  # of a call
    trials: tuple[Trial, ...]

    def points(self) -> list[Point]:
        """Each config with its milliseconds."""
        return [(dict(trial.contender.config), milliseconds(trial)) for trial in self.trials]


@dataclass(frozen=True, slots=True)
class Improvement:
    """An evaluation that was faster than all before it."""

    evaluation: int  # from 1
    seconds: float
    gflops: float
    config: str


@dataclass(frozen=True, slots=True)
class TileMap:
    """The fastest milliseconds for each pair of values of two axes; None where none was timed."""

    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    ms: tuple[tuple[float | None, ...], ...]  # [row][column]


def searches(trials: Sequence[Trial]) -> list[Search]:
    """Those of one suite, in the order they began."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.purpose == "tune":
            found.setdefault((trial.layer, contender_name(trial.contender)), []).append(trial)
    return [
        Search(layer, name, own[0].problem.flops(), tuple(own))
        for (layer, name), own in found.items()
    ]


def improvements(search: Search) -> list[Improvement]:
    """The steps of the best so far."""
    found: list[Improvement] = []
    for number, trial in enumerate(search.trials, 1):
        summary = summary_of(trial)
        if summary and (not found or summary.median < found[-1].seconds):
            rate = search.flops / summary.median / 1e9
            found.append(Improvement(number, summary.median, rate, _config(trial)))
    return found


def tile_map(points: Sequence[Point], axes: tuple[str, ...] | None = None) -> TileMap | None:
    """Over `axes` as far as the space has them, else those whose values explain most of the times.

    None where nothing was timed or the space has fewer than two axes with several values.
    """
    timed = [(config, ms) for config, ms in points if ms is not None]
    if not timed:
        return None
    names = [name for name in axes or () if name in points[0][0]]
    varied = [name for name in telling_axes(points) if len({c[name] for c, _ in points}) > 1]
    names = (names + [name for name in varied if name not in names])[:2]
    if len(names) < 2:
        return None
    across, down = (sorted({config[name] for config, _ in points}, key=_order) for name in names)
    cells: list[list[float | None]] = [[None] * len(across) for _ in down]
    for config, ms in timed:
        row, column = down.index(config[names[1]]), across.index(config[names[0]])
        before = cells[row][column]
        cells[row][column] = ms if before is None else min(ms, before)
    columns, rows = (tuple(str(value) for value in values) for values in (across, down))
    return TileMap(names[0], names[1], columns, rows, tuple(tuple(row) for row in cells))


def telling_axes(points: Sequence[Point]) -> list[str]:
    """The axes, first the one whose values explain most of the variance of the log times."""
    right = [(config, float(np.log(ms))) for config, ms in points if ms is not None]

    def explained(name: str) -> float:
        groups: dict[Value, list[float]] = {}
        for config, log_ms in right:
            groups.setdefault(config[name], []).append(log_ms)
        means = [np.mean(group) for group in groups.values() for _ in group]
        return float(np.var(means)) if len(groups) > 1 else -1.0

    return sorted(points[0][0], key=explained, reverse=True) if right else list(points[0][0])


def milliseconds(trial: Trial) -> float | None:
    """Of a call of a COMPLETE trial."""
    summary = summary_of(trial)
    return 1e3 * summary.median if summary else None


def _order(value: Value) -> tuple[bool, float, str]:
    return isinstance(value, str), 0.0 if isinstance(value, str) else float(value), str(value)


def _config(trial: Trial) -> str:
    return config_text(trial.contender.config, tuned=True)
