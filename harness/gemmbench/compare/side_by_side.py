"""Which trials stand side by side: the convolutions of a suite, one trial for each way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d
from gemmbench.ranking import may_win
from gemmbench.stats import summarize
from gemmbench.suite import Suite
from gemmbench.trial import Trial, TrialState

By = Literal["algorithm", "backend", "contender"]  # contender: each algorithm of each backend


def convolutions(suite: Suite) -> Suite:
    """`suite` with only its convolutions. Raises GemmbenchError if it has none."""
    kept = tuple(layer for layer in suite.layers if isinstance(layer.problem, Conv2d))
    if not kept:
        raise GemmbenchError(
            f"{suite.origin}: has no convolution among the layers chosen, and compare is about "
            "those. Use 'gemmbench run' for products, or --by fill or cache for any layer."
        )
    return replace(suite, layers=kept)


def standing_for(trials: Sequence[Trial], by: By) -> list[Trial]:
    """The trials of one layer's race that stand for each algorithm, backend or both.

    The fastest with each kind of weights, one that may win before one that may not. Who did not
    complete stands where nobody of its kind did, and who took no part where there is nobody else.
    """
    timed = [t for t in trials if t.state is TrialState.COMPLETE and t.measurement]
    best: dict[tuple[str, str], Trial] = {}
    for trial in timed:
        key = _kind(trial, by)
        if key not in best or _pace(trial) < _pace(best[key]):
            best[key] = trial
    others: dict[tuple[str, str], Trial] = {}
    raced = {name for _, name in best}
    for trial in trials:
        kind = _kind(trial, by)
        declined = trial.state is TrialState.SKIPPED and kind[1] in raced  # for one algorithm of it
        if kind not in best and trial not in timed and kind[1] and not declined:
            others.setdefault(kind, trial)
    return [*best.values(), *others.values()] or list(trials)


def _kind(trial: Trial, by: By) -> tuple[str, str]:
    one = trial.contender
    names = {
        "algorithm": one.algorithm,
        "backend": one.backend,
        "contender": f"{one.backend} {one.algorithm}".rstrip(),
    }
    return one.weights, names[by]


def _pace(trial: Trial) -> tuple[bool, float]:
    return not may_win(trial), summarize(trial.measurement).median
