"""The few configs that serve many layers best: for programs that cannot carry one a layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, exp, inf, log

from gemmbench.problem import Problem
from gemmbench.space import Config, ConfigKey, config_key
from gemmbench.trial import Evaluation
from gemmbench.tune.memory import at_one_pace

EXACT = 50_000  # choices up to which all are compared; beyond it one config after another is added
LEADERS = 3  # of each layer that are worth measuring on the others


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Some configs, and how far each layer is from its own best with the best of them."""

    configs: tuple[Config, ...]
    slowdowns: tuple[float, ...]  # by layer: 1.0 is as fast as its best, inf if not measured there
    serves: tuple[int, ...]  # by layer: which of the configs

    def mean_slowdown(self) -> float:
        """The geometric mean over the layers that are served; at least one is."""
        logs = [log(slowdown) for slowdown in self.slowdowns if slowdown < inf]
        return exp(sum(logs) / len(logs))


def leaders(evaluations: Sequence[Evaluation], problems: Sequence[Problem]) -> list[Config]:
    """The fastest few of each problem, none twice."""
    found: dict[ConfigKey, Config] = {}
    for problem in problems:
        timed = [one for one in _on(problem, evaluations) if one.seconds is not None]
        for one in sorted(timed, key=lambda e: e.seconds or inf)[:LEADERS]:
            found.setdefault(config_key(one.config), one.config)
    return list(found.values())


def choose(
    evaluations: Sequence[Evaluation], problems: Sequence[Problem], count: int
) -> Portfolio | None:
    """The `count` configs that serve `problems` with the least slowdown in the geometric mean.

    `evaluations`, oldest first, are one kernel's on one machine; each problem's count at the pace
    of its newest. Only configs measured on a problem can serve it. None where a problem was never
    measured.
    """
    configs: dict[ConfigKey, Config] = {}
    logs: dict[ConfigKey, list[float]] = {}
    for at, problem in enumerate(problems):
        for one in _on(problem, evaluations):
            name = config_key(one.config)
            configs[name] = one.config
            row = logs.setdefault(name, [inf] * len(problems))
            row[at] = inf if one.seconds is None else log(one.seconds)
    best = [min((row[at] for row in logs.values()), default=inf) for at in range(len(problems))]
    if inf in best:
        return None
    rows = {
        name: [value - least for value, least in zip(row, best, strict=True)]
        for name, row in logs.items()
    }
    names = _cheapest(rows, min(count, len(rows)))
    serves = [min(range(len(names)), key=lambda i: rows[names[i]][at]) for at in range(len(best))]
    slowdowns = [exp(rows[names[i]][at]) for at, i in enumerate(serves)]
    return Portfolio(tuple(configs[name] for name in names), tuple(slowdowns), tuple(serves))


def _on(problem: Problem, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """What was measured on `problem`, as if all in its newest moment; [] without any."""
    own = [one for one in evaluations if one.problem == problem]
    return at_one_pace(own)[0] if own else []


def _cheapest(rows: dict[ConfigKey, list[float]], count: int) -> list[ConfigKey]:
    """The names whose rows have the least sum of column minima; infinities are compared first."""

    def cost(names: Iterable[ConfigKey]) -> tuple[int, float]:
        columns = zip(*(rows[name] for name in names), strict=True)
        least = [min(values) for values in columns]
        return sum(value == inf for value in least), sum(v for v in least if v < inf)

    if comb(len(rows), count) <= EXACT:
        return list(min(combinations(rows, count), key=cost))
    chosen: list[ConfigKey] = []
    while len(chosen) < count:
        others = [name for name in rows if name not in chosen]
        chosen.append(min(others, key=lambda name: cost([*chosen, name])))
    return chosen
