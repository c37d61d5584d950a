"""Chart data of algorithms: who is how much slower on which layer, who wins where, and stages.

Pure functions from trials.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gemmbench.problem import Conv2d, Pair
from gemmbench.ranking import is_doubtful, rank
from gemmbench.trial import Trial
from gemmbench_results.export.entries import Entry, contender_name, entries
from gemmbench_results.report.web.speeds import layer_names, ranked

WHOLE = "not told apart"  # of a contender whose stages are fused, or that names none


@dataclass(frozen=True, slots=True)
class Ratios:
    """Time over that of the fastest of the same weights; None where a contender has none."""

    layers: tuple[str, ...]
    contenders: tuple[str, ...]
    ratios: tuple[tuple[float | None, ...], ...]  # [layer][contender]
    seconds: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Who is fastest on convolutions of one kernel size and stride: `wins` of `races`.

    `sure` is in how many of those the verdict names a winner.
    """

    kernel: Pair
    stride: Pair
    algorithm: str
    wins: int
    races: int
    sure: int
    ratio: float  # the median over races of the fastest other algorithm's time over the winner's


@dataclass(frozen=True, slots=True)
class Staged:
    """A contender's call on a layer: seconds by stage, and of the whole call."""

    layer: str
    contender: str
    stages: tuple[tuple[str, float], ...]
    seconds: float
    workspace_bytes: int | None


def ratios(trials: Sequence[Trial]) -> Ratios:
    """Over the convolutions, or over all layers where there are none.

    Contenders come in the order of how they do in the mean of what they computed.
    """
    found = ranked(trials)
    convolutions = [e for e in found if isinstance(e.trial.problem, Conv2d)]
    found = convolutions or found
    best: dict[tuple[str, str], float] = {}
    for entry in found:
        key = (entry.trial.layer, entry.trial.contender.weights)
        best[key] = min(entry.summary.median, best.get(key, entry.summary.median))
    cells = {
        (entry.trial.layer, contender_name(entry.trial.contender)): (
            entry.summary.median / best[entry.trial.layer, entry.trial.contender.weights],
            entry.summary.median,
        )
        for entry in found
    }
    layers = tuple(name for name in layer_names(trials) if any(name == key[0] for key in cells))
    names = tuple(sorted(dict.fromkeys(name for _, name in cells), key=lambda n: _mean(cells, n)))
    table = [[cells.get((layer, name), (None, None)) for name in names] for layer in layers]
    return Ratios(
        layers,
        names,
        tuple(tuple(ratio for ratio, _ in row) for row in table),
        tuple(tuple(seconds for _, seconds in row) for row in table),
    )


def kernel_map(
    races: Sequence[Sequence[Trial]], weights: str, backend: str | None = None
) -> list[Cell]:
    """The algorithm that is fastest for each kernel size and stride, small ones first.

    Over convolutions that at least two algorithms of `backend` (None: of any) computed.
    """
    wins: dict[tuple[Pair, Pair], list[tuple[str, bool, float]]] = {}
    for race in races:
        own = [t for t in race if backend in (None, t.contender.backend)]
        problem = race[0].problem
        found = [e for e in ranked(own) if e.trial.contender.weights == weights]
        if isinstance(problem, Conv2d) and len({_algorithm(e) for e in found}) > 1:
            result = _win(own, found, weights)
            wins.setdefault((problem.kernel, problem.stride), []).append(result)
    return [_cell(key, wins[key]) for key in sorted(wins)]


def staged(trials: Sequence[Trial]) -> list[Staged]:
    """Contenders of the layers where some contender tells its stages, the fastest first."""
    telling = {trial.layer for trial in trials if trial.stages}
    order = layer_names(trials)
    found = [
        Staged(
            entry.trial.layer,
            contender_name(entry.trial.contender),
            tuple(entry.trial.stages.items()) or ((WHOLE, entry.summary.median),),
            entry.summary.median,
            entry.trial.workspace_bytes,
        )
        for entry in entries(trials)
        if entry.trial.layer in telling
    ]
    return sorted(found, key=lambda one: (order.index(one.layer), one.seconds))


def stage_names(found: Sequence[Staged]) -> list[str]:
    """All stages, in the order of a call: by the latest place that any contender gives one."""
    places: dict[str, int] = {}
    for one in found:
        for place, (name, _) in enumerate(one.stages):
            places[name] = max(place, places.get(name, 0))
    return sorted(places, key=lambda name: places[name])


def _mean(cells: dict[tuple[str, str], tuple[float, float]], name: str) -> float:
    own = [ratio for (_, contender), (ratio, _) in cells.items() if contender == name]
    return sum(own) / len(own)


def _algorithm(entry: Entry) -> str:
    return entry.trial.contender.algorithm


def _win(own: Sequence[Trial], found: Sequence[Entry], weights: str) -> tuple[str, bool, float]:
    """The fastest algorithm, whether it certainly is, and how much slower the next one is."""
    fastest = min(found, key=lambda entry: entry.summary.median)
    others = [e.summary.median for e in found if _algorithm(e) != _algorithm(fastest)]
    only = [trial for trial in own if trial.contender.weights == weights]
    verdicts = rank(only)
    leaders = {only[i].contender.algorithm for verdict in verdicts for i in verdict.leaders}
    sure = leaders == {_algorithm(fastest)} and not any(map(is_doubtful, verdicts))
    return _algorithm(fastest), sure, min(others) / fastest.summary.median


def _cell(key: tuple[Pair, Pair], wins: Sequence[tuple[str, bool, float]]) -> Cell:
    algorithm, count = Counter(name for name, _, _ in wins).most_common(1)[0]
    own = [(sure, ratio) for name, sure, ratio in wins if name == algorithm]
    gap = median(ratio for _, ratio in own)
    return Cell(*key, algorithm, count, len(wins), sum(sure for sure, _ in own), gap)
